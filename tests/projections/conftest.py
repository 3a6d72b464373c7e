"""Catalog databases for tests: every contract test runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests.projections.memory_log import MemoryLog
from tests.projections.postgres_server import server

from medbus.projections.database import Database
from medbus.projections.projector import Projector

OpenDatabase = Callable[..., Database]


@dataclass(frozen=True)
class Place:
    """Where the catalogs of a test are; no other test uses it.

    Attributes:
        backend: the kind of database.
        url: of the database.
        schema: of the catalogs, in PostgreSQL.
        folder: of the catalogs, in SQLite.
    """

    backend: str
    url: str
    schema: str
    folder: Path

    async def generations(self) -> int:
        """How many generations there are, with those that were replaced."""
        if self.backend == "sqlite":
            return len(list(self.folder.glob("catalog-*.sqlite")))
        return len(await self._schemas())

    async def litter(self) -> None:
        """Leave what a process leaves that is killed while it builds a generation."""
        if self.backend == "sqlite":
            for number in (2, 3):
                (self.folder / f"catalog-{number}.sqlite").write_bytes(b"half a page")
                (self.folder / f"catalog-{number}.sqlite-journal").touch()
        else:
            await self._run(f'CREATE SCHEMA "{self.schema}_building" CREATE TABLE images (x integer)')

    async def delete(self) -> None:
        """Delete everything."""
        if self.backend == "sqlite":
            for file in self.folder.iterdir():
                file.unlink()
            return
        for name in await self._schemas():
            await self._run(f'DROP SCHEMA "{name}" CASCADE')

    async def _schemas(self) -> list[str]:
        names = await self._run("SELECT nspname FROM pg_namespace")
        return [name for name in names if name.startswith(self.schema)]

    async def _run(self, statement: str) -> list[str]:
        engine = create_async_engine(self.url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                result = await connection.execute(text(statement))
                return [row[0] for row in result] if result.returns_rows else []
        finally:
            await engine.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a real PostgreSQL server."""
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture
async def place(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A place for catalogs."""
    folder = tmp_path / "catalogs"
    if backend == "sqlite":
        yield Place(backend, f"sqlite+aiosqlite:///{folder}/catalog.sqlite", "medbus", folder)
        return
    place = Place(backend, request.getfixturevalue("postgresql"), f"test_{uuid4().hex[:12]}", folder)
    yield place
    await place.delete()


@pytest.fixture
def database(place: Place) -> OpenDatabase:
    """Makes databases, all on the same catalogs."""

    def make(*, writer: bool = False) -> Database:
        return Database(place.url, schema=place.schema, writer=writer)

    return make


@pytest.fixture
async def writer(database: OpenDatabase) -> AsyncIterator[Database]:
    """The one database that is written."""
    async with database(writer=True) as opened:
        yield opened


@pytest.fixture
async def reader(database: OpenDatabase) -> AsyncIterator[Database]:
    """A database that is read."""
    async with database() as opened:
        yield opened


@pytest.fixture
def log() -> MemoryLog:
    """A log in memory."""
    return MemoryLog()


@pytest.fixture
def projector(log: MemoryLog, writer: Database) -> Projector:
    """Takes the log into the database."""
    return Projector(log, writer)
