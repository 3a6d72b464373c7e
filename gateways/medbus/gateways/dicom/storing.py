"""C-STORE: an image is durable and on the log before it is answered with success (PS3.4 Annex B)."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from medbus.blobs import BlobError, BlobStore, Writer
from medbus.bus import Bus, Position
from medbus.gateways.dicom import comparison, registration
from medbus.gateways.dicom.conversation import Conversation, check_live
from medbus.gateways.dicom.dataset import (
    Head,
    HeadScanner,
    MissingIdentifier,
    OversizedDataSet,
    TruncatedDataSet,
    UnreadableDataSet,
)
from medbus.gateways.dicom.presentation import Service
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Refused, Unanswerable
from medbus.gateways.grants import Clock, Exhausted, Grant
from medbus.gateways.quota import Place, Quota, UsageUnknown
from medbus.projections.database import Database
from medbus.projections.errors import CatalogMissing
from medbus.projections.images import ImageReader, KnownImage
from medbus.schemas.errors import BusError
from medbus.schemas.events import Blob, Event

Buffer = bytes | bytearray | memoryview

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT = 60.0
"""Seconds to wait for the log to take an event, before the association is aborted."""

RECENT_IMAGES = 100_000
"""How many images of this gateway are remembered for the time until the catalog shows them."""

LARGEST_COMPARED = 512 * 1024 * 1024
"""Bytes: larger data sets under one SOP Instance UID are only compared by digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What the command set of a C-STORE says, with the context's transfer syntax."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An image that this gateway registered: what is served, its study and class, its place in the log."""

    blob: Blob
    study_instance_uid: str
    sop_class_uid: str
    position: Position


@dataclass(frozen=True, slots=True)
class Received:
    """An image that has come in whole and was checked, but is neither durable nor registered."""

    request: StoreRequest
    grant: Grant
    head: Head
    writer: Writer


