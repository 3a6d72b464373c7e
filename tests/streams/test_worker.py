"""Workers as real processes on a real broker: nothing is lost, nothing happens twice under two identities."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.streams.processes import Workers, everything, records, scripted, workers
from tests.streams.script_worker import effect

from medbus.bus import Bus, Record
from medbus.bus.admin import create_topics
from medbus.compose.kafka import EmbeddedKafka
from medbus.schemas.events import DeadLettered, ImageErased, RequestRejected
from medbus.schemas.topics import DEAD_LETTERS, IMAGES
from medbus.streams.offsets import committed, group_name
from medbus.streams.watchdog import EXIT_BLOCKED


def in_order(found: Sequence[Record]) -> list[RequestRejected]:
    """Effects lie on several partitions: without an order, but each as often as it is there."""
    events = [record.event for record in found]
    return sorted((e for e in events if isinstance(e, RequestRejected)), key=lambda e: e.detail)


def in_order_of(events: Sequence[ImageErased]) -> list[RequestRejected]:
    return sorted((effect(event) for event in events), key=lambda e: e.detail)


@pytest.fixture
async def crew(bus: Bus) -> AsyncIterator[Workers]:
    async with workers(bus) as made:
        yield made


async def test_every_record_has_its_effect_also_those_from_before_the_first_start(
    bus: Bus, crew: Workers
) -> None:
    before, after = scripted("before"), scripted("after")
    await bus.publish(before)
    await crew.start()
    await bus.publish(after)
    assert in_order(await records(bus, count=2)) == in_order_of([before, after])


@pytest.mark.parametrize(
    ("head", "killed_at", "member"),
    [
        (6.0, 2.0, ()),
        pytest.param(20.0, 5.0, (), marks=pytest.mark.long),
        pytest.param(20.0, 5.0, ("--member", "one"), marks=pytest.mark.long),
    ],
    ids=["short", "dynamic", "static"],
)
async def test_a_killed_worker_with_a_slow_head_leaves_five_effects_once_each(
    bus: Bus, crew: Workers, head: float, killed_at: float, member: Sequence[str]
) -> None:
    events = [scripted(f"sleep {head}"), *(scripted(f"sleep 0.1{number}") for number in range(4))]
    await bus.publish_all(events)
    worker = await crew.start(*member)
    await worker.printed(f"begin sleep {head}")
    await asyncio.sleep(killed_at)
    assert await worker.end(signal.SIGKILL, within=5) == -signal.SIGKILL
    assert await everything(bus) == []

    await crew.start(*member)
    await records(bus, count=5, within=head + 20)
    await asyncio.sleep(1)  # room for one too many
    assert in_order(await everything(bus)) == in_order_of(events)


async def test_a_crowd_of_records_is_handled_without_a_pause(bus: Bus, crew: Workers) -> None:
    events = [scripted(f"{number}", study=f"1.2.{number % 50}") for number in range(1500)]
    await bus.publish_all(events)
    await crew.start()
    ready = time.monotonic()
    assert in_order(await records(bus, count=1500, within=60)) == in_order_of(events)
    # Faust's own way of dealing with a full buffer takes a second for every 64 of them.
    assert time.monotonic() - ready < 15


async def test_a_worker_that_waits_takes_over_from_one_that_is_killed_within_seconds(
    bus: Bus, crew: Workers
) -> None:
    first, _ = await crew.start(), await crew.start()
    await first.end(signal.SIGKILL, within=5)
    killed = time.monotonic()
    events = [scripted(f"{number}", study=f"1.2.{number}") for number in range(40)]
    await bus.publish_all(events)
    assert in_order(await records(bus, count=40, within=40)) == in_order_of(events)
    # The session of 6 s, less the time since its last sign of life, a rebalance (10 s where a member does not
    # answer), and a machine that is busy.
    assert time.monotonic() - killed < 30


async def test_workers_that_come_and_go_under_load_leave_nothing_out(bus: Bus, crew: Workers) -> None:
    events = [scripted(f"load {number}", study=f"1.2.{number % 50}") for number in range(1200)]
    first, second = await asyncio.gather(crew.start(), crew.start())

    async def load() -> None:
        for start in range(0, len(events), 10):
            await bus.publish_all(events[start : start + 10])
            await asyncio.sleep(0.05)

    loading = asyncio.create_task(load())
    await asyncio.sleep(1)
    await crew.start()
    await asyncio.sleep(1)
    await first.end(signal.SIGKILL, within=5)
    await asyncio.sleep(1)
    assert await second.end(signal.SIGTERM, within=5) == 0
    await loading

    expected = {effect(event).meta.event_id: effect(event) for event in events}
    async with asyncio.timeout(30):
        while True:
            found = in_order(await everything(bus))
            if {event.meta.event_id for event in found} == set(expected):
                break
            await asyncio.sleep(0.5)
    # A repeated one is the same event, so whoever ignores ids that he has seen has each effect once.
    assert all(event in expected.values() for event in found)
    assert len(found) < 1.5 * len(events)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_a_signal_ends_a_worker_within_seconds(
    bus: Bus, crew: Workers, number: signal.Signals, busy: bool
) -> None:
    worker = await crew.start()
    if busy:
        await bus.publish(scripted("sleep 60"))
        await worker.printed("begin sleep 60")
    assert await worker.end(number, within=5) == 0
    assert "Traceback" not in worker.output()


async def test_a_clean_stop_repeats_nothing(bus: Bus, crew: Workers) -> None:
    worker = await crew.start()
    await bus.publish_all([scripted(f"{number}") for number in range(20)])
    await records(bus, count=20)
    assert await worker.end(signal.SIGTERM, within=5) == 0
    assert sum((await committed(bus, "script", (IMAGES,))).values()) == 20
    await crew.start()
    await bus.publish(scripted("last"))
    await records(bus, count=21)
    assert len(await everything(bus)) == 21


async def test_a_worker_listens_on_no_port(crew: Workers) -> None:
    worker = await crew.start()
    connections = psutil.Process(worker.process.pid).net_connections()
    assert connections, "it is connected to the broker"
    assert [each for each in connections if each.status == psutil.CONN_LISTEN] == []


async def test_a_record_that_fails_for_good_goes_to_the_dead_letters_and_the_next_ones_go_on(
    bus: Bus, crew: Workers
) -> None:
    poison, good = scripted("raise"), scripted("good")
    position = await bus.publish(poison)
    await bus.publish(good)
    await crew.start()
    assert [record.event for record in await records(bus, count=1)] == [effect(good)]
    (record,) = await records(bus, DEAD_LETTERS, count=1)
    letter = record.event
    assert isinstance(letter, DeadLettered)
    assert (letter.processor, letter.error) == ("script", "ValueError: raise")
    assert (letter.topic, letter.partition, letter.offset) == ("images", position.partition.number, 0)
    assert letter.meta.cause_id == poison.meta.event_id
    assert letter.key == b"1.2.3"
    assert bus.codec.decode(letter.value, [(each.key, each.value) for each in letter.headers]) == poison


async def test_trouble_that_passes_is_waited_for(bus: Bus, crew: Workers) -> None:
    event = scripted("fail 3")
    await bus.publish(event)
    await crew.start()
    assert [record.event for record in await records(bus, count=1)] == [effect(event)]
    assert await everything(bus, DEAD_LETTERS) == []


async def test_trouble_that_lasts_is_given_up(bus: Bus, crew: Workers) -> None:
    await bus.publish(scripted("fail 4"))
    await bus.publish(scripted("next"))
    await crew.start()
    (record,) = await records(bus, DEAD_LETTERS, count=1)
    assert isinstance(record.event, DeadLettered)
    assert record.event.error == "ConnectionError: fail 4"
    assert len(await records(bus, count=1)) == 1


async def test_an_event_that_fits_no_schema_is_a_failure_like_any_other(bus: Bus, crew: Workers) -> None:
    await bus.publish(scripted("misfit"))
    await bus.publish(scripted("next"))
    await crew.start()
    (record,) = await records(bus, DEAD_LETTERS, count=1)
    assert isinstance(record.event, DeadLettered)
    assert record.event.error.startswith("InvalidEvent: RequestRejected does not fit its schema")
    assert len(await records(bus, count=1)) == 1


async def test_bytes_that_are_no_event_are_kept_as_they_are(bus: Bus, crew: Workers) -> None:
    poison: list[bytes | None] = [b"", None, b"\x00garbage", b"\x00\x00\x00\x00\x01", b"x" * 950_000]
    producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap)
    await producer.start()
    try:
        for value in poison:
            await producer.send_and_wait(
                IMAGES.full_name(bus.prefix), value, key=b"1.2.3", headers=[("from", b"elsewhere")]
            )
    finally:
        await producer.stop()
    await bus.publish(scripted("next"))
    await crew.start()
    assert len(await records(bus, count=1)) == 1
    letters = [record.event for record in await records(bus, DEAD_LETTERS, count=5)]
    assert all(isinstance(letter, DeadLettered) for letter in letters)
    kept = [letter for letter in letters if isinstance(letter, DeadLettered)]
    assert [letter.offset for letter in kept] == [0, 1, 2, 3, 4]
    assert [letter.value for letter in kept[:4]] == poison[:4]
    assert [(header.key, header.value) for header in kept[0].headers] == [("from", b"elsewhere")]
    assert kept[4].value is None
    assert "950000 bytes are too many" in kept[4].error


async def test_a_worker_that_is_stuck_ends_itself(bus: Bus, crew: Workers) -> None:
    worker = await crew.start("--stall-seconds", "3")
    await bus.publish(scripted("sleep 600"))
    assert await worker.ended(within=15) == 1
    assert "script has not advanced for 3 s although there is work" in worker.output()


async def test_a_worker_whose_event_loop_is_blocked_is_ended(bus: Bus, crew: Workers) -> None:
    worker = await crew.start("--stall-seconds", "2")
    await bus.publish(scripted("spin 600"))
    assert await worker.ended(within=15) == EXIT_BLOCKED


async def test_a_worker_refuses_a_position_that_the_log_does_not_have(bus: Bus, crew: Workers) -> None:
    partition = TopicPartition(IMAGES.full_name(bus.prefix), 3)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bus.bootstrap,
        group_id=group_name(bus.prefix, "script"),
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.commit({partition: 17})
    finally:
        await consumer.stop()
    worker = await crew.start(ready=False)
    assert await worker.ended(within=15) == 1
    assert "images/3 at 17, log 0 to 0" in worker.output()


async def test_a_worker_without_a_broker_says_so(bus: Bus, crew: Workers, unused_tcp_port: int) -> None:
    worker = await crew.start("--bootstrap", f"127.0.0.1:{unused_tcp_port}", ready=False)
    assert await worker.ended(within=60) == 1
    assert "No Kafka broker answers" in worker.output()


async def test_a_broker_that_is_killed_and_comes_back_and_one_that_does_not(tmp_path: Path) -> None:
    prefix = "restart"
    async with EmbeddedKafka(tmp_path) as broker:
        await create_topics(broker.bootstrap, prefix)
        bus = Bus(broker.bootstrap, prefix=prefix)
        async with bus, workers(bus) as crew:
            worker = await crew.start()
            before, after = scripted("before"), scripted("after")
            await bus.publish(before)
            await records(bus, count=1)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            await broker.wait_dead()
            await broker.stop()
            await broker.start()
            await bus.publish(after)
            await worker.printed("begin after", within=60)
            assert in_order(await records(bus, count=2)) == in_order_of([after, before])
            assert worker.process.returncode is None

            os.kill(broker.pid, signal.SIGKILL)
            await broker.wait_dead()
            # Faust would wait for the broker for ever.
            assert await worker.end(signal.SIGTERM, within=6) == EXIT_BLOCKED
            await broker.stop()
