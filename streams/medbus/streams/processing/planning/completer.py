"""The completing processor: a request of which every item is done, failed or skipped is complete.

It has no state: the catalog counts. An item counts once, whatever comes twice, and a request is complete when
so many items count as it was split into; so all of them were in the log before. A request that failed as a
whole is complete at once.
"""

from collections.abc import Sequence
from uuid import UUID

from medbus.bus import Partition, Record
from medbus.projections.database import Database
from medbus.projections.processing import ProcessingReader, State, Totals
from medbus.schemas.events import (
    Event,
    ItemProcessed,
    ItemSkipped,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingStarted,
)
from medbus.schemas.topics import PROCESSING
from medbus.streams.processing.planning.abreast import PATIENCE_SECONDS, abreast
from medbus.streams.processing.planning.plan import NAME
from medbus.streams.processing.planning.planner import DELAYS, STALL_SECONDS
from medbus.streams.processor import Processor

COMPLETER = "processing-completer"

BATCH = 200
"""Records that are looked at together at most: for each request among them the catalog is asked once."""

Step = ProcessingStarted | ItemProcessed | ItemSkipped | ProcessingFailed
"""Events after which a request may be complete."""


class Completer:
    """Completes requests.

    Args:
        database: with the catalogs.
        patience: seconds for which they may lag behind.
    """

    def __init__(self, database: Database, *, patience: float = PATIENCE_SECONDS) -> None:
        self._database = database
        self._jobs = ProcessingReader(database)
        self._patience = patience
        self._last: dict[UUID, Record] = {}

    async def prepare(self, records: Sequence[Record]) -> None:
        """Let the catalogs show these records.

        Raises:
            TimeoutError: they lag behind.
        """
        steps = [each for each in records if isinstance(each.event, Step)]
        self._last = {each.event.grant_id: each for each in steps if isinstance(each.event, Step)}
        reached: dict[Partition, int] = {}
        for each in steps:
            partition, offset = each.position
            reached[partition] = max(reached.get(partition, 0), offset + 1)
        if reached:
            await abreast(self._database, reached, self._patience)

    async def events(self, record: Record) -> Sequence[Event]:
        """The completion of a request, if this is the last of what was prepared of it, and it is complete."""
        event = record.event
        if not isinstance(event, Step) or self._last.get(event.grant_id) is not record:
            return ()
        job = await self._jobs.job(event.grant_id)
        request = await self._jobs.request(event.grant_id)
        if job is None or request is None or job.completed_at is not None:
            return ()
        totals = await self._jobs.totals(event.grant_id)
        if job.state is State.FAILED:
            totals = totals or Totals(items=0)
        elif totals is None or not totals.finished:
            return ()
        return (
            ProcessingCompleted(
                meta=request.meta.caused(
                    "completed", source=NAME, occurred_at=record.timestamp, actor=event.subscriber
                ),
                grant_id=event.grant_id,
                subscriber=event.subscriber,
                processing_type=request.processing_type,
                sessions=totals.sessions,
                images=totals.images,
                bytes=totals.bytes,
                milliseconds=totals.milliseconds,
                results=totals.results,
                failed=totals.failed,
                skipped=totals.skipped,
            ),
        )


def processor(completer: Completer) -> Processor:
    """The completing processor."""
    return Processor(
        name=COMPLETER,
        topics=(PROCESSING,),
        prepare=completer.prepare,
        handle=completer.events,
        batch=BATCH,
        in_flight=BATCH,
        buffer=2 * BATCH,
        delays=DELAYS,
        stall_seconds=STALL_SECONDS,
    )
