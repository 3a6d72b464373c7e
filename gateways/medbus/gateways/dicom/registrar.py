"""Registers images that are durable: each once, whatever way it came. Statuses are of PS3.4 Annex B."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from medbus.blobs import BlobError, BlobStore
from medbus.bus import Bus, Position
from medbus.gateways.dicom import comparison, registration
from medbus.gateways.dicom.conversation import check_live
from medbus.gateways.dicom.dataset import (
    Head,
    MissingIdentifier,
    OversizedDataSet,
    TruncatedDataSet,
    UnreadableDataSet,
)
from medbus.gateways.dicom.status import Code, Postponed, Refused, Unanswerable
from medbus.gateways.grants import Clock, Exhausted, Grant
from medbus.gateways.quota import Place, Quota, UsageUnknown
from medbus.projections.database import Database
from medbus.projections.errors import CatalogMissing
from medbus.projections.images import ImageReader, KnownImage
from medbus.schemas.errors import BusError
from medbus.schemas.events import Blob, Event

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT = 60.0
"""Seconds to wait for the log to take an event, before the association is aborted."""

RECENT_IMAGES = 100_000
"""How many images of this process are remembered for the time until the catalog shows them."""

LARGEST_COMPARED = 512 * 1024 * 1024
"""Bytes: larger data sets under one SOP Instance UID are only compared by digest."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An image that this process registered: what is served, its study and class, its place in the log."""

    blob: Blob
    study_instance_uid: str
    sop_class_uid: str
    position: Position


