"""The catalogs' database, whichever it is: what readers and the projector hold in their hands."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Select, make_url
from sqlalchemy.exc import ArgumentError

from medbus.bus import Partition, Position
from medbus.projections import positions
from medbus.projections.errors import CatalogError, CatalogMissing
from medbus.projections.postgresql import PostgresqlStorage
from medbus.projections.sqlite import SqliteStorage
from medbus.projections.storage import Building, Storage, Work

T = TypeVar("T")

SCHEMA = "medbus"
FIRST_WAIT = 0.002
LONGEST_WAIT = 0.05


class Database(AbstractAsyncContextManager["Database"]):
    """A database with the catalogs; use as `async with Database(url) as database`.

    Args:
        url: `sqlite+aiosqlite:///FOLDER/catalog.sqlite` or `postgresql+asyncpg://USER@HOST/NAME`.
        writer: whether to write; there is only one writer at a time.
        schema: in PostgreSQL, the schema that holds the catalogs.

    Raises:
        CatalogError: the URL names no database that can hold catalogs.
        CatalogInUse: on entering, if it is to be written and another process does already.
    """

    def __init__(self, url: str, *, writer: bool = False, schema: str = SCHEMA) -> None:
        self.url = url
        self._storage = _storage(url, writer=writer, schema=schema)

    async def __aenter__(self) -> Self:
        try:
            await self._storage.open()
        except BaseException:
            await self._storage.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._storage.close()

    async def read(self, work: Work[T]) -> T:
        """Do synchronous work in a read-only transaction; keep it short.

        Raises:
            CatalogMissing: there is no catalog yet.
        """
        return await self._storage.read(work)

    async def look(self, statement: Select[Any], parameters: Mapping[str, str]) -> tuple[Any, ...] | None:
        """The first row of a statement that finds few by a key; cheaper than `read` where much is asked.

        Args:
            statement: with bound parameters that have names; keep it, it is compiled once.
            parameters: their values.

        Raises:
            CatalogMissing: there is no catalog yet.
        """
        return await self._storage.look(statement, parameters)

    async def write(self, work: Work[T]) -> T:
        """Do synchronous work in a transaction; all of it is kept, or nothing.

        Raises:
            CatalogMissing: there is no catalog yet.
        """
        return await self._storage.write(work)

    def build(self) -> AbstractAsyncContextManager[Building]:
        """Begin a new generation beside the current one.

        Raises:
            CatalogInUse: on entering, if another process builds one.
        """
        return self._storage.build()

    async def maintain(self, grace: float) -> None:
        """To be called now and then by the writer.

        Args:
            grace: seconds for which a generation is kept after it was replaced.
        """
        await self._storage.maintain(grace)

    async def positions(self) -> dict[Partition, int]:
        """The offset of the next record to take up, by partition; empty if there is no catalog.

        Where projections differ it is that of the one that is furthest behind.
        """
        try:
            return await self.read(positions.lowest)
        except CatalogMissing:
            return {}

    async def reached(self, position: Position, timeout: float) -> bool:  # noqa: ASYNC109 - 0 looks once
        """Whether the catalogs show what a record says; waits for it.

        Args:
            position: the record's place in the log.
            timeout: how long to wait, in seconds; with 0 it looks once.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        wait = FIRST_WAIT

        def next_offset(connection: Connection) -> int:
            return positions.next_offset(connection, position.partition)

        while True:
            try:
                if await self.read(next_offset) > position.offset:
                    return True
            except CatalogMissing:
                pass
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return False
            await asyncio.sleep(min(wait, remaining))
            wait = min(wait * 1.5, LONGEST_WAIT)


def _storage(url: str, *, writer: bool, schema: str) -> Storage:
    advice = "Give sqlite+aiosqlite:///FOLDER/catalog.sqlite or postgresql+asyncpg://USER@HOST/NAME."
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise CatalogError(f"{url!r} is no database URL.", advice) from error
    match parsed.get_backend_name():
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return SqliteStorage(Path(parsed.database).absolute(), writer=writer)
        case "postgresql":
            return PostgresqlStorage(
                parsed.set(drivername="postgresql+asyncpg"), schema=schema, writer=writer
            )
        case _:
            raise CatalogError(f"{parsed.render_as_string()} can't hold catalogs.", advice)
