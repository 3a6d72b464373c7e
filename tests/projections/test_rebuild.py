"""Rebuilding on every database: beside the catalog in use, to the same rows, and nobody notices."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, text
from tests.projections.conftest import OpenDatabase, Place
from tests.projections.examples import cancelled, contracted, erased, image, issued
from tests.projections.memory_log import MemoryLog
from tests.projections.tables import Dump, dump

from medbus.bus import Partition
from medbus.projections import projection
from medbus.projections.database import Database
from medbus.projections.errors import CatalogInUse
from medbus.projections.images import ImageProjection, ImageReader
from medbus.projections.projector import PROJECTIONS, Projector
from medbus.projections.rebuild import rebuild
from medbus.schemas.events import Event

ROOT = Path(__file__).parent.parent.parent


def everything(connection: Connection) -> Dump:
    return dump(connection, with_positions=True)


def fill(log: MemoryLog) -> None:
    """Everything that can happen; the same every time for a log of the same length."""

    def numbered(event: Event) -> Event:
        number = sum(len(records) for records in log.records.values())
        return replace(event, meta=replace(event.meta, event_id=UUID(int=number)))

    for event in (
        contracted("A"),
        issued("A", "aa", credential_id=UUID(int=5)),
        contracted("B"),
        cancelled("B"),
    ):
        log.append(numbered(event))
    events = [
        image(f"{n}", study=f"1.{n % 7}", name="DOE^JANE" if n % 11 else "DOE^JANET", patient=f"P{n % 3}")
        for n in range(150)
    ]
    log.extend(events)
    log.extend(events[:10])
    log.extend(image(f"{n}", study=f"1.{n % 7}", contents="other") for n in range(0, 150, 20))
    log.extend(erased(event) for event in events[:30:3])
    log.extend(image(f"{len(log.all())}.{n}", study=f"2.{n % 5}") for n in range(100))


async def test_a_rebuild_leads_to_the_same_rows(
    log: MemoryLog, projector: Projector, writer: Database, reader: Database
) -> None:
    fill(log)
    await projector.catch_up()
    fill(log)
    await projector.catch_up()
    before = await reader.read(everything)
    done = await rebuild(log, writer, PROJECTIONS)
    assert await reader.read(everything) == before
    assert done.records == len(log.all())
    assert len(before["images"]) > 100


async def test_readers_and_the_projector_go_on_with_the_new_catalog_without_a_restart(
    log: MemoryLog, projector: Projector, database: OpenDatabase, reader: Database
) -> None:
    await projector.catch_up()
    stop = asyncio.Event()
    running = asyncio.create_task(projector.run(stop))
    assert await reader.reached(log.append(image("1")), 10)
    async with database() as another:
        await rebuild(log, another, PROJECTIONS)
    assert await reader.reached(log.append(image("2")), 10)
    assert len(await ImageReader(reader).select()) == 2
    stop.set()
    await asyncio.wait_for(running, 10)


async def test_a_rebuild_discards_what_is_wrong_in_the_catalog(
    log: MemoryLog, projector: Projector, writer: Database, reader: Database
) -> None:
    log.append(image("1"))
    await projector.catch_up()
    await writer.write(lambda connection: connection.execute(text("DELETE FROM images")))
    assert await ImageReader(reader).image("1") is None
    await rebuild(log, writer, PROJECTIONS)
    assert await ImageReader(reader).image("1") is not None


async def test_readers_never_see_less_than_before(
    log: MemoryLog, projector: Projector, database: OpenDatabase, reader: Database
) -> None:
    """The log grows, the projector follows, and the catalog is rebuilt again and again meanwhile."""
    await projector.catch_up()
    stop = asyncio.Event()
    running = asyncio.create_task(projector.run(stop))
    images = ImageReader(reader)
    position = log.append(image("0"))
    assert await reader.reached(position, 10)

    async def grow() -> None:
        for number in range(1, 200):
            log.append(image(str(number), study=f"1.{number % 5}"))
            await asyncio.sleep(0.005)

    async def look() -> list[int]:
        counts = []
        while not growing.done() or not rebuilding.done():
            before = await reader.positions()
            counts.append((await images.usage("A-hospital")).images)
            after = await reader.positions()
            assert all(after[partition] >= offset for partition, offset in before.items())
        return counts

    async def rebuild_often() -> int:
        times = 0
        while not growing.done():
            async with database() as another:
                await rebuild(log, another, PROJECTIONS)
            times += 1
        return times

    growing = asyncio.create_task(grow())
    rebuilding = asyncio.create_task(rebuild_often())
    counts = await asyncio.wait_for(look(), 60)
    assert counts == sorted(counts)
    assert await rebuilding >= 2
    assert await reader.reached(log.append(image("last")), 10)
    assert (await images.usage("A-hospital")).images == 201
    stop.set()
    await asyncio.wait_for(running, 10)


async def test_the_switch_waits_until_the_new_catalog_is_as_far_as_the_old_one(
    log: MemoryLog, projector: Projector, database: OpenDatabase, reader: Database
) -> None:
    log.extend(image(str(n)) for n in range(120))
    await projector.catch_up()
    pending: list[asyncio.Task[None]] = []

    def progress(_: int) -> None:
        # While the rebuild reads what was there when it began, the catalog in use goes on.
        if not pending:
            log.extend(image(str(n)) for n in range(120, 1500))
            pending.append(asyncio.create_task(projector.catch_up()))

    async with database() as another:
        await rebuild(log, another, PROJECTIONS, progress=progress)
    await asyncio.gather(*pending)
    assert (await ImageReader(reader).usage("A-hospital")).images == 1500


async def test_one_rebuild_at_a_time(database: OpenDatabase, writer: Database, log: MemoryLog) -> None:
    async with writer.build(), database() as another:
        with pytest.raises(CatalogInUse, match="rebuilt already"):
            await rebuild(log, another, PROJECTIONS)
    await rebuild(log, writer, PROJECTIONS)


async def test_a_build_that_is_given_up_leaves_the_catalog_as_it_was(
    log: MemoryLog, projector: Projector, writer: Database, reader: Database
) -> None:
    log.append(image("1"))
    await projector.catch_up()

    async def give_up() -> None:
        async with writer.build() as building:
            await building.write(partial(projection.found, projections=PROJECTIONS))
            raise RuntimeError("given up")

    with pytest.raises(RuntimeError, match="given up"):
        await give_up()
    assert await ImageReader(reader).image("1") is not None
    await rebuild(log, writer, PROJECTIONS)
    assert await ImageReader(reader).image("1") is not None


async def test_what_a_rebuild_that_was_killed_left_behind_is_cleared_away(
    log: MemoryLog, projector: Projector, writer: Database, reader: Database, place: Place
) -> None:
    log.append(image("1"))
    await projector.catch_up()
    await place.litter()
    await rebuild(log, writer, PROJECTIONS)
    assert await ImageReader(reader).image("1") is not None
    await writer.maintain(0)
    assert await place.generations() == 1


async def test_where_there_is_no_catalog_the_projector_builds_one(
    log: MemoryLog, database: OpenDatabase, reader: Database, place: Place
) -> None:
    fill(log)
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
    before = await reader.read(everything)
    await place.delete()
    assert await reader.positions() == {}
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
    assert await reader.read(everything) == before


async def test_other_tables_than_this_programs_lead_to_a_rebuild(
    log: MemoryLog, database: OpenDatabase, reader: Database
) -> None:
    log.append(image("1"))
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
        await opened.write(
            lambda c: c.execute(text("UPDATE definitions SET definition = 'of another version'"))
        )
        await opened.write(lambda c: c.execute(text("DELETE FROM images")))
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
    assert await ImageReader(reader).image("1") is not None


async def test_a_catalog_that_is_no_longer_kept_leads_to_a_rebuild_without_it(
    log: MemoryLog, writer: Database, reader: Database
) -> None:
    log.append(image("1"))
    await Projector(log, writer).catch_up()
    await Projector(log, writer, [ImageProjection()]).catch_up()
    assert set(
        await reader.read(lambda c: {row[0] for row in c.execute(text("SELECT projection FROM definitions"))})
    ) == {"images"}


async def test_what_was_replaced_is_removed_after_the_grace(
    projector: Projector, log: MemoryLog, writer: Database, place: Place
) -> None:
    await projector.catch_up()
    await rebuild(log, writer, PROJECTIONS)
    assert await place.generations() == 2
    await writer.maintain(60)
    assert await place.generations() == 2
    await writer.maintain(0)
    assert await place.generations() == 1
    assert await ImageReader(writer).select() == []


WRITER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from medbus.projections.database import Database
from medbus.projections.projector import Projector
from tests.projections.memory_log import MemoryLog
from tests.projections.test_rebuild import fill, fill_to

async def main():
    log = MemoryLog(batch=5)
    async with Database({url!r}, schema={schema!r}, writer=True) as database:
        fill_to(log, await database.positions())
        projector = Projector(log, database)
        await projector.catch_up()
        while True:
            fill(log)
            print("filled", flush=True)
            await projector.catch_up()

asyncio.run(main())
"""


