"""The projector on every database: nothing is lost or taken twice, and only its database stops it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Column, Connection, MetaData, Table, Text, select
from sqlalchemy.exc import OperationalError
from tests.projections.conftest import OpenDatabase
from tests.projections.examples import contracted, image
from tests.projections.memory_log import MemoryLog

from medbus.bus import Partition, Position, Record, Undecodable
from medbus.projections import positions, rows
from medbus.projections.database import Database
from medbus.projections.errors import CatalogMissing
from medbus.projections.images import ImageReader
from medbus.projections.projection import Projection
from medbus.projections.projector import PACE_SECONDS, PROJECTIONS, Projector
from medbus.schemas.errors import BusError, OffsetOutOfRange
from medbus.schemas.events import DeadLettered, Event, ImageRegistered
from medbus.schemas.topics import IMAGES

metadata = MetaData()
seen = Table("seen", metadata, Column("uid", Text, primary_key=True))


class Seen(Projection):
    """Notes every image; can be made to fail."""

    name = "seen"
    topics = (IMAGES,)
    metadata = metadata

    def __init__(self, poison: Sequence[str] = (), error: Exception | None = None) -> None:
        self.poison = poison
        self.error = error or ValueError("I can't take this")

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        for record in records:
            assert isinstance(record.event, ImageRegistered)
            uid = record.event.instance.sop_instance_uid
            rows.add(connection, seen, [(uid,)])
            if uid in self.poison:
                raise self.error


def seen_uids(connection: Connection) -> set[str]:
    return set(connection.scalars(select(seen.c.uid)))


async def test_what_comes_bit_by_bit_is_taken_up_once(
    log: MemoryLog, projector: Projector, reader: Database
) -> None:
    images = ImageReader(reader)
    for number in range(3):
        log.extend(image(f"{number}.{n}") for n in range(120))
        await projector.catch_up()
        assert (await images.usage("A-hospital")).images == 120 * (number + 1)
    assert await reader.positions() == await log.end_offsets(*(t for p in PROJECTIONS for t in p.topics))


async def test_the_position_of_every_projection_is_kept_with_its_rows(
    log: MemoryLog, projector: Projector, reader: Database
) -> None:
    at = log.append(image("1")).partition
    log.append(contracted("A"))
    await projector.catch_up()
    found = await reader.read(positions.load)
    assert {name for name, offsets in found.items() if offsets.get(at) == 1} == {"images", "conditions"}
    assert sum(found["directory"].values()) == 1


async def test_a_record_that_does_not_decode_becomes_a_dead_letter_and_reading_goes_on(
    log: MemoryLog, projector: Projector, reader: Database
) -> None:
    garbage = Undecodable(error="no framing", key=b"k", value=b"\xff", headers=(("h", b"v"), ("n", None)))
    partition = log.append(image("1")).partition
    position = log.put(partition, garbage)
    log.put(partition, image("2"))
    await projector.catch_up()
    assert {i.sop_instance_uid for i in await ImageReader(reader).select()} == {"1", "2"}
    (letter,) = log.dead_letters
    assert (letter.topic, letter.partition, letter.offset) == (*position.partition, position.offset)
    assert (letter.key, letter.value, letter.error) == (b"k", b"\xff", "no framing")
    assert [(h.key, h.value) for h in letter.headers] == [("h", b"v"), ("n", None)]
    assert letter.processor == "projector"


async def test_the_dead_letter_of_a_record_is_always_the_same_event(
    log: MemoryLog, database: OpenDatabase
) -> None:
    log.put(Partition("images", 0), Undecodable(error="no framing", key=None, value=b"\xff"))
    for _ in range(2):
        async with database(writer=True) as opened:
            number = len(PROJECTIONS) + len(log.dead_letters)
            await Projector(log, opened, [*PROJECTIONS, Seen()][:number]).catch_up()
    first, second = log.dead_letters
    assert first == second


@pytest.mark.parametrize("count", [1, 2, 75])
async def test_a_poison_record_is_set_aside_and_everything_else_goes_on(
    count: int, log: MemoryLog, writer: Database
) -> None:
    uids = [f"1.{n}" for n in range(count)]
    poison = uids[count // 2]
    log.extend(image(uid) for uid in uids)
    await Projector(log, writer, [*PROJECTIONS, Seen(poison=[poison])]).catch_up()
    assert {i.sop_instance_uid for i in await ImageReader(writer).select()} == set(uids)
    assert await writer.read(seen_uids) == set(uids) - {poison}
    (letter,) = log.dead_letters
    assert letter.error == 'seen: ValueError("I can\'t take this")'
    assert letter.value is None
    assert letter.meta.cause_id == image(poison).meta.event_id
    await Projector(log, writer, [*PROJECTIONS, Seen(poison=[poison])]).catch_up()
    assert len(log.dead_letters) == 1


async def test_while_the_dead_letter_is_not_durable_reading_does_not_go_on(writer: Database) -> None:
    class Unreachable(MemoryLog):
        async def publish(self, event: Event) -> Position:
            raise BusError("no broker")

    log = Unreachable()
    partition = log.put(
        Partition("images", 0), Undecodable(error="no framing", key=None, value=None)
    ).partition
    log.put(partition, image("2"))
    projector = Projector(log, writer)
    with pytest.raises(BusError, match="no broker"):
        await projector.catch_up()
    with pytest.raises(CatalogMissing):
        await ImageReader(writer).select()


async def test_a_letter_that_is_too_long_goes_without_its_contents(log: MemoryLog, writer: Database) -> None:
    log.put(Partition("images", 0), Undecodable(error="too long", key=b"k", value=b"x" * 1_000_000))
    sizes = []
    publish = log.publish

    async def limited(event: Event) -> Position:
        assert isinstance(event, DeadLettered)
        sizes.append(len(event.value or b""))
        if len(event.value or b"") > 900 * 1024:
            from medbus.schemas.errors import InvalidEvent

            raise InvalidEvent("too long")
        return await publish(event)

    log.publish = limited  # type: ignore[method-assign]
    await Projector(log, writer).catch_up()
    assert sizes == [1_000_000, 0]


async def test_a_database_that_fails_is_no_fault_of_the_record(log: MemoryLog, writer: Database) -> None:
    log.append(image("1"))
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    with pytest.raises(OperationalError, match="disk is full"):
        await Projector(log, writer, [*PROJECTIONS, Seen(poison=["1"], error=full)]).catch_up()
    assert log.dead_letters == []


async def test_a_new_projection_begins_at_the_beginning_while_the_others_stay(
    log: MemoryLog, database: OpenDatabase
) -> None:
    log.extend(image(f"1.{n}") for n in range(70))
    async with database(writer=True) as opened:
        await Projector(log, opened).catch_up()
    log.extend(image(f"2.{n}") for n in range(70))
    async with database(writer=True) as opened:
        await Projector(log, opened, [*PROJECTIONS, Seen()]).catch_up()
        assert len(await opened.read(seen_uids)) == 140
        assert (await ImageReader(opened).usage("A-hospital")).images == 140


@pytest.mark.parametrize("what", ["lost its beginning", "lost its end"])
async def test_a_log_that_does_not_hold_what_comes_next_is_an_alarm(
    what: str, log: MemoryLog, projector: Projector, reader: Database
) -> None:
    position = log.append(image("1"))
    log.append(image("2"))
    await projector.catch_up()
    if what == "lost its beginning":
        log.missing[position.partition] = 3
    else:
        del log.records[position.partition][1:]
    before = await reader.positions()
    with pytest.raises(OffsetOutOfRange, match=f"{position.partition}@2") as caught:
        await asyncio.wait_for(projector.run(asyncio.Event()), 10)
    assert "delete the catalogs" in caught.value.advice
    assert await reader.positions() == before


async def test_it_follows_the_log_until_it_is_told_to_stop(
    log: MemoryLog, projector: Projector, reader: Database
) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(projector.run(stop))
    for number in range(5):
        position = log.append(image(str(number)))
        assert await reader.reached(position, 10)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert len(await ImageReader(reader).select()) == 5


async def test_it_follows_the_log_at_its_pace(log: MemoryLog, writer: Database) -> None:
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(Projector(log, writer).run(stop), 10)
    assert log.pace == PACE_SECONDS == 0.025
    await asyncio.wait_for(Projector(log, writer, pace=3).run(stop), 10)
    assert log.pace == 3


async def test_what_goes_wrong_while_it_follows_ends_it(
    log: MemoryLog, writer: Database, reader: Database
) -> None:
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    projector = Projector(log, writer, [*PROJECTIONS, Seen(poison=["2"], error=full)])
    running = asyncio.create_task(projector.run(asyncio.Event()))
    assert await reader.reached(log.append(image("1")), 10)
    log.append(image("2"))
    with pytest.raises(OperationalError, match="disk is full"):
        await asyncio.wait_for(running, 10)


async def test_reading_stays_only_a_little_ahead_of_writing(writer: Database) -> None:
    """However long the log is, only a few batches are in memory."""
    log = MemoryLog(partitions=1, batch=100)
    log.extend(image(f"1.{n}") for n in range(10_000))
    given = 0
    taken = 0
    ahead = 0
    replay = log.replay

    async def counted(*topics: Any, **bounds: Any) -> Any:
        nonlocal given, ahead
        async for batch in replay(*topics, **bounds):
            given += len(batch)
            ahead = max(ahead, given - taken)
            yield batch

    class Counting(Seen):
        def apply(self, connection: Connection, records: Sequence[Record]) -> None:
            nonlocal taken
            taken += len(records)

    log.replay = counted  # type: ignore[method-assign]
    await Projector(log, writer, [Counting()]).catch_up()
    assert taken == given == 10_000
    assert ahead <= 2_000 + 7 * 100
