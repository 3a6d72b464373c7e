"""The planning processor: a decision that lets a request be processed becomes work items.

A record may come again, also after a part of its plan was written: Kafka writes to several partitions at
once, not all or nothing. So the planner lets the catalog show everything that the log has, and leaves out the
items that are there. What it plans for the others is the same as the first time: see `planning`.
"""

import asyncio
from collections.abc import Sequence

from medbus.blobs import BlobStore
from medbus.bus import Bus, Record
from medbus.projections.database import Database
from medbus.projections.images import ImageReader
from medbus.projections.processing import ProcessingReader, State
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Event, ProcessingRequested, RequestAuthorized
from medbus.schemas.topics import DECISIONS, IMAGES, PROCESSING, REQUESTS, WORK
from medbus.streams.processing.asked import asked
from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.planning.abreast import PATIENCE_SECONDS, abreast
from medbus.streams.processing.planning.dividing import Part, Unplannable, divide
from medbus.streams.processing.planning.placing import Slots
from medbus.streams.processing.planning.plan import Earlier, Origin, failed, plan, started
from medbus.streams.processing.planning.selecting import Selecting
from medbus.streams.processor import Processor

PLANNER = "processing-planner"

STALL_SECONDS = 300.0
"""Shorter than all tries together: while the catalogs lag behind, it is begun again and nothing is given
up."""

LINGER_SECONDS = 0.1
"""Most decisions are on other requests: they are looked through together."""

DELAYS = (1.0, 5.0, 15.0)


class RequestUnknown(MedbusError):
    """A request that was decided is not in the catalog."""


class Planner:
    """Plans what was granted.

    Args:
        bus: an open bus.
        database: with the catalogs.
        blobs: where enclosed images are.
        patience: seconds for which the catalogs may lag behind.
    """

    def __init__(
        self, bus: Bus, database: Database, blobs: BlobStore, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._bus = bus
        self._database = database
        self._jobs = ProcessingReader(database)
        self._selecting = Selecting(ImageReader(database), blobs)
        self._patience = patience

    async def events(self, record: Record) -> Sequence[Event]:
        """What follows from a decision: nothing, unless it lets a request be processed.

        Raises:
            RequestUnknown: nobody knows what was asked for.
            OSError: the catalogs lag behind, or the blob store fails.
        """
        grant = granted(record)
        if grant is None:
            return ()
        origin = Origin(grant, record.timestamp)
        before = await self._bus.offsets_at(record.timestamp, IMAGES)
        now = await self._bus.end_offsets(REQUESTS, PROCESSING, WORK)
        await abreast(self._database, {**before, **now}, self._patience)
        request = await self._jobs.request(grant.request_id)
        job = await self._jobs.job(grant.request_id)
        if request is None or job is None:
            raise RequestUnknown(f"The catalog does not have the request {grant.request_id}.")
        recorded = {each.item for each in await self._jobs.items(grant.request_id)}
        if job.completed_at is not None or job.state is State.FAILED:
            return ()
        if job.started_at is not None and len(recorded) >= job.items:
            return ()
        try:
            wanted = asked(request.processing_type, request.parameters)
            if not recorded and job.started_at is None and await self._jobs.cancelled(grant.request_id):
                return (started(origin, wanted, ()),)
            await self._check_server(request)
            chosen = await self._selecting.chosen(request, grant.scope, before)
            parts = await asyncio.to_thread(divide, wanted, chosen.images, chosen.masks)
        except (InvalidParameter, Unplannable) as error:
            return (failed(origin, str(error)),)
        count = len(self._bus.partitions(WORK))
        return plan(
            origin,
            wanted,
            parts,
            earlier=await self._earlier([each for each in parts if each.number not in recorded]),
            # Requests begin at different slots, so that small ones do not all come to the same server.
            slots=Slots(await self._jobs.load(), count, origin.grant.request_id.int % count),
            server=request.server,
            recorded=recorded,
            begun=job.started_at is not None,
        )

    async def _check_server(self, request: ProcessingRequested) -> None:
        if request.server is None:
            return
        names = [each.name for each in await self._jobs.servers()]
        if request.server not in names:
            raise Unplannable(
                f"There is no processing server {request.server}.",
                f"There are {', '.join(names)}." if names else "None has begun to work yet.",
            )

    async def _earlier(self, parts: Sequence[Part]) -> dict[str, Earlier]:
        found: dict[str, Earlier] = {}
        for part in parts:
            if part.reason:
                continue
            if results := await self._jobs.same(part.identity):
                item = await self._jobs.same_item(part.identity)
                found[part.identity] = Earlier(tuple(results), () if item is None else item.findings)
        return found


def granted(record: Record) -> RequestAuthorized | None:
    """The grant in a record, if it is one for processing."""
    event = record.event
    if isinstance(event, RequestAuthorized) and event.request == ProcessingRequested.__name__:
        return event
    return None


def refuse(record: Record, error: str) -> Sequence[Event]:
    """Why a request that could not be planned is not done, so that nobody waits in vain."""
    grant = granted(record)
    if grant is None:
        return ()
    reason = (
        "The service could not plan this request. Try again later; the service's manager finds what went "
        "wrong in the dead letters."
    )
    return (failed(Origin(grant, record.timestamp), reason),)


def processor(planner: Planner) -> Processor:
    """The planning processor. One plan is in the log before the next is made, so that each sees the load."""
    return Processor(
        name=PLANNER,
        topics=(DECISIONS,),
        handle=planner.events,
        refuse=refuse,
        delays=DELAYS,
        in_flight=1,
        linger=LINGER_SECONDS,
        stall_seconds=STALL_SECONDS,
    )
