"""Registers the images of a request that are to be kept: results, enclosed images, or both.

They go the way of images that come by C-STORE: each is on the log once, conflicts are on the log too, and the
requester's capacity is kept. They are the requester's, under the grant of the request.
"""

import asyncio
import logging

from medbus.blobs import BlobCorrupted, BlobError, BlobNotFound, BlobStore, BlockingBlobs
from medbus.bus import Bus, Position
from medbus.gateways.dicom.dataset import Head, HeadScanner, UnreadableDataSet
from medbus.gateways.dicom.registrar import Registrar, blobs_failed, check_scope, unreadable
from medbus.gateways.dicom.status import Code, Postponed, Refused
from medbus.gateways.grants import Clock, Grant
from medbus.gateways.results.contracts import Contracts
from medbus.gateways.results.following import Following
from medbus.projections.processing import Job, ProcessingReader
from medbus.schemas.errors import InvalidEvent
from medbus.schemas.events import Blob, Keep, ProcessingRequested, RequestAuthorized, ResultsKept

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Images that are registered at once, of all requests together."""

_TOGETHER = 64

MOST_REFUSED = 1000
"""Refused images that an event names: it has its limit."""

_LONGEST_REASON = 100


class Keeping:
    """Registers what is to be kept.

    Args:
        bus: the log.
        blobs: where images are.
        processing: the processing catalog.
        registrar: puts images on the log.
        following: ends grants.
        contracts: says whose contract is in force.
        source: names this process in events.
        clock: the time.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        blobs: BlobStore,
        processing: ProcessingReader,
        registrar: Registrar,
        following: Following,
        contracts: Contracts,
        source: str,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._processing = processing
        self._registrar = registrar
        self._following = following
        self._contracts = contracts
        self._source = source
        self._clock = clock
        self._places = asyncio.Semaphore(AT_ONCE)

    async def keep(self, job: Job, decision: RequestAuthorized, *, last: bool) -> Position:
        """Register what is to be kept of a request, as far as it can be; where the log says that.

        Args:
            job: the request.
            decision: its grant.
            last: whether what can't be registered now is given up.

        Raises:
            Postponed, Unanswerable: it can't be done now. Begun again, nothing is done twice.
        """
        grant = self._following.grant(decision)
        grant.ended = grant.ended or not await self._contracts.live(decision.subscriber)
        labelled = await self._labelled(job)
        refused: list[str] = []
        images = list(labelled.items())
        for first in range(0, len(images), _TOGETHER):
            some = images[first : first + _TOGETHER]
            outcomes = await asyncio.gather(
                *(self._register(grant, label, blob, last=last) for blob, label in some),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome:
                    refused.append(outcome)
        kept = ResultsKept(
            meta=decision.meta.caused("kept", source=self._source, occurred_at=self._clock()),
            grant_id=decision.request_id,
            subscriber=decision.subscriber,
            registered=len(images) - len(refused),
            refused=_named(refused),
        )
        return await self._bus.publish(kept)

    async def _labelled(self, job: Job) -> dict[Blob, str]:
        """What is to be kept, each data set once, with what it is called where it can't be read."""
        found: dict[Blob, str] = {}
        request = await self._processing.request(job.request_id)
        if job.keep in (Keep.BEFORE, Keep.BOTH) and request is not None:
            found.update((blob, blob.digest) for blob in _enclosed(request))
        if job.keep in (Keep.AFTER, Keep.BOTH):
            results = await self._processing.results(job.request_id)
            found.update((each.blob, each.sop_instance_uid) for each in results)
        return found

    async def _register(self, grant: Grant, label: str, blob: Blob, *, last: bool) -> str:
        """Register an image; why it was not, empty if it was."""
        async with self._places:
            try:
                head = await self._head(blob)
                label = head.instance.sop_instance_uid
                check_scope(head, grant)
                await self._registrar.register(grant, head, blob)
            except Refused as error:
                if isinstance(error, Postponed) and not last:
                    raise
                log.info("%s of %s is not kept: %s", label, grant.grant_id, error)
                return f"{label} {error.message[:_LONGEST_REASON]}"
            except InvalidEvent as error:
                log.exception("%s of %s is not kept", label, grant.grant_id)
                return f"{label} {error.message[:_LONGEST_REASON]}"
        return ""

    async def _head(self, blob: Blob) -> Head:
        try:
            return await asyncio.to_thread(_read, self._blobs.blocking, blob)
        except UnreadableDataSet as error:
            raise unreadable(error) from error
        except (BlobNotFound, BlobCorrupted) as error:
            raise Refused(Code.OUT_OF_RESOURCES, "the stored image can't be read") from error
        except BlobError as error:
            raise blobs_failed(error) from error


def _enclosed(request: ProcessingRequested) -> tuple[Blob, ...]:
    return request.images.enclosed + request.masks.enclosed


def _read(blobs: BlockingBlobs, blob: Blob) -> Head:
    scanner = HeadScanner(blob.transfer_syntax_uid)
    for chunk in blobs.stream(blob.digest):
        scanner.feed(chunk)
    return scanner.finish()


def _named(refused: list[str]) -> tuple[str, ...]:
    if len(refused) <= MOST_REFUSED:
        return tuple(refused)
    return (*refused[:MOST_REFUSED], f"and {len(refused) - MOST_REFUSED} more")
