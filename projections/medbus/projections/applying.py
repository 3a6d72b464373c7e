"""Takes records from the log into a database. Reading and writing go on side by side."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from medbus.bus import Record, Undecodable, dead_letters
from medbus.projections import positions, rows
from medbus.projections.errors import CatalogError
from medbus.projections.log import Log
from medbus.projections.projection import Projection, apply
from medbus.projections.rows import NulCharacter
from medbus.projections.storage import Work
from medbus.schemas.errors import InvalidEvent

log = logging.getLogger(__name__)

T = TypeVar("T")

PROCESSOR = "projector"
RECORDS_AT_ONCE = 2000
"""So many records, or a few more, are taken up in one transaction."""
BATCHES_AHEAD = 4
"""So many batches are read and decoded while others are being written."""


class Write(Protocol):
    """Does work in a transaction."""

    def __call__(self, work: Work[T], /) -> Coroutine[Any, Any, T]: ...


class Applier:
    """Applies records to projections.

    Args:
        log: takes dead letters.
        write: does work in a transaction on the database.
        projections: what is to take up the records.
        progress: called after each transaction with the number of its records.
    """

    def __init__(
        self,
        log: Log,
        write: Write,
        projections: Sequence[Projection],
        *,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._log = log
        self._write = write
        self._projections = projections
        self._progress = progress

    async def follow(self, batches: AsyncIterator[list[Record]], stop: asyncio.Event | None = None) -> int:
        """Apply batches until there are no more, or until told to stop; returns the number of records."""
        queue: asyncio.Queue[list[Record] | None] = asyncio.Queue(BATCHES_AHEAD)

        async def read() -> None:
            async for batch in batches:
                await queue.put(batch)
            await queue.put(None)

        async def wait() -> None:
            if stop is not None:
                await stop.wait()
                reading.cancel()
                await asyncio.wait([reading])
                await queue.put(None)

        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._drain(queue))
                reading = group.create_task(read())
                waiting = group.create_task(wait())
                count = await writing
                waiting.cancel()
        except BaseExceptionGroup as errors:
            # One of the two failed, and the other was cancelled.
            raise errors.exceptions[0] from None
        return count

    async def apply(self, records: Sequence[Record]) -> None:
        """Apply records in one transaction; one that can't be applied becomes a dead letter."""
        for record in records:
            if isinstance(record.event, Undecodable):
                await self._bury(record, record.event.error)
        await self._apply(records)
        self._progress(len(records))

    async def _drain(self, queue: asyncio.Queue[list[Record] | None]) -> int:
        count = 0
        more = True
        while more and (batch := await queue.get()) is not None:
            records = list(batch)
            while len(records) < RECORDS_AT_ONCE and not queue.empty():
                following = queue.get_nowait()
                if following is None:
                    more = False
                    break
                records += following
            await self.apply(records)
            count += len(records)
        return count

    async def _apply(self, records: Sequence[Record]) -> None:
        try:
            await self._write(partial(apply, projections=self._projections, records=records))
        except NulCharacter:
            await self._apply([_without_nul(record) for record in records])
        except Exception as error:
            if _is_the_database(error):
                raise
            if len(records) > 1:
                # Look for the one that is to blame.
                middle = len(records) // 2
                await self._apply(records[:middle])
                await self._apply(records[middle:])
            else:
                await self._apply_apart(records[0])

    async def _apply_apart(self, record: Record) -> None:
        """Apply one record to each projection by itself."""
        for projection in self._projections:
            try:
                await self._write(partial(apply, projections=[projection], records=[record]))
            except Exception as error:
                if _is_the_database(error):
                    raise
                log.exception("%s can't take up %s", projection.name, record.position)
                await self._bury(record, f"{projection.name}: {error!r}")
                await self._write(partial(_pass, projection=projection, record=record))

    async def _bury(self, record: Record, error: str) -> None:
        """Write a dead letter; only when it is durable may reading go on."""
        letter = dead_letters.dead_letter(PROCESSOR, record, error)
        try:
            await self._log.publish(letter)
        except InvalidEvent:
            await self._log.publish(dead_letters.without_contents(letter))
        log.error("dead letter for %s: %s", record.position, error)


def _pass(connection: Connection, projection: Projection, record: Record) -> None:
    partition, offset = record.position
    positions.save(connection, projection.name, {partition: offset + 1})


def _without_nul(record: Record) -> Record:
    """The same record without NUL characters, which have no meaning and which no database takes."""
    kept = (bytes, datetime, UUID)
    fields = rows.without_nul(msgspec.to_builtins(record.event, builtin_types=kept))
    event = msgspec.convert(fields, type(record.event), builtin_types=kept)
    return msgspec.structs.replace(record, event=event)


def _is_the_database(error: Exception) -> bool:
    """Whether the database is to blame rather than the record: full, locked, gone."""
    if isinstance(error, CatalogError | OperationalError | InterfaceError | OSError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