def fill_to(log: MemoryLog, positions: dict[Partition, int]) -> None:
    """Fill the log until it holds what catalogs have taken up."""
    while not log.records or any(len(log.records.get(p, ())) < offset for p, offset in positions.items()):
        fill(log)


async def test_a_writer_that_is_killed_in_the_middle_leaves_nothing_half_done(
    database: OpenDatabase, place: Place
) -> None:
    """Killed at several moments; another takes over each time. The rows are those of an undisturbed run."""
    program = WRITER.format(root=str(ROOT), url=place.url, schema=place.schema)
    for delay in (0.0, 0.03, 0.1):
        await until_free(database)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
        assert process.stdout is not None
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 60) == b"filled\n"
            await asyncio.sleep(delay)
        finally:
            process.kill()
            await process.communicate()
    await until_free(database)
    log = MemoryLog(batch=5)
    async with database(writer=True) as survivor:
        fill_to(log, await survivor.positions())
        await Projector(log, survivor).catch_up()
        after_kills = await survivor.read(everything)
        await rebuild(log, survivor, PROJECTIONS)
        assert await survivor.read(everything) == after_kills
        assert len(after_kills["images"]) > 200


async def until_free(database: OpenDatabase) -> None:
    """Wait for the database to notice that a writer was killed."""
    deadline = time.monotonic() + 20
    while True:
        try:
            async with database(writer=True):
                return
        except CatalogInUse:
            assert time.monotonic() < deadline, "the lock of a killed writer stays"
            await asyncio.sleep(0.05)
