"""Storage commitment, Push Model: a peer asks whether images are safe, and gets a report (PS3.4 Annex J)."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset

from medbus.blobs import BlobStore
from medbus.bus import Partition, Position
from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.identifier import Encoded
from medbus.gateways.dicom.outgoing import Address, Connector, Unreachable
from medbus.gateways.dicom.presentation import STORAGE_COMMITMENT_INSTANCE, Service
from medbus.gateways.dicom.registrar import Registrar
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Refused
from medbus.gateways.grants import Grant
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.images import ImageReader, StoredImage

log = logging.getLogger(__name__)

REQUEST_STORAGE_COMMITMENT = 1
"""The only Action Type ID."""

COMMITMENT_SUCCESSFUL = 1
FAILURES_EXIST = 2
"""Event Type IDs of the report."""

CATCH_UP_SECONDS = 30.0
"""How long to wait until the catalog shows what this gateway has acknowledged."""

RETRY_AFTER = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds before each further attempt to report."""


class SameAssociation(Protocol):
    """The association that a request came on, as a way back while it stands."""

    @abstractmethod
    async def report(self, event_type: int, information: Dataset) -> None:
        """Send an N-EVENT-REPORT. Raises Unreachable."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An item of a Referenced SOP Sequence."""

    sop_class_uid: str
    sop_instance_uid: str