class Storing:
    """Stores images: an image is durable and on the log before it counts as stored.

    Args:
        bus: the log.
        blobs: where data sets are kept.
        images: the image catalog.
        database: tells how far the catalog has come.
        quota: the room of contracts, for all conversations together.
        source: names this gateway in events.
        clock: the time.
        publish_timeout: seconds to wait for the log.
        recent: how many images to remember for the time until the catalog shows them.
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
        recent: int = RECENT_IMAGES,
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
        self._recent_limit = recent
        self._busy: dict[str, tuple[asyncio.Lock, int]] = {}

    def acknowledged(self, sop_instance_uid: str) -> Acknowledged | None:
        """What this gateway remembers of an image; the catalog knows the rest."""
        return self._recent.get(sop_instance_uid)

    async def store(
        self, conversation: Conversation, request: StoreRequest, chunks: AsyncIterator[Buffer]
    ) -> Outcome:
        """Receive, check and register one image: `receive` and `complete` in one.

        Raises:
            Unanswerable: the log does not say whether it has the image.
        """
        try:
            await self.complete(await self.receive(conversation, request, chunks))
        except Refused as error:
            return self.refused(conversation, request, error)
        return SUCCESS

    async def receive(
        self, conversation: Conversation, request: StoreRequest, chunks: AsyncIterator[Buffer]
    ) -> Received:
        """Take an image as it comes, and check it. Then `complete` it, or `abandon` it.

        Args:
            conversation: needs a grant for registration.
            request: the command.
            chunks: the encoded data set, as it comes; each is used before the next is asked for.

        Raises:
            Refused: with
                0124H: not granted, or the image lies outside the grant's scope.
                A700H: no capacity, no space, or the blob store can't be reached.
                A900H: SOP class or instance of the data set are not those of the command.
                C000H: the data set is cut short, malformed, or lacks identifiers.
        """
        grant = await conversation.grant(Service.REGISTRATION)
        writer = self._blobs.writer(request.transfer_syntax_uid)
        try:
            head = await _receive(request.transfer_syntax_uid, chunks, writer)
            _check_command(head, request)
            _check_scope(head, grant)
        except BaseException:
            await writer.abort()
            raise
        return Received(request, grant, head, writer)

    async def complete(self, image: Received) -> None:
        """Make an image that has come durable, and register it. Returns when both are done.

        Raises:
            Refused: with
                0124H: the contract was cancelled meanwhile.
                0111H: other contents are registered under this SOP Instance UID; both are kept, the first is
                served, and the conflict is on the log.
                A700H: no capacity, no space, or the blob store can't be reached.
            Unanswerable: the log does not say whether it has the image.
        """
        uid = image.request.sop_instance_uid
        try:
            async with self._alone(uid):
                known = await self._known(uid)
                blob = await _finish(image.writer)
                check_live(image.grant)
                if known is None:
                    await self._register(image.grant, image.head, blob)
                elif known.blob.digest != blob.digest:
                    await self._duplicate(image.grant, image.head, known, blob)
        finally:
            await image.writer.abort()

    async def abandon(self, image: Received) -> None:
        """Let go of an image that nobody waits for any more. Does nothing after `complete`."""
        await image.writer.abort()

    @staticmethod
    def refused(conversation: Conversation, request: StoreRequest, error: Refused) -> Outcome:
        """What the peer is told, after it was logged."""
        log.info(
            "%s: %s of %s not stored: %04XH %s",
            conversation.peer,
            request.sop_instance_uid,
            request.sop_class_uid,
            error.code,
            error,
        )
        return error.outcome

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
            if isinstance(error, Exhausted | UsageUnknown):
                raise Refused(Code.OUT_OF_RESOURCES, error.message) from error
            if isinstance(error, BlobError):
                raise _blobs_failed(error) from error
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
                raise _blobs_failed(error) from error
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
            raise Refused(Code.OUT_OF_RESOURCES, "the event log took nothing") from error

    def _remember(self, sop_instance_uid: str, image: Acknowledged) -> None:
        self._recent[sop_instance_uid] = image
        while len(self._recent) > self._recent_limit:
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


async def _receive(transfer_syntax_uid: str, chunks: AsyncIterator[Buffer], writer: Writer) -> Head:
    """Take a data set as it comes, and read its head meanwhile.

    Raises:
        Refused: it is cut short, malformed, too large, or lacks identifiers; or it can't be kept.
    """
    try:
        scanner = HeadScanner(transfer_syntax_uid)
        async for chunk in chunks:
            scanner.feed(chunk)
            await writer.write(chunk)
        return scanner.finish()
    except MissingIdentifier as error:
        raise Refused(Code.CANNOT_UNDERSTAND, f"missing or invalid {error.keyword}") from error
    except TruncatedDataSet as error:
        raise Refused(Code.CANNOT_UNDERSTAND, "the data set is cut short") from error
    except OversizedDataSet as error:
        raise Refused(Code.OUT_OF_RESOURCES, error.message) from error
    except UnreadableDataSet as error:
        raise Refused(Code.CANNOT_UNDERSTAND, error.message) from error
    except BlobError as error:
        raise _blobs_failed(error) from error


async def _finish(writer: Writer) -> Blob:
    try:
        return await writer.finish()
    except BlobError as error:
        raise _blobs_failed(error) from error


def _check_command(head: Head, request: StoreRequest) -> None:
    if head.instance.sop_class_uid != request.sop_class_uid:
        raise Refused(Code.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "SOP Class UID is not that of the command")
    if head.instance.sop_instance_uid != request.sop_instance_uid:
        raise Refused(Code.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "SOP Instance UID is not that of the command")


def _check_scope(head: Head, grant: Grant) -> None:
    if not grant.scope.holds(
        patient_id=head.patient.patient_id, registrant=grant.subscriber, modality=head.series.modality
    ):
        raise Refused(Code.NOT_AUTHORIZED, "patient or modality lie outside the contract")


def _blobs_failed(error: BlobError) -> Refused:
    log.error("blob store: %s", error)
    return Refused(Code.OUT_OF_RESOURCES, "the image can't be kept now, send it later")
