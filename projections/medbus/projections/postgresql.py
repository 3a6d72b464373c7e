"""Catalogs in PostgreSQL: a schema for each generation; the one with the catalog's name is the current one.

A new generation is built in a schema beside it and renamed in one transaction. PostgreSQL then plans every
prepared statement of every session anew, so readers find the new tables under the old names.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from medbus.projections.errors import CatalogError, CatalogInUse, CatalogMissing
from medbus.projections.storage import Building, Storage, Work

log = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 8
_UNDEFINED_TABLE = "42P01"
_LOCK_NOT_AVAILABLE = "55P03"


class PostgresqlStorage(Storage):
    """Catalogs in PostgreSQL.

    Args:
        url: of the database, with the asyncpg driver.
        schema: the name of the catalog, a schema of that database.
        writer: whether to write.
    """

    def __init__(self, url: URL, *, schema: str, writer: bool) -> None:
        self._url = url
        self._schema = schema
        self._writes = writer
        self._engine = _engine(url, schema, pool_size=READERS)
        self._held = AsyncExitStack()

    async def open(self) -> None:
        if self._writes:
            trouble = f"The catalog {self._schema} has a writer already."
            await self._held.enter_async_context(_locked(self._url, f"{self._schema} writer", trouble))

    async def close(self) -> None:
        try:
            await self._held.aclose()
        finally:
            await self._engine.dispose()

    async def read(self, work: Work[T]) -> T:
        async def attempt() -> T:
            async with self._engine.connect() as connection:
                return await connection.run_sync(work)

        return await self._on_current(attempt)

    async def write(self, work: Work[T]) -> T:
        if not self._writes:
            raise CatalogError("The database was opened to be read.", "Open it with writer=True.")

        async def attempt() -> T:
            async with self._engine.begin() as connection:
                # Either writes the current generation, or switches to another.
                await connection.execute(_ADVISORY_XACT_LOCK, {"name": f"{self._schema} turn"})
                return await connection.run_sync(work)

        return await self._on_current(attempt)

    @asynccontextmanager
    async def build(self) -> AsyncIterator[Building]:
        trouble = f"The catalog {self._schema} is being rebuilt already."
        async with _locked(self._url, f"{self._schema} rebuild", trouble):
            building = PostgresqlBuilding(self._url, self._schema)
            await building.drop()
            async with self._engine.begin() as connection:
                await connection.execute(text(f"CREATE SCHEMA {_quoted(building.name)}"))
            try:
                yield building
            finally:
                await building.close()

    async def maintain(self, grace: float) -> None:
        """Removes generations that were replaced."""
        if not self._writes:
            return
        async with self._engine.connect() as connection:
            names = await connection.scalars(text("SELECT nspname FROM pg_namespace"))
            prefix = _retired(self._schema, "")
            due = time.time() - grace
            old = [n for n in names if n.startswith(prefix) and int(n.removeprefix(prefix)) / 1000 <= due]
        for name in old:
            try:
                async with self._engine.begin() as connection:
                    # A reader may still be in it; it is left for the next time then.
                    await connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
                    await connection.execute(text(f"DROP SCHEMA {_quoted(name)} CASCADE"))
            except DBAPIError as error:
                if _state(error) != _LOCK_NOT_AVAILABLE:
                    raise
                log.debug("%s is still being read", name)

    async def _on_current(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await attempt()
        except ProgrammingError as error:
            if _state(error) != _UNDEFINED_TABLE:
                raise
            async with self._engine.connect() as connection:
                found = await connection.scalar(_SCHEMA_EXISTS, {"name": self._schema})
            if not found:
                raise CatalogMissing(
                    f"There is no catalog in the schema {self._schema} yet.",
                    "The projector builds it: does it run?",
                ) from error
        # It has come into being since.
        return await attempt()


class PostgresqlBuilding(Building):
    """A schema while it is being filled."""

    def __init__(self, url: URL, schema: str) -> None:
        self._url = url
        self._schema = schema
        self.name = f"{schema}_building"
        self._engine = _engine(url, self.name, pool_size=1)

    async def write(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        engine = _engine(self._url, self._schema, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                await connection.execute(_ADVISORY_XACT_LOCK, {"name": f"{self._schema} turn"})
                yield
        finally:
            await engine.dispose()

    async def finish(self) -> None:
        """Every transaction was durable already."""

    async def switch(self) -> None:
        async with self._engine.begin() as connection:
            if await connection.scalar(_SCHEMA_EXISTS, {"name": self._schema}):
                old = _retired(self._schema, f"{time.time() * 1000:.0f}")
                await connection.execute(
                    text(f"ALTER SCHEMA {_quoted(self._schema)} RENAME TO {_quoted(old)}")
                )
            await connection.execute(
                text(f"ALTER SCHEMA {_quoted(self.name)} RENAME TO {_quoted(self._schema)}")
            )

    async def drop(self) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(f"DROP SCHEMA IF EXISTS {_quoted(self.name)} CASCADE"))

    async def close(self) -> None:
        try:
            await self.drop()
        finally:
            await self._engine.dispose()


_ADVISORY_XACT_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_TRY_ADVISORY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_SCHEMA_EXISTS = text("SELECT true FROM pg_namespace WHERE nspname = :name")


def _engine(url: URL, schema: str, **options: object) -> AsyncEngine:
    # Compiling a query to machine code takes longer than any of these queries.
    settings = {"search_path": _quoted(schema), "jit": "off"}
    return create_async_engine(url, connect_args={"server_settings": settings}, **options)


@asynccontextmanager
async def _locked(url: URL, name: str, trouble: str) -> AsyncIterator[AsyncConnection]:
    """A lock that ends with this process's connection, however it ends."""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            if not await connection.scalar(_TRY_ADVISORY_LOCK, {"name": f"medbus {name}"}):
                raise CatalogInUse(trouble, "There can be only one: stop it first.")
            yield connection
    finally:
        await engine.dispose()


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _retired(schema: str, moment: str) -> str:
    return f"{schema}_retired_{moment}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
