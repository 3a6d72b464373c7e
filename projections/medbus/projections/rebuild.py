"""Builds the catalogs anew from the beginning of the log, beside those in use, and switches to them."""

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from medbus.bus import Partition
from medbus.projections import positions, projection
from medbus.projections.applying import Applier
from medbus.projections.database import Database
from medbus.projections.log import Log, Offsets
from medbus.projections.projection import Projection
from medbus.projections.storage import Building
from medbus.schemas.events import Value
from medbus.schemas.topics import Topic

log = logging.getLogger(__name__)

CLOSE = 1000
"""With so few records to go, it is time to hold up the catalog in use, take up the rest and switch."""


class Rebuilt(Value):
    """What a rebuild did.

    Attributes:
        records: how many records were read.
        reading_seconds: how long reading them and writing their rows took.
        seconds: how long everything took, with indexes and switching.
    """

    records: int
    reading_seconds: float
    seconds: float


async def rebuild(
    log_: Log,
    database: Database,
    projections: Sequence[Projection],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Rebuilt:
    """Build a new generation of the catalogs and let it take the place of the present one, if there is one.

    Readers see the old one until the moment at which they see the new one, which is as far then.
    A projector that follows the log meanwhile goes on with the new one; nobody needs a restart.

    Args:
        log_: the log to read; it also takes dead letters.
        database: holds the catalogs; it need not be open to be written.
        projections: all catalogs.
        progress: called now and then with the number of records since the last time.

    Raises:
        CatalogInUse: a rebuild is under way already.
    """
    begun = time.monotonic()
    topics = topics_of(projections)
    async with database.build() as building:
        await building.write(partial(projection.found, projections=projections))
        await building.write(
            partial(projection.begin, projections=projections, partitions=log_.partitions(*topics))
        )
        applier = Applier(log_, building.write, projections, progress=progress)
        with _few_collections():
            records = await applier.follow(log_.replay(*topics))
        reading = time.monotonic() - begun
        await building.write(partial(projection.index, projections=projections))
        await building.finish()
        while (more := await _catch_up(log_, building, applier, topics, None)) > CLOSE:
            records += more
        records += more
        async with building.turn():
            # Nobody writes to the old one from here on, so this is as far as readers have ever seen.
            records += await _catch_up(log_, building, applier, topics, await database.positions())
            await building.switch()
    seconds = time.monotonic() - begun
    log.info("the catalogs were rebuilt from %d records in %.1f s", records, seconds)
    return Rebuilt(records=records, reading_seconds=reading, seconds=seconds)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for cycles seldom: events have none, and looking takes a sixth of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def topics_of(projections: Sequence[Projection]) -> tuple[Topic, ...]:
    """All topics that projections read."""
    return tuple({topic.name: topic for each in projections for topic in each.topics}.values())


async def _catch_up(
    log_: Log, building: Building, applier: Applier, topics: Sequence[Topic], goal: Offsets | None
) -> int:
    """Apply what is missing up to some offsets, or to where the log ends now."""
    have: dict[Partition, int] = await building.write(positions.lowest)
    ends = await log_.end_offsets(*topics) if goal is None else goal
    missing = {partition: end for partition, end in ends.items() if have.get(partition, 0) < end}
    if not missing:
        return 0
    return await applier.follow(log_.replay(*topics, since=have, until=have | missing))
