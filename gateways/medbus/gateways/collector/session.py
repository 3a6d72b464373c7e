"""One look at one source: what is new is registered under the sender's contract, as C-STORE would."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from msgspec.structs import replace

from medbus.bus import Bus, Position
from medbus.gateways.collector.errors import SourceFailed
from medbus.gateways.collector.looked import Looked
from medbus.gateways.collector.memory import Memory
from medbus.gateways.collector.source import Source
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.presentation import Service
from medbus.gateways.dicom.registrar import Registrar
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Postponed, Refused, Unanswerable
from medbus.gateways.dicom.storing import StoreRequest, Storing
from medbus.gateways.grants import Grants, Rejected, Undecided, utc_now
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.errors import CatalogMissing
from medbus.projections.images import ImageReader
from medbus.schemas.events import Blob, Evidence
from medbus.schemas.topics import IMAGES

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a collector works with."""

    bus: Bus
    database: Database
    images: ImageReader
    directory: DirectoryReader
    grants: Grants
    registrar: Registrar
    storing: Storing


class Session:
    """A look under way.

    Args:
        parts: what it works with.
        source: where.
        memory: of the looks before.
        stop: ends it after the image that is on its way.
        ae_title: ours.
        name: of the collector in events.

    Attributes:
        address: of the source, for whoever decides; set before the first image is taken.
    """

    def __init__(
        self, parts: Parts, source: Source, memory: Memory, stop: asyncio.Event, *, ae_title: str, name: str
    ) -> None:
        self.parts = parts
        self.source = source
        self.memory = memory
        self.address = ""
        self.offered = self.new = self.registered = self.refused = self.failed = self.bytes = 0
        self.more = False
        self.remark = ""
        self._stop = stop
        self._ae_title = ae_title
        self._name = name
        self._conversation: Conversation | None = None
        self._begun = self._told = self.now

    @property
    def now(self) -> float:
        """Seconds, of a clock that only goes forward."""
        return asyncio.get_running_loop().time()

    @property
    def stopped(self) -> bool:
        """Whether to end here."""
        return self._stop.is_set()

    async def sleep(self, seconds: float) -> None:
        """Wait, but not when it is stopped."""
        await wait(self._stop, seconds)

    async def caught_up(self, timeout: float) -> None:  # noqa: ASYNC109 - nothing is cancelled
        """Wait until the catalog shows every image that is on the log now.

        Raises:
            SourceFailed: it does not in time.
        """
        ends = await self.parts.bus.end_offsets(IMAGES)
        shown = await self.parts.database.positions()
        deadline = self.now + timeout
        for partition, end in ends.items():
            if shown.get(partition, 0) < end and not await self.parts.database.reached(
                Position(partition, end - 1), max(0.0, deadline - self.now)
            ):
                raise SourceFailed(
                    f"The image catalog is behind the log after {timeout:g} s.", "Does the projector run?"
                )

    async def known(self, sop_instance_uid: str) -> Blob | None:
        """What is registered under a UID."""
        acknowledged = self.parts.registrar.acknowledged(sop_instance_uid)
        if acknowledged is not None:
            return acknowledged.blob
        try:
            found = await self.parts.images.known(sop_instance_uid)
        except CatalogMissing:  # a new installation
            return None
        return None if found is None else found.blob

    async def take(self, request: StoreRequest, chunks: AsyncIterator[bytes]) -> Outcome:
        """Register an image; how it went. An image that is refused does not end the look.

        Args:
            request: what it says it is.
            chunks: its data set, as it comes.

        Raises:
            SourceFailed: nothing can be registered now.
        """
        conversation = await self._granted()
        counted = _Counted(chunks)
        try:
            received = await self.parts.storing.receive(conversation, request, aiter(counted))
            await self.parts.storing.complete(received)
        except Unanswerable as error:
            raise SourceFailed(error.message, error.advice) from error
        except Postponed as error:
            raise SourceFailed(f"{error.message}.", "See `medbus status`.") from error
        except Refused as error:
            self.refused += 1
            self.remark = f"{request.sop_instance_uid}: {error.message}"
            # There may be room for it later; all else is final until the contract changes.
            final = error.code != Code.OUT_OF_RESOURCES
            self.memory.deny(request.sop_instance_uid, self.now, final=final)
            return self.parts.storing.refused(conversation, request, error)
        self.arrived(counted.size)
        return SUCCESS

    def arrived(self, size: int) -> None:
        """An image of so many bytes is registered."""
        self.registered += 1
        self.bytes += size
        if self.now - self._told > PROGRESS_SECONDS:
            self._told = self.now
            log.info("%s: %d of %d images registered so far", self.source, self.registered, self.new)

    def missed(self, name: str, reason: str) -> None:
        """The source did not give an image; it is tried again later."""
        self.failed += 1
        self.remark = f"{name}: {reason}"
        self.memory.deny(name, self.now, final=False)
        log.info("%s: %s did not come: %s", self.source, name, reason)

    def looked(self, problem: str = "") -> Looked:
        """What came of it so far."""
        return replace(
            Looked.at(self.source),
            offered=self.offered,
            new=self.new,
            registered=self.registered,
            refused=self.refused,
            failed=self.failed,
            bytes=self.bytes,
            seconds=self.now - self._begun,
            more=self.more,
            problem=problem,
            remark=self.remark,
        )

    async def _granted(self) -> Conversation:
        """The conversation, with a grant that is good: it is asked for with the first image, not before."""
        try:
            if self._conversation is None:
                conversation = self._open()
                grant = await conversation.ask(Service.REGISTRATION)
                if grant.subscriber != self.source.subscriber:
                    raise SourceFailed(
                        f"The AE title {conversation.peer} is that of {grant.subscriber} too.",
                        "Give every apparatus an AE title of its own.",
                    )
                self._conversation = conversation
            await self._conversation.grant(Service.REGISTRATION)
        except Rejected as error:
            raise SourceFailed(f"Nothing may be registered: {error.reason.value}.", error.detail) from error
        except Undecided as error:
            raise SourceFailed(error.message, error.advice) from error
        except Refused as error:
            raise SourceFailed(f"Nothing may be registered any more: {error.message}.") from error
        return self._conversation

    def _open(self) -> Conversation:
        evidence = Evidence(
            calling_ae_title=self.source.apparatus.ae_title,
            called_ae_title=self._ae_title,
            address=self.address,
        )
        return Conversation(
            self.parts.grants,
            evidence,
            {Service.REGISTRATION: ()},
            source=self._name,
            clock=utc_now,
        )


class _Counted:
    """Counts the bytes of a data set that passes."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.size = 0
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait so many seconds, or until something is to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
