"""Keeps the catalogs up to date with the log."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from medbus.bus import Partition
from medbus.projections import positions, projection
from medbus.projections.accounts import AccountProjection
from medbus.projections.applying import Applier
from medbus.projections.conditions import ConditionProjection
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryProjection
from medbus.projections.errors import CatalogMissing
from medbus.projections.images import ImageProjection
from medbus.projections.log import Log
from medbus.projections.processing import ProcessingProjection
from medbus.projections.projection import Projection
from medbus.projections.rebuild import rebuild, topics_of
from medbus.projections.requests import RequestProjection
from medbus.schemas.errors import OffsetOutOfRange

log = logging.getLogger(__name__)

PROJECTIONS: tuple[Projection, ...] = (
    DirectoryProjection(),
    ImageProjection(),
    ConditionProjection(),
    AccountProjection(),
    RequestProjection(),
    ProcessingProjection(),
)
"""All catalogs."""

PACE_SECONDS = 0.025
"""From one look at the log, and so from one transaction, to the next, at least, while events keep coming.

A fetch and a transaction take 2 ms of CPU for a single event, and little more for twenty-five. An event that
comes to an idle projector is taken up at once; one that comes in a stream waits for the next look. A backlog
is taken up without pauses.
"""
MAINTENANCE_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""A generation of the catalogs is removed so long after it was replaced."""


class Projector:
    """Follows the log and writes the catalogs; one for an installation.

    Where there are no catalogs, or other tables than this program's, they are built from the beginning of the
    log.

    Args:
        log_: the log, for example `medbus.bus.Bus`.
        database: opened with `writer=True`.
        projections: all catalogs that the database is to hold.
        grace: seconds after which a generation that was replaced is removed.
        pace: seconds from one transaction to the next, at least, while events keep coming.
    """

    def __init__(
        self,
        log_: Log,
        database: Database,
        projections: Sequence[Projection] = PROJECTIONS,
        *,
        grace: float = GRACE_SECONDS,
        pace: float = PACE_SECONDS,
    ) -> None:
        self._log = log_
        self._database = database
        self._projections = projections
        self._topics = topics_of(projections)
        self._grace = grace
        self._pace = pace
        self._applier = Applier(log_, database.write, projections)

    async def catch_up(self) -> None:
        """Take up what the log holds now.

        Raises:
            OffsetOutOfRange: the log does not hold what was to be read next. Nothing is passed over.
        """
        begin = await self._begin()
        await self._applier.follow(self._log.replay(*self._topics, since=begin))

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the log until told to stop; what was begun is finished.

        Raises:
            OffsetOutOfRange: the log does not hold what was to be read next. Nothing is passed over.
            CatalogMissing: the catalogs were deleted meanwhile; begin again.
        """
        begin = await self._begin()
        maintaining = asyncio.create_task(self._maintain())
        try:
            async with self._log.subscribe(*self._topics, start=begin, pace=self._pace) as batches:
                await self._applier.follow(batches, stop)
        finally:
            maintaining.cancel()
            await asyncio.gather(maintaining, return_exceptions=True)

    async def _begin(self) -> dict[Partition, int]:
        """Make sure that there are catalogs; returns where to go on."""
        if not await self._fit():
            await rebuild(self._log, self._database, self._projections)
        partitions = self._log.partitions(*self._topics)
        await self._database.write(
            partial(projection.begin, projections=self._projections, partitions=partitions)
        )
        begin = await self._database.read(positions.lowest)
        await self._verify(begin)
        return begin

    async def _fit(self) -> bool:
        """Whether there are catalogs with this program's tables; a new projection's are added."""
        try:
            there = await self._database.read(positions.load_definitions)
        except CatalogMissing as error:
            log.info("%s It is built now.", error.message)
            return False
        for each in self._projections:
            if there.get(each.name, each.definition) != each.definition:
                log.info("the tables of %s have changed: the catalogs are rebuilt", each.name)
                return False
        if surplus := there.keys() - {each.name for each in self._projections}:
            log.info("%s is no longer kept: the catalogs are rebuilt", ", ".join(sorted(surplus)))
            return False
        for each in self._projections:
            if each.name not in there:
                log.info("%s is new in the catalogs: it is built from the beginning of the log", each.name)
                await self._database.write(partial(projection.join, projection=each))
        return True

    async def _verify(self, begin: dict[Partition, int]) -> None:
        first = await self._log.first_offsets(*self._topics)
        last = await self._log.end_offsets(*self._topics)
        for partition, offset in begin.items():
            if not first.get(partition, 0) <= offset <= last.get(partition, 0):
                raise OffsetOutOfRange(
                    f"The catalogs go on at {partition}@{offset}, but the log holds "
                    f"{first.get(partition, 0)} to {last.get(partition, 0)}.",
                    "Restore the log. If it is complete as it is, delete the catalogs: they are built anew.",
                )

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            try:
                await self._database.maintain(self._grace)
            except Exception:
                # Nothing depends on it; what is wrong with the database shows when it is written.
                log.exception("maintenance of the catalogs failed")
