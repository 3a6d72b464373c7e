"""Opening, waiting and locking on every database."""

import asyncio

import pytest
from tests.projections.conftest import OpenDatabase
from tests.projections.examples import image
from tests.projections.memory_log import MemoryLog

from medbus.bus import Partition, Position
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError, CatalogInUse, CatalogMissing
from medbus.projections.images import ImageReader
from medbus.projections.projector import Projector

NOWHERE = Position(Partition("images", 0), 0)


async def test_before_there_is_a_catalog_nothing_was_reached_and_reading_says_so(reader: Database) -> None:
    assert await reader.positions() == {}
    assert not await reader.reached(NOWHERE, 0)
    with pytest.raises(CatalogMissing, match="no catalog"):
        await ImageReader(reader).image("1")


async def test_there_is_one_writer_and_after_it_another(database: OpenDatabase) -> None:
    async with database(writer=True):
        with pytest.raises(CatalogInUse, match="has a writer already"):
            async with database(writer=True):
                pass
    async with database(writer=True):
        pass


async def test_what_was_opened_to_be_read_is_not_written(reader: Database) -> None:
    with pytest.raises(CatalogError, match="opened to be read"):
        await reader.write(lambda _: None)


async def test_positions_are_the_next_offsets(log: MemoryLog, projector: Projector, reader: Database) -> None:
    position = log.append(image("1"))
    await projector.catch_up()
    found = await reader.positions()
    assert found[position.partition] == 1
    assert sum(found.values()) == 1
    assert len(found) == 27, "nine topics have three partitions each"


async def test_a_writer_of_the_log_can_wait_until_it_reads_its_write(
    log: MemoryLog, projector: Projector, reader: Database
) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(projector.run(stop))
    assert not await reader.reached(NOWHERE, 0.05)
    position = log.append(image("1"))
    assert await reader.reached(position, 10)
    assert await ImageReader(reader).image("1") is not None
    assert not await reader.reached(Position(position.partition, 1), 0)
    stop.set()
    await asyncio.wait_for(running, 10)


@pytest.mark.parametrize(
    "url",
    ["nonsense", "sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "mysql://root:secret@localhost/x"],
)
def test_a_url_that_can_hold_no_catalogs_is_refused(url: str) -> None:
    with pytest.raises(CatalogError) as caught:
        Database(url)
    assert "sqlite+aiosqlite:///FOLDER" in caught.value.advice
    assert "secret" not in str(caught.value)
