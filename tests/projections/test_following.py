"""The projector on a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import Connection
from tests.projections.examples import contracted, erased, image
from tests.projections.test_projector import Seen, seen_uids
from tests.projections.test_rebuild import everything

from medbus.bus import Bus, Partition, Position, Record
from medbus.projections.conditions import ConditionReader
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.images import ImageReader
from medbus.projections.projection import Projection
from medbus.projections.projector import PACE_SECONDS, PROJECTIONS, Projector
from medbus.projections.rebuild import rebuild
from medbus.schemas.events import DeadLettered
from medbus.schemas.topics import DEAD_LETTERS, IMAGES


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite"


@asynccontextmanager
async def following(bus: Bus, url: str, *more: Projection) -> AsyncIterator[Database]:
    """A projector that follows the log, with more projections if need be; yields a database to read."""
    stop = asyncio.Event()
    async with Database(url, writer=True) as writer, Database(url) as reader:
        running = asyncio.create_task(Projector(bus, writer, [*PROJECTIONS, *more]).run(stop))
        try:
            yield reader
        finally:
            stop.set()
            await asyncio.wait_for(running, 30)


async def test_what_is_published_is_in_every_catalog(bus: Bus, url: str) -> None:
    await bus.publish_all([image(f"1.{n}", study=f"1.{n % 5}") for n in range(60)])
    async with following(bus, url) as reader:
        await bus.publish(contracted("A-hospital"))
        position = await bus.publish(image("last"))
        assert await reader.reached(position, 30)
        assert (await ImageReader(reader).usage("A-hospital")).images == 61
        assert len(await ConditionReader(reader).find(study_instance_uid="1.1")) == 13
        contract = await DirectoryReader(reader).contract("A-hospital")
        assert contract is not None
        assert await reader.positions() == await bus.end_offsets(*(t for p in PROJECTIONS for t in p.topics))


async def test_it_goes_on_where_it_was(bus: Bus, url: str) -> None:
    for number in range(3):
        async with following(bus, url) as reader:
            position = await bus.publish(image(str(number)))
            assert await reader.reached(position, 30)
            assert (await ImageReader(reader).usage("A-hospital")).images == number + 1


async def test_an_image_is_visible_soon_after_it_was_published(bus: Bus, url: str) -> None:
    """The benchmark says how soon; here is only looked for what would be wrong by an order of magnitude."""
    seconds = []
    async with following(bus, url) as reader:
        images = ImageReader(reader)
        assert await reader.reached(await bus.publish(image("first")), 30)
        for number in range(30):
            position = await bus.publish(image(str(number)))
            begun = time.monotonic()
            assert await reader.reached(position, 10)
            seconds.append(time.monotonic() - begun)
            assert await images.image(str(number)) is not None
    assert sorted(seconds)[len(seconds) // 2] < 0.25


class Counting(Seen):
    """Counts how often it is given records: once in a transaction."""

    transactions = 0

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        self.transactions += 1
        super().apply(connection, records)


async def test_what_keeps_coming_is_taken_up_together(bus: Bus, url: str) -> None:
    """A transaction for each image would take a whole core at a few hundred images a second."""
    events = [image(f"1.{n}", study=f"1.{n % 5}") for n in range(300)]
    counting = Counting()
    async with following(bus, url, counting) as reader:
        assert await reader.reached(await bus.publish(image("first")), 30)
        counting.transactions = 0
        begun = time.monotonic()
        for event in events:
            position = await bus.publish(event)
        assert await reader.reached(position, 30)
        seconds = time.monotonic() - begun
        assert await reader.read(seen_uids) >= {event.instance.sop_instance_uid for event in events[-9:]}
    assert 1 < counting.transactions <= seconds / PACE_SECONDS + 2


async def test_it_stops_in_a_pause_at_once_and_goes_on_where_it_was(bus: Bus, url: str) -> None:
    stop = asyncio.Event()
    async with Database(url, writer=True) as writer, Database(url) as reader:
        running = asyncio.create_task(Projector(bus, writer, pace=60).run(stop))
        assert await reader.reached(await bus.publish(image("first")), 30)
        await bus.publish(image("second"))
        stop.set()
        await asyncio.wait_for(running, 3)
    async with following(bus, url) as reader:
        assert await reader.reached(await bus.publish(image("third")), 30)
        assert (await ImageReader(reader).usage("A-hospital")).images == 3


async def test_garbage_in_a_topic_becomes_a_dead_letter_on_the_log(bus: Bus, url: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap)
    await producer.start()
    try:
        sent = await producer.send_and_wait(IMAGES.full_name(bus.prefix), b"garbage", key=b"k", partition=3)
    finally:
        await producer.stop()
    async with following(bus, url) as reader:
        assert await reader.reached(await bus.publish(image("1")), 30)
        assert await reader.reached(Position(Partition(IMAGES.name, 3), sent.offset), 30)
    (letter,) = [record.event async for batch in bus.replay(DEAD_LETTERS) for record in batch]
    assert isinstance(letter, DeadLettered)
    assert (letter.topic, letter.partition, letter.offset, letter.value) == (
        "images",
        3,
        sent.offset,
        b"garbage",
    )


async def test_a_rebuild_from_the_real_log_leads_to_the_same_rows_while_the_projector_follows(
    bus: Bus, url: str
) -> None:
    events = [image(f"1.{n}", study=f"1.{n % 9}") for n in range(300)]
    async with following(bus, url) as reader:
        await bus.publish_all([*events, *map(erased, events[::7]), contracted("A")])
        position = await bus.publish(image("last"))
        for partition, end in (await bus.end_offsets(IMAGES)).items():
            assert end == 0 or await reader.reached(Position(partition, end - 1), 30)
        before = await reader.read(everything)
        done = await rebuild(bus, reader, PROJECTIONS)
        assert done.records == 300 + 43 + 2
        assert await reader.read(everything) == before
        assert await reader.reached(await bus.publish(image("after")), 30)
        assert await reader.reached(position, 0)
        assert await ImageReader(reader).image("after") is not None
