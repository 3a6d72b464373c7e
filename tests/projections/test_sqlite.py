"""What SQLite needs so that a catalog survives: one writer, one checkpointer, short snapshots."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError
from tests.projections.conftest import OpenDatabase
from tests.projections.examples import image
from tests.projections.memory_log import MemoryLog

from medbus.projections import projection, sqlite
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError
from medbus.projections.images import ImageReader, tables
from medbus.projections.projector import PROJECTIONS, Projector


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "catalogs" / "catalog.sqlite"


def setting(name: str) -> Callable[[Connection], Any]:
    return lambda connection: connection.scalar(text(f"PRAGMA {name}"))


@pytest.mark.parametrize(
    ("version", "corrupts"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_versions_with_the_bug_of_the_reset_log_are_known(version: tuple[int, ...], corrupts: bool) -> None:
    assert sqlite.corrupts(version) is corrupts


async def test_the_settings(projector: Projector, writer: Database, reader: Database) -> None:
    await projector.catch_up()
    assert await writer.write(setting("journal_mode")) == "wal"
    assert await writer.write(setting("synchronous")) == 1
    assert await writer.write(setting("wal_autocheckpoint")) == 0
    assert await writer.write(setting("journal_size_limit")) == 16 * 1024 * 1024
    assert await writer.write(setting("busy_timeout")) == 5000
    assert await reader.read(setting("query_only")) == 1


async def test_a_reader_neither_writes_nor_checkpoints(
    log: MemoryLog, projector: Projector, reader: Database, link: Path
) -> None:
    await projector.catch_up()
    log.append(image("1"))
    await projector.catch_up()
    write_ahead = link.with_name(f"{link.readlink()}-wal")
    size = write_ahead.stat().st_size
    assert size > 0

    def checkpoint(connection: Connection) -> None:
        connection.execute(text("PRAGMA query_only=OFF"))
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def delete(connection: Connection) -> None:
        connection.execute(text("PRAGMA query_only=OFF"))
        connection.execute(tables.images.delete())

    with pytest.raises(OperationalError):
        await reader.read(checkpoint)
    assert write_ahead.stat().st_size == size
    with pytest.raises(OperationalError, match="readonly"):
        await reader.read(delete)


async def test_a_write_holds_the_file_from_its_first_statement(
    projector: Projector, writer: Database, link: Path
) -> None:
    await projector.catch_up()

    def work(connection: Connection) -> None:
        connection.scalar(select(func.count()).select_from(tables.images))
        with (
            sqlite3.connect(link, timeout=0, isolation_level=None) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")

    await writer.write(work)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """A write-ahead log that is checkpointed early."""
    monkeypatch.setattr(sqlite, "WAL_BYTES", 200_000)
    # Much more than that is written in the second that is waited else.
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAUSE", 0.0)
    return 200_000


async def test_the_write_ahead_log_does_not_grow_though_there_are_always_readers(
    log: MemoryLog, writer: Database, reader: Database, link: Path, small_limit: int
) -> None:
    projector = Projector(log, writer)
    await projector.catch_up()
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            await ImageReader(reader).catalog(limit=10)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    longest = 0
    write_ahead = link.with_name(f"{link.readlink()}-wal")
    number = 0
    # Until there is much more in the file than the log may hold: only then it tells anything.
    while link.stat().st_size < 5 * small_limit:
        assert number < 400, f"only {link.stat().st_size} bytes after {number * 40} images"
        log.extend(image(f"{number}.{n}") for n in range(40))
        await projector.catch_up()
        longest = max(longest, write_ahead.stat().st_size)
        number += 1
    stop.set()
    await asyncio.gather(*readers)
    assert longest < 3 * small_limit
    await writer.maintain(60)
    assert write_ahead.stat().st_size == 0


async def test_what_is_no_link_is_not_touched(link: Path, database: OpenDatabase) -> None:
    link.parent.mkdir()
    link.write_text("precious")
    with pytest.raises(CatalogError, match="is a file"):
        async with database(writer=True):
            pass
    assert link.read_text() == "precious"


async def test_closing_leaves_no_thread(log: MemoryLog, database: OpenDatabase) -> None:
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
        await opened.positions()
        assert any(t.name.startswith("catalog") for t in threading.enumerate())
    assert not any(t.name.startswith("catalog") for t in threading.enumerate())


def test_a_process_that_forgets_to_close_ends_all_the_same(link: Path) -> None:
    program = f"""
import asyncio
from medbus.projections.database import Database

async def main():
    database = await Database("sqlite+aiosqlite:///{link}", writer=True).__aenter__()
    print(await database.positions(), flush=True)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "{}"), done.stderr


async def test_a_reader_notices_that_all_files_were_deleted_and_made_anew(
    log: MemoryLog, database: OpenDatabase, reader: Database, link: Path
) -> None:
    log.append(image("1"))
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
    assert await ImageReader(reader).image("1") is not None
    for file in link.parent.iterdir():
        file.unlink()
    log.append(image("2"))
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
        assert await ImageReader(reader).image("2") is not None


async def test_a_transaction_that_fails_leaves_nothing(projector: Projector, writer: Database) -> None:
    await projector.catch_up()

    def work(connection: Connection) -> None:
        projection.apply(connection, PROJECTIONS, MemoryLogOf(image("1")).all())
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await writer.write(work)
    assert await ImageReader(writer).select() == []


async def test_also_while_it_is_built_a_transaction_that_fails_leaves_nothing(writer: Database) -> None:
    def fail(connection: Connection) -> None:
        projection.apply(connection, PROJECTIONS, MemoryLogOf(image("1")).all())
        raise ValueError("on purpose")

    async with writer.build() as building:
        await building.write(partial(projection.found, projections=PROJECTIONS))
        with pytest.raises(ValueError, match="on purpose"):
            await building.write(fail)
        await building.switch()
    assert await ImageReader(writer).select() == []
    assert await writer.write(setting("integrity_check")) == "ok"


class MemoryLogOf(MemoryLog):
    """A log that holds some events."""

    def __init__(self, *events: Any) -> None:
        super().__init__()
        self.extend(events)