class Committing:
    """Answers requests for storage commitment.

    The report goes over a new association to the address that the requester's contract gives for its AE
    title. A requester without an address gets it on the association of its request, if that still stands.

    Args:
        registrar: knows what this gateway acknowledged last.
        images: the image catalog.
        directory: knows the requester's address.
        database: tells how far the catalogs have come.
        blobs: where images are kept.
        connector: opens associations.
        ae_title: this gateway's, from which the images can be retrieved.
        retry_after: seconds before each further attempt to report.
        catch_up: seconds to wait for the catalog.
    """

    def __init__(
        self,
        *,
        registrar: Registrar,
        images: ImageReader,
        directory: DirectoryReader,
        database: Database,
        blobs: BlobStore,
        connector: Connector,
        ae_title: str,
        retry_after: Sequence[float] = RETRY_AFTER,
        catch_up: float = CATCH_UP_SECONDS,
    ) -> None:
        self._registrar = registrar
        self._images = images
        self._directory = directory
        self._database = database
        self._blobs = blobs
        self._connector = connector
        self._ae_title = ae_title
        self._retry_after = retry_after
        self._catch_up = catch_up
        self._reports: set[asyncio.Task[None]] = set()

    async def request(
        self,
        conversation: Conversation,
        information: Encoded,
        same_association: SameAssociation,
        *,
        action_type: int,
        sop_instance_uid: str,
    ) -> Outcome:
        """Take a request; the report follows later.

        Returns:
            0000H: a report will come. 0112H, 0123H: it is not for the well-known instance, or another action.
            0115H: it has no transaction, or refers to nothing. 0124H: not granted.
        """
        try:
            grant = await conversation.grant(Service.REGISTRATION)
            _check(action_type, sop_instance_uid)
            transaction, references = _parse(information)
        except Refused as error:
            log.info("%s: storage commitment refused: %s", conversation.peer, error)
            return error.outcome
        task = asyncio.create_task(
            self._report(conversation, grant, transaction, references, same_association),
            name=f"commitment-{transaction}",
        )
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)
        return SUCCESS

    async def close(self) -> None:
        """Drop the reports that are not out yet; requesters ask again."""
        for task in self._reports:
            task.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)

    async def _report(
        self,
        conversation: Conversation,
        grant: Grant,
        transaction: str,
        references: Sequence[Reference],
        same_association: SameAssociation,
    ) -> None:
        try:
            event_type, information = await self._judge(grant, transaction, references)
            found = await self._directory.destination(conversation.peer)
            if found is None:
                log.info("%s has no address, its report goes the way its request came", conversation.peer)
                await same_association.report(event_type, information)
                return
            apparatus = found[1]
            address = Address(ae_title=conversation.peer, host=apparatus.host or "", port=apparatus.port or 0)
            await self._send(address, event_type, information)
        except Unreachable as error:
            log.warning("report of transaction %s to %s: %s", transaction, conversation.peer, error)
        except Exception:
            log.exception("report of transaction %s to %s failed", transaction, conversation.peer)

    async def _send(self, address: Address, event_type: int, information: Dataset) -> None:
        for pause in (*self._retry_after, None):
            try:
                outcome = await self._connector.report(address, event_type, information)
            except Unreachable as error:
                if pause is None:
                    raise
                log.info("%s at %s:%d %s", address.ae_title, address.host, address.port, error)
                await asyncio.sleep(pause)
            else:
                if outcome.code != Code.SUCCESS:
                    log.warning("%s answered a report with %04XH", address.ae_title, outcome.code)
                return

    async def _judge(
        self, grant: Grant, transaction: str, references: Sequence[Reference]
    ) -> tuple[int, Dataset]:
        await self._wait_for_catalog(references)
        known = {
            image.sop_instance_uid: image
            for image in await self._images.images([each.sop_instance_uid for each in references])
        }
        report = Dataset()
        report.TransactionUID = transaction
        report.RetrieveAETitle = self._ae_title
        safe: list[Dataset] = []
        failed: list[Dataset] = []
        for reference in references:
            item = Dataset()
            item.ReferencedSOPClassUID = reference.sop_class_uid
            item.ReferencedSOPInstanceUID = reference.sop_instance_uid
            reason = await self._failure(grant, reference, known.get(reference.sop_instance_uid))
            if reason is None:
                safe.append(item)
            else:
                item.FailureReason = int(reason)
                failed.append(item)
        if safe:
            report.ReferencedSOPSequence = safe
        if failed:
            report.FailedSOPSequence = failed
        return (FAILURES_EXIST if failed else COMMITMENT_SUCCESSFUL), report

    async def _failure(self, grant: Grant, reference: Reference, image: StoredImage | None) -> Code | None:
        """Why an image is not safe, as a Failure Reason (PS3.3 C.14); None if it is."""
        if image is None or not grant.scope.holds(
            patient_id=image.patient_id, registrant=image.registrant, modality=image.modality
        ):
            return Code.NO_SUCH_OBJECT_INSTANCE
        if image.sop_class_uid != reference.sop_class_uid:
            return Code.CLASS_INSTANCE_CONFLICT
        if not await self._blobs.exists(image.blob.digest):
            log.error("the blob of %s is missing: %s", image.sop_instance_uid, image.blob.digest)
            return Code.PROCESSING_FAILURE
        return None

    async def _wait_for_catalog(self, references: Sequence[Reference]) -> None:
        last: dict[Partition, Position] = {}
        for reference in references:
            mine = self._registrar.acknowledged(reference.sop_instance_uid)
            if (
                mine is not None
                and mine.position.offset >= last.get(mine.position.partition, mine.position).offset
            ):
                last[mine.position.partition] = mine.position
        for position in last.values():
            await self._database.reached(position, self._catch_up)


def _check(action_type: int, sop_instance_uid: str) -> None:
    if sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
        raise Refused(Code.NO_SUCH_OBJECT_INSTANCE, "not the well-known SOP Instance")
    if action_type != REQUEST_STORAGE_COMMITMENT:
        raise Refused(Code.NO_SUCH_ACTION, f"no action {action_type}")


def _parse(information: Encoded) -> tuple[str, list[Reference]]:
    dataset = identifier.decode(information.data, information.transfer_syntax)
    transaction = str(dataset.get("TransactionUID") or "")
    if not transaction:
        raise Refused(Code.INVALID_ARGUMENT_VALUE, "there is no Transaction UID")
    references = [
        Reference(
            str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
        )
        for item in dataset.get("ReferencedSOPSequence") or ()
    ]
    if not references:
        raise Refused(Code.INVALID_ARGUMENT_VALUE, "Referenced SOP Sequence is empty")
    if not all(each.sop_class_uid and each.sop_instance_uid for each in references):
        raise Refused(Code.INVALID_ARGUMENT_VALUE, "an item has no SOP Class or Instance UID")
    return transaction, references
