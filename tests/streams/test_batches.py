"""Records that have arrived are handled together: in their order, none waits, none takes others with it."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaProducer
from tests.streams.processes import Worker, Workers, everything, records, scripted, workers
from tests.streams.script_worker import effect

from medbus.bus import Bus, Record
from medbus.schemas.events import DeadLettered, Event, ImageErased
from medbus.schemas.topics import DEAD_LETTERS, DECISIONS, IMAGES
from medbus.streams.offsets import committed
from medbus.streams.processor import Processor
from medbus.streams.worker import DRAIN_SECONDS, _Arrived, _Worker

BATCH = ("--batch", "100")


@pytest.fixture
async def crew(bus: Bus) -> AsyncIterator[Workers]:
    async with workers(bus) as made:
        yield made


async def together(bus: Bus, crew: Workers, events: Sequence[ImageErased]) -> Worker:
    """A worker that gets these as one batch: they come while it is busy."""
    worker = await crew.start(*BATCH)
    await bus.publish(scripted("sleep 1.5"))
    await worker.printed("begin sleep 1.5")
    await bus.publish_all(events)
    return worker


def begun(worker: Worker) -> list[str]:
    """What the worker began to handle, in its order."""
    return [line.removeprefix("begin ") for line in worker.lines if line.startswith("begin ")]


def prepared(worker: Worker) -> list[int]:
    """How many records each batch had, each time it was prepared."""
    return [int(line.removeprefix("prepare ")) for line in worker.lines if line.startswith("prepare ")]


def effects(events: Sequence[ImageErased]) -> Counter[Event]:
    return Counter(effect(event) for event in events)


def found(records: Sequence[Record]) -> Counter[Event]:
    return Counter(record.event for record in records if isinstance(record.event, Event))


def reasons(letters: Sequence[Record]) -> list[str]:
    return sorted(letter.event.error for letter in letters if isinstance(letter.event, DeadLettered))


async def test_what_comes_meanwhile_is_the_next_batch_and_is_handled_in_its_order(
    bus: Bus, crew: Workers
) -> None:
    events = [scripted(f"number {number}") for number in range(60)]
    worker = await together(bus, crew, events)
    assert len(await records(bus, count=61)) == 61
    assert prepared(worker) == [1, 60]
    assert begun(worker) == ["sleep 1.5", *(event.reason for event in events)]


async def test_a_batch_has_no_more_than_it_may(bus: Bus, crew: Workers) -> None:
    events = [scripted(f"number {number}") for number in range(250)]
    worker = await together(bus, crew, events)
    assert len(await records(bus, count=251)) == 251
    assert sum(prepared(worker)) == 251
    assert max(prepared(worker)) == 100


async def test_a_record_that_comes_alone_is_handled_at_once(bus: Bus, crew: Workers) -> None:
    worker = await crew.start(*BATCH)
    seconds = []
    async with asyncio.timeout(30), bus.subscribe(DECISIONS) as batches:
        waiting = aiter(batches)
        for number in range(10):
            await asyncio.sleep(0.2)
            start = time.monotonic()
            await bus.publish(scripted(f"alone {number}"))
            await anext(waiting)
            seconds.append(time.monotonic() - start)
    assert prepared(worker) == [1] * 10
    # There and back takes milliseconds, on a busy machine as well. It may be slow now and then.
    assert sorted(seconds)[5] < 0.15, seconds


async def test_one_that_fails_in_the_middle_goes_to_the_dead_letters_and_the_others_go_on(
    bus: Bus, crew: Workers
) -> None:
    before, between, after = ([scripted(f"{name} {n}") for n in range(5)] for name in "abc")
    worker = await together(
        bus, crew, [*before, scripted("raise"), *between, scripted("misfit"), *after, scripted("fail 2")]
    )
    made = await records(bus, count=17)
    assert prepared(worker) == [1, 18]
    assert effects([*before, *between, *after]) <= found(made)
    letters = reasons(await records(bus, DEAD_LETTERS, count=2))
    assert [letter[:40] for letter in letters] == [
        "InvalidEvent: RequestRejected does not f",
        "ValueError: raise",
    ]
    assert await worker.end(signal.SIGTERM, within=5) == 0
    assert sum((await committed(bus, "script", (IMAGES,))).values()) == 19


async def test_bytes_that_are_no_event_are_neither_prepared_nor_in_the_way(bus: Bus, crew: Workers) -> None:
    worker = await together(bus, crew, [scripted("before")])
    producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap)
    await producer.start()
    try:
        for value in (b"\x00garbage", b"x" * 950_000):
            await producer.send_and_wait(IMAGES.full_name(bus.prefix), value, key=b"1.2.3")
    finally:
        await producer.stop()
    await bus.publish(scripted("after"))
    await records(bus, count=3)
    letters = [each.event for each in await records(bus, DEAD_LETTERS, count=2)]
    assert prepared(worker) == [1, 2]
    assert begun(worker) == ["sleep 1.5", "before", "after"]
    assert [letter.value for letter in letters if isinstance(letter, DeadLettered)] == [b"\x00garbage", None]


async def test_trouble_of_the_preparation_that_passes_is_waited_for(bus: Bus, crew: Workers) -> None:
    events = [scripted("first"), scripted("hesitate 2"), scripted("last")]
    worker = await together(bus, crew, events)
    assert effects(events) <= found(await records(bus, count=4))
    assert prepared(worker) == [1, 3, 3, 3]
    assert begun(worker) == ["sleep 1.5", "first", "hesitate 2", "last"]
    assert await everything(bus, DEAD_LETTERS) == []


async def test_one_that_can_not_be_prepared_does_not_take_the_others_with_it(bus: Bus, crew: Workers) -> None:
    before, after = ([scripted(f"{name} {n}") for n in range(3)] for name in "ab")
    worker = await together(bus, crew, [*before, scripted("unprepared"), *after])
    assert effects([*before, *after]) <= found(await records(bus, count=7))
    assert reasons(await records(bus, DEAD_LETTERS, count=1)) == ["ValueError: unprepared"]
    assert prepared(worker) == [1, 7, *[1] * 7]
    assert begun(worker) == ["sleep 1.5", *(event.reason for event in [*before, *after])]


@pytest.mark.parametrize("slow", [pytest.param("sleep 3", marks=pytest.mark.long), "late 3"])
async def test_nothing_of_a_batch_is_acknowledged_before_all_of_it_is_in_the_log(
    bus: Bus, crew: Workers, slow: str
) -> None:
    events = [scripted("a"), scripted("b"), scripted(slow), scripted("c"), scripted("d")]
    worker = await together(bus, crew, events)
    await worker.printed(f"begin {slow}")
    await asyncio.sleep(1.2)  # two commits
    assert sum((await committed(bus, "script", (IMAGES,))).values()) == 1
    assert await worker.end(signal.SIGKILL, within=5) == -signal.SIGKILL
    assert len(await everything(bus)) == 1

    await crew.start(*BATCH)
    assert effects(events) <= found(await records(bus, count=6))
    await asyncio.sleep(1)  # room for one too many
    assert len(await everything(bus)) == 6


async def test_a_worker_that_is_killed_in_the_midst_leaves_nothing_out(bus: Bus, crew: Workers) -> None:
    events = [scripted(f"{number}", study=f"1.2.{number % 50}") for number in range(6000)]
    await bus.publish_all(events)
    worker = await crew.start(*BATCH)
    before = await records(bus, count=500)
    assert await worker.end(signal.SIGKILL, within=5) == -signal.SIGKILL
    assert len(before) < len(events)

    await crew.start(*BATCH)
    await handled(bus, events)


@pytest.mark.long
async def test_workers_that_come_and_go_under_load_leave_nothing_out(bus: Bus, crew: Workers) -> None:
    events = [scripted(f"load {number}", study=f"1.2.{number % 50}") for number in range(12_000)]
    first, second = await asyncio.gather(crew.start(*BATCH), crew.start(*BATCH))

    async def load() -> None:
        for start in range(0, len(events), 100):
            await bus.publish_all(events[start : start + 100])
            await asyncio.sleep(0.04)

    loading = asyncio.create_task(load())
    await asyncio.sleep(1)
    await crew.start(*BATCH)
    await asyncio.sleep(0.5)
    await first.end(signal.SIGKILL, within=5)
    await asyncio.sleep(0.5)
    assert await second.end(signal.SIGTERM, within=5) == 0
    await loading
    await handled(bus, events)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_busy_worker_within_seconds_and_nothing_is_repeated(
    bus: Bus, crew: Workers, number: signal.Signals
) -> None:
    events = [scripted(f"{number}", study=f"1.2.{number % 50}") for number in range(30_000)]
    worker = await crew.start(*BATCH)
    loading = asyncio.create_task(bus.publish_all(events))
    await worker.printed("begin 100")
    assert await worker.end(number, within=5) == 0
    assert "Traceback" not in worker.output()
    await loading
    made = len(await everything(bus))
    assert 0 < made < len(events)
    assert sum((await committed(bus, "script", (IMAGES,))).values()) == made


async def test_what_arrived_before_a_rebalance_is_left_to_whoever_has_its_partition_next(bus: Bus) -> None:
    async def handle(_: Record) -> Sequence[Event]:
        return ()

    processor = Processor(name="script", topics=(IMAGES,), handle=handle, batch=10)
    worker = _Worker(processor, bus, None)
    worker.arrived.put_nowait(_Arrived("before", worker.assignment))
    taking = asyncio.create_task(worker._batch())
    async with asyncio.timeout(DRAIN_SECONDS / 2):
        await worker._drain()
        worker.arrived.put_nowait(_Arrived("after", worker.assignment))
        assert await taking == ["after"]


async def handled(bus: Bus, events: Sequence[ImageErased], within: float = 40.0) -> None:
    """Check that every record has its effect in the end; one that was repeated is the same event."""
    expected = {effect(event).meta.event_id: effect(event) for event in events}
    deadline = time.monotonic() + within
    seen: list[Record] = []
    end = await bus.first_offsets(DECISIONS)
    while len({each.event.meta.event_id for each in seen if isinstance(each.event, Event)}) < len(expected):
        assert time.monotonic() < deadline, f"{len(seen)} effects of {len(events)} after {within} s"
        await asyncio.sleep(0.5)
        since, end = end, await bus.end_offsets(DECISIONS)
        async for batch in bus.replay(DECISIONS, since=since, until=end):
            seen.extend(batch)
    assert all(
        expected.get(each.event.meta.event_id) == each.event for each in seen if isinstance(each.event, Event)
    )
    assert len(seen) < 1.5 * len(events)
