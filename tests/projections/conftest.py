"""Catalog databases for tests: every contract test runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from medbus.projections.database import Database
from medbus.projections.projector import Projector
from tests.projections.memory_log import MemoryLog
from tests.projections.postgres_server import server

OpenDatabase = Callable[..., Database]


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
async def database(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[OpenDatabase]:
    """Makes databases on one and the same set of catalogs, which no other test uses."""
    if backend == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/catalogs/catalog.sqlite"
        yield lambda **options: Database(url, **options)
        return
    url = request.getfixturevalue("postgresql")
    schema = f"test_{uuid4().hex[:12]}"
    yield lambda **options: Database(url, schema=schema, **options)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        names = await connection.scalars(text("SELECT nspname FROM pg_namespace"))
        for name in names:
            if name.startswith(schema):
                await connection.execute(text(f'DROP SCHEMA "{name}" CASCADE'))
    await engine.dispose()


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