class Registrar:
    """Puts images on the log, one decision at a time about each SOP Instance UID.

    Args:
        bus: the log.
        blobs: where data sets are kept.
        images: the image catalog.
        database: tells how far the catalog has come.
        quota: the room of contracts, for all conversations together.
        source: names this process in events.
        clock: the time.
        publish_timeout: seconds to wait for the log.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        blobs: BlobStore,
        images: ImageReader,
        database: Database,
        quota: Quota,
        source: str,
        clock: Clock,
        publish_timeout: float = PUBLISH_TIMEOUT,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._images = images
        self._database = database
        self._quota = quota
        self._source = source
        self._clock = clock
        self._publish_timeout = publish_timeout
        self._recent: OrderedDict[str, Acknowledged] = OrderedDict()
        self._busy: dict[str, tuple[asyncio.Lock, int]] = {}

    def acknowledged(self, sop_instance_uid: str) -> Acknowledged | None:
        """What this process remembers of an image; the catalog knows the rest."""
        return self._recent.get(sop_instance_uid)

    async def register(self, grant: Grant, head: Head, blob: Blob) -> None:
        """Register an image. Returns when it is on the log, or was there with the same contents.

        Args:
            grant: under which it came; the registrant is the grant's subscriber.
            head: of its data set.
            blob: the data set, durable.

        Raises:
            Refused: with
                0124H: the contract was cancelled, or these contents were erased.
                0111H: other contents are registered under this SOP Instance UID; both are kept, the first is
                served, and the conflict is on the log.
                A700H: no capacity is left.
            Postponed: A700H: the blob store, the catalog or the log can't be reached.
            Unanswerable: the log does not say whether it has the image.
        """
        async with self._alone(head.instance.sop_instance_uid):
            known = await self._known(head.instance.sop_instance_uid)
            check_live(grant)
            if known is None:
                await self._register(grant, head, blob)
            elif known.blob.digest != blob.digest:
                await self._duplicate(grant, head, known, blob)

    async def _known(self, sop_instance_uid: str) -> KnownImage | None:
        """What is registered under this UID now."""
        mine = self._recent.get(sop_instance_uid)
        # Once the catalog is as far, it knows better: the image may be erased.
        if mine is not None and not await self._database.reached(mine.position, 0):
            return KnownImage(mine.blob, mine.study_instance_uid)
        try:
            return await self._images.known(sop_instance_uid)
        except CatalogMissing:  # a new installation
            return None

    async def _erased(self, sop_instance_uid: str, digest: str) -> bool:
        try:
            return await self._images.erased(sop_instance_uid, digest)
        except CatalogMissing:
            return False

    async def _register(self, grant: Grant, head: Head, blob: Blob) -> None:
        if await self._erased(head.instance.sop_instance_uid, blob.digest):
            raise Refused(Code.NOT_AUTHORIZED, "these contents were erased, they are not kept again")
        try:
            grant.take(blob.size)
        except Exhausted as error:
            raise Refused(Code.OUT_OF_RESOURCES, error.message) from error
        place: Place | None = None
        try:
            place = await self._quota.take(grant.decision, blob.size)
            header = None
            if head.header_is_large:
                header = await self._blobs.put(head.header, head.header_transfer_syntax_uid)
            event = registration.registered(
                head,
                blob=blob,
                header_blob=header,
                grant=grant.decision,
                occurred_at=self._clock(),
                source=self._source,
            )
            position = await self._publish(event, grant)
        except BaseException as error:
            grant.give_back(blob.size)
            if place is not None:
                place.given_up()
            if isinstance(error, Exhausted):
                raise Refused(Code.OUT_OF_RESOURCES, error.message) from error
            if isinstance(error, UsageUnknown):
                raise Postponed(Code.OUT_OF_RESOURCES, error.message) from error
            if isinstance(error, BlobError):
                raise blobs_failed(error) from error
            raise
        if place is not None:
            place.registered(position)
        instance = head.instance
        study = head.study.study_instance_uid
        self._remember(instance.sop_instance_uid, Acknowledged(blob, study, instance.sop_class_uid, position))

    async def _duplicate(self, grant: Grant, head: Head, known: KnownImage, blob: Blob) -> None:
        """Other bytes came under a known UID: the same image in another encoding, or a conflict."""
        if max(known.blob.size, blob.size) <= LARGEST_COMPARED:
            try:
                same = await asyncio.to_thread(self._same, known.blob, blob)
            except BlobError as error:
                raise blobs_failed(error) from error
            if same:
                return
        await self._publish(
            registration.conflicted(
                head,
                registered=known.blob,
                refused=blob,
                study_instance_uid=known.study_instance_uid,
                grant=grant.decision,
                occurred_at=self._clock(),
                source=self._source,
            ),
            grant,
        )
        raise Refused(Code.DUPLICATE_SOP_INSTANCE, "other contents are registered under this UID")

    def _same(self, known: Blob, blob: Blob) -> bool:
        read = self._blobs.blocking.read
        return comparison.same_elements(
            read(known.digest), known.transfer_syntax_uid, read(blob.digest), blob.transfer_syntax_uid
        )

    async def _publish(self, event: Event, grant: Grant) -> Position:
        check_live(grant)  # here, so that nothing can come between
        try:
            async with asyncio.timeout(self._publish_timeout):
                return await self._bus.publish(event)
        except TimeoutError as error:
            # The log may have it, or get it yet; sent again, the image yields the same event.
            raise Unanswerable(
                "The event log does not answer.", "Is Kafka up? See `medbus status`."
            ) from error
        except BusError as error:
            raise Postponed(Code.OUT_OF_RESOURCES, "the event log took nothing") from error

    def _remember(self, sop_instance_uid: str, image: Acknowledged) -> None:
        self._recent[sop_instance_uid] = image
        while len(self._recent) > RECENT_IMAGES:
            self._recent.popitem(last=False)

    @asynccontextmanager
    async def _alone(self, sop_instance_uid: str) -> AsyncIterator[None]:
        """One decision at a time about a SOP Instance UID."""
        lock, users = self._busy.get(sop_instance_uid, (asyncio.Lock(), 0))
        self._busy[sop_instance_uid] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._busy.pop(sop_instance_uid)
            if users > 1:
                self._busy[sop_instance_uid] = (lock, users - 1)


def check_scope(head: Head, grant: Grant) -> None:
    """Go on only with an image that lies within the grant.

    Raises:
        Refused: it does not (0124H).
    """
    if not grant.scope.holds(
        patient_id=head.patient.patient_id, registrant=grant.subscriber, modality=head.series.modality
    ):
        raise Refused(Code.NOT_AUTHORIZED, "patient or modality lie outside the contract")


def unreadable(error: UnreadableDataSet) -> Refused:
    """What is answered where a data set can't be read."""
    match error:
        case MissingIdentifier():
            return Refused(Code.CANNOT_UNDERSTAND, f"missing or invalid {error.keyword}")
        case TruncatedDataSet():
            return Refused(Code.CANNOT_UNDERSTAND, "the data set is cut short")
        case OversizedDataSet():
            return Refused(Code.OUT_OF_RESOURCES, error.message)
    return Refused(Code.CANNOT_UNDERSTAND, error.message)


def blobs_failed(error: BlobError) -> Postponed:
    """What is answered where the blob store fails."""
    log.error("blob store: %s", error)
    return Postponed(Code.OUT_OF_RESOURCES, "the image can't be kept now, send it later")
