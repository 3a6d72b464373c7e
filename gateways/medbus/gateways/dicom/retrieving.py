"""C-GET and C-MOVE: one request for each conversation and study, then images go out (PS3.4 C.4.2, C.4.3)."""

import asyncio
import logging
from collections.abc import Sequence

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.delivering import Delivery
from medbus.gateways.dicom.identifier import Identifier
from medbus.gateways.dicom.outgoing import (
    Address,
    Connector,
    Outlet,
    Requester,
    Retrieved,
    Unreachable,
    batches,
)
from medbus.gateways.dicom.presentation import Service
from medbus.gateways.dicom.status import Code, Refused
from medbus.gateways.grants import CANCELLED, Clock, Grant, Grants, Rejected, Undecided
from medbus.projections.directory import Contract, DirectoryReader
from medbus.projections.images import ImageReader, StoredImage
from medbus.schemas.events import Channel, DeliveryRequested, RejectionReason

log = logging.getLogger(__name__)

MOST_SUBOPERATIONS = 65535
"""The counts of sub-operations are US."""

MOST_NAMED_INSTANCES = 2000
"""A request names its instances up to this many; one with more is about the study as a whole."""


class Retrieving:
    """Delivers stored images to the requester, or to another application entity."""

    def __init__(
        self,
        *,
        bus: Bus,
        grants: Grants,
        blobs: BlobStore,
        images: ImageReader,
        directory: DirectoryReader,
        connector: Connector,
        source: str,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._grants = grants
        self._blobs = blobs
        self._images = images
        self._directory = directory
        self._connector = connector
        self._source = source
        self._clock = clock

    async def get(
        self,
        conversation: Conversation,
        keys: Identifier,
        requester: Requester,
        outlet: Outlet,
    ) -> Retrieved:
        """Send what the identifier names to the requester, under its own association (C-GET)."""
        try:
            images = await self._matches(conversation, keys)
            grants = await self._authorise(conversation, images, None)
        except Refused as error:
            return Retrieved(error.outcome)
        delivery = self._delivery(conversation, images, grants, requester)
        await delivery.send(images, outlet)
        return await delivery.finish()

    async def move(
        self,
        conversation: Conversation,
        keys: Identifier,
        requester: Requester,
        *,
        destination: str,
        message_id: int,
    ) -> Retrieved:
        """Send what the identifier names to another application entity (C-MOVE)."""
        try:
            contract, address = await self._destination(destination)
            images = await self._matches(conversation, keys)
            grants = await self._authorise(conversation, images, destination)
        except Refused as error:
            return Retrieved(error.outcome)
        delivery = self._delivery(
            conversation,
            images,
            grants,
            requester,
            destination=destination,
            recipient=contract.subscriber,
            message_id=message_id,
        )
        for batch, contexts in batches(images):
            if delivery.cancelled:
                break
            if delivery.ended:
                await delivery.give_up(batch, CANCELLED)
                continue
            try:
                async with self._connector.connect(address, contexts) as outlet:
                    await delivery.send(batch, outlet)
            except Unreachable as error:
                await delivery.give_up(batch, f"{address.host}:{address.port} {error}")
        return await delivery.finish()

    def _delivery(
        self,
        conversation: Conversation,
        images: Sequence[StoredImage],
        grants: dict[str, Grant],
        requester: Requester,
        *,
        destination: str | None = None,
        recipient: str | None = None,
        message_id: int = 0,
    ) -> Delivery:
        async def renew(image: StoredImage) -> Grant:
            return await self._request(conversation, [image], destination)

        return Delivery(
            bus=self._bus,
            blobs=self._blobs,
            clock=self._clock,
            source=self._source,
            channel=Channel.C_GET if destination is None else Channel.C_MOVE,
            destination=destination or conversation.peer,
            recipient=recipient,
            originator=(conversation.peer, message_id) if destination else None,
            grants=grants,
            renew=renew,
            cancelled=self._grants.cancelled,
            requester=requester,
            total=len(images),
        )

    async def _destination(self, ae_title: str) -> tuple[Contract, Address]:
        found = await self._directory.destination(ae_title)
        if found is None:
            raise Refused(Code.MOVE_DESTINATION_UNKNOWN, f"no live contract has AE title {ae_title!r}")
        contract, apparatus = found
        return contract, Address(ae_title=ae_title, host=apparatus.host or "", port=apparatus.port or 0)

    async def _matches(self, conversation: Conversation, keys: Identifier) -> list[StoredImage]:
        grant = await conversation.grant(Service.QUERY)
        chosen = identifier.selection(keys)
        images = await self._images.select(**chosen._asdict(), scope=grant.scope)
        if len(images) > MOST_SUBOPERATIONS:
            raise Refused(Code.UNABLE_TO_COUNT_MATCHES, f"{len(images)} images are too many at once")
        return images

    async def _authorise(
        self, conversation: Conversation, images: Sequence[StoredImage], destination: str | None
    ) -> dict[str, Grant]:
        """Grants by Study Instance UID; a study that was rejected among others has none.

        Raises:
            Refused: every study was rejected, or nobody decides.
        """
        studies: dict[str, list[StoredImage]] = {}
        for image in images:
            studies.setdefault(image.study_instance_uid, []).append(image)
        requests = (self._request(conversation, each, destination) for each in studies.values())
        answers = await asyncio.gather(*requests, return_exceptions=True)
        granted: dict[str, Grant] = {}
        refusal: Refused | None = None
        for uid, answer in zip(studies, answers, strict=True):
            if isinstance(answer, Grant):
                granted[uid] = answer
            elif isinstance(answer, Rejected | Undecided):
                log.info("%s: study %s is not delivered: %s", conversation.peer, uid, answer)
                refusal = _refusal(answer)
            else:
                raise answer
        if refusal is not None and not granted:
            raise refusal
        return granted

    async def _request(
        self, conversation: Conversation, images: Sequence[StoredImage], destination: str | None
    ) -> Grant:
        """Ask whether images of one study may go out. Raises Rejected or Undecided."""
        named = tuple(image.sop_instance_uid for image in images)
        return await self._grants.request(
            DeliveryRequested(
                meta=conversation.meta(),
                evidence=conversation.evidence,
                destination=destination,
                study_instance_uid=images[0].study_instance_uid,
                sop_instance_uids=named if len(named) <= MOST_NAMED_INSTANCES else (),
                patients=tuple(sorted({image.patient_id for image in images})),
                registrants=tuple(sorted({image.registrant for image in images})),
                modalities=tuple(sorted({image.modality for image in images})),
            )
        )


def _refusal(error: Rejected | Undecided) -> Refused:
    if isinstance(error, Undecided):
        return Refused(Code.UNABLE_TO_PERFORM_SUBOPERATIONS, "there was no decision in time")
    if error.reason is RejectionReason.UNKNOWN_DESTINATION:
        return Refused(Code.MOVE_DESTINATION_UNKNOWN, error.detail)
    return Refused(Code.NOT_AUTHORIZED, f"{error.reason.value}: {error.detail}")
