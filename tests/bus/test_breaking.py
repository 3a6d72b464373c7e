"""Clients that break or stall are replaced, and no event is lost, or written under another id."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, RequestTimedOutError
from aiokafka.structs import RecordMetadata
from tests.bus.images import erased, numbers, write
from tests.bus.waiting import take, within

from medbus.bus import Bus, Record, Start, Subscription, settings
from medbus.schemas.topics import IMAGES


async def all_of(bus: Bus) -> list[Record]:
    return [record async for batch in bus.replay(IMAGES) for record in batch]


async def inner_producer(bus: Bus) -> AIOKafkaProducer:
    return await bus._producer._started()


def inner_consumer(subscription: Subscription) -> AIOKafkaConsumer:
    consumer = subscription._reader._consumer
    assert consumer is not None
    return consumer


def break_sequence(producer: AIOKafkaProducer, partition: TopicPartition) -> None:
    """Skip a number: from now on the broker answers OutOfOrderSequenceNumber to this producer."""
    producer._txn_manager.increment_sequence_number(partition, 7)


@pytest.fixture
async def study(bus: Bus) -> str:
    """A study that has an event already."""
    await write(bus, 1)
    return "1.2.3"


async def raw_partition(bus: Bus) -> TopicPartition:
    (partition,) = [p for p, end in (await bus.end_offsets(IMAGES)).items() if end]
    return TopicPartition(f"{bus.prefix}.images", partition.number)


# Producers


@pytest.mark.usefixtures("study")
async def test_after_out_of_order_a_new_producer_writes_the_same_event(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await inner_producer(bus)
    break_sequence(broken, await raw_partition(bus))
    event = erased(number=1)
    async with within(15, "the event to be written by a new producer"):
        position = await bus.publish(event)
    assert await inner_producer(bus) is not broken
    assert "OutOfOrderSequenceNumber" in caplog.text
    records = await all_of(bus)
    assert [record.event for record in records[1:]] == [event]
    assert records[1].position == position


@pytest.mark.usefixtures("study")
async def test_many_publishers_survive_it_together(bus: Bus) -> None:
    partition = await raw_partition(bus)
    events = [erased(number=number) for number in range(1, 100)]

    async def publish(number: int) -> None:
        if number == 50:
            break_sequence(await inner_producer(bus), partition)
        await bus.publish(events[number - 1])

    async with within(30, "all publishers"):
        await asyncio.gather(*(publish(number) for number in range(1, 100)))
    found = [record.event for record in await all_of(bus)][1:]
    assert {event.meta.event_id for event in events} == {cast(Any, event).meta.event_id for event in found}


@pytest.mark.usefixtures("study")
async def test_several_at_once_keep_their_order_over_it(bus: Bus) -> None:
    break_sequence(await inner_producer(bus), await raw_partition(bus))
    async with within(30, "all events"):
        await write(bus, 1, 2000)
    assert numbers(await all_of(bus)) == list(range(2000))


@pytest.mark.usefixtures("study")
async def test_a_producer_that_was_closed_is_replaced(bus: Bus) -> None:
    await (await inner_producer(bus)).stop()
    async with within(15, "the events"):
        await write(bus, 1, 3)
        await (await inner_producer(bus)).stop()
        await bus.publish(erased(number=3))
    assert numbers(await all_of(bus)) == [0, 1, 2, 3]


@pytest.mark.usefixtures("study")
async def test_a_sender_that_died_is_replaced(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault within aiokafka ends the task that sends; nothing would ever be sent again."""
    broken = await inner_producer(bus)

    def fail(**_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(broken._message_accumulator, "drain_by_nodes", fail)
    async with within(15, "the event"):
        await bus.publish(erased(number=1))
    assert numbers(await all_of(bus)) == [0, 1]


async def test_an_event_whose_answer_was_lost_is_written_again_under_its_id(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be known whether the first went through; readers tell by the id that both are one."""
    producer = await inner_producer(bus)
    send = producer.send

    async def lost(*arguments: Any, **options: Any) -> None:
        await (await send(*arguments, **options))
        raise RequestTimedOutError

    monkeypatch.setattr(producer, "send", lost)
    event = erased(number=1)
    async with within(15, "the event"):
        position = await bus.publish(event)
    records = await all_of(bus)
    assert [record.event for record in records] == [event, event]
    assert records[1].position == position


async def test_an_answer_without_a_place_is_not_taken_for_one(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuplicateSequenceNumber: the broker has the record, but forgot where."""
    producer = await inner_producer(bus)

    async def forgot(topic: str, *_: Any, **__: Any) -> asyncio.Future[RecordMetadata]:
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(RecordMetadata(topic, 0, TopicPartition(topic, 0), -1, 0, 1, -1))
        return answer

    monkeypatch.setattr(producer, "send", forgot)
    async with within(15, "the event"):
        position = await bus.publish(erased(number=1))
    assert position.offset == 0
    assert numbers(await all_of(bus)) == [1]


# Consumers


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer counts as stalled after a second."""
    monkeypatch.setattr(settings, "STALL_SECONDS", 1.0)


@pytest.fixture
async def following(bus: Bus) -> AsyncIterator[Subscription]:
    """A subscription that has read an event."""
    async with bus.subscribe(IMAGES) as subscription:
        await write(bus, 1)
        await take(subscription, 1)
        yield subscription


@pytest.mark.usefixtures("impatient")
async def test_a_consumer_that_fetches_no_more_is_replaced(
    bus: Bus, following: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    """The task that fetches is gone; the process lives and reads nothing, for ever."""
    stalled = inner_consumer(following)
    stalled._fetcher._fetch_task.cancel()
    await asyncio.sleep(0.6)  # the request that is on its way ends
    await write(bus, 1, 3)
    assert numbers(await take(following, 2, seconds=15)) == [1, 2]
    assert inner_consumer(following) is not stalled
    assert "the consumer stalled" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_partition_that_comes_no_more_is_noticed_while_others_do(
    bus: Bus, following: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    partition = await raw_partition(bus)
    inner_consumer(following).pause(partition)
    await bus.publish_all([erased(study=str(n), number=1000 + n) for n in range(100)])
    await write(bus, 1, 3)
    stop = asyncio.Event()

    async def keep_others_busy() -> None:
        while not stop.is_set():
            await bus.publish_all([erased(study=str(n), number=1000 + n) for n in range(8)])
            await asyncio.sleep(0.02)

    others = asyncio.create_task(keep_others_busy())
    found: list[int] = []
    async with within(20, "the records of the partition that stalled"):
        while len(found) < 2:
            found += [number for number in numbers(await anext(following)) if number < 1000]
    stop.set()
    await others
    assert found == [1, 2]
    assert "the consumer stalled" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_consumer_with_nothing_to_read_is_kept(following: Subscription) -> None:
    healthy = inner_consumer(following)
    for _ in range(6):
        assert await following.poll(wait=0.4) == []
    assert inner_consumer(following) is healthy


@pytest.mark.usefixtures("impatient")
async def test_a_slow_reader_keeps_its_consumer(bus: Bus) -> None:
    """What is not asked for does not come: that is no stall."""
    await bus.publish_all([erased(study=str(n), number=n) for n in range(60)])
    got: list[int] = []
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription, within(30, "60 records"):
        consumer = None
        while len(got) < 60:
            got += numbers(await subscription.poll(limit=10))
            assert consumer in (None, inner_consumer(subscription))
            consumer = inner_consumer(subscription)
            await asyncio.sleep(0.6)
    assert sorted(got) == list(range(60))


async def test_a_consumer_that_raises_is_replaced(
    bus: Bus, following: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = inner_consumer(following)

    async def corrupt(**_: Any) -> None:
        raise CorruptRecordException

    monkeypatch.setattr(broken, "getmany", corrupt)
    await write(bus, 1, 3)
    assert numbers(await take(following, 2)) == [1, 2]
    assert inner_consumer(following) is not broken


async def test_offsets_are_asked_again_after_an_error(bus: Bus) -> None:
    await write(bus, 1)
    await bus.end_offsets(IMAGES)
    assert bus._lookup is not None
    broken = bus._lookup

    async def unknown(*_: Any) -> None:
        raise KafkaError("who knows")

    broken.end_offsets = unknown
    with pytest.raises(Exception, match="No Kafka broker answers"):
        await bus.end_offsets(IMAGES)
    logging.getLogger(__name__).debug("the next one is asked of a new consumer")
    assert sum((await bus.end_offsets(IMAGES)).values()) == 1
