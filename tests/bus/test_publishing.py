"""Publishing returns when the event is in the log, says where, and keeps the order of a key."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from tests.bus import raw
from tests.bus.images import erased, numbers
from tests.bus.waiting import within
from tests.schemas import golden_bytes

from medbus.bus import Bus, Partition, Position, Record, settings
from medbus.bus.producer import Sent
from medbus.schemas.codec import FINGERPRINT, Encoded
from medbus.schemas.errors import BusError, InvalidEvent
from medbus.schemas.events import DeadLettered, ImageErased, ItemPlanned
from medbus.schemas.topics import (
    DEAD_LETTERS,
    IMAGES,
    MAX_DEAD_LETTER_BYTES,
    MAX_EVENT_BYTES,
    TOPIC_OF,
    TOPICS,
    WORK,
    Topic,
)


async def all_of(bus: Bus, *topics: Topic) -> list[Record]:
    return [record async for batch in bus.replay(*topics) for record in batch]


async def test_every_event_comes_back_from_its_topic(bus: Bus) -> None:
    written = {await bus.publish(event): event for event in map(golden_bytes.full, TOPIC_OF)}
    assert {record.position: record.event for record in await all_of(bus, *TOPICS)} == written
    for position, event in written.items():
        assert position.partition.topic == TOPIC_OF[type(event)].name


async def test_a_record_is_key_framed_value_and_fingerprint(bus: Bus, kafka: str) -> None:
    event = erased(study="1.2.840.99")
    position = await bus.publish(event)
    encoded = bus.codec.encode(event)
    partition = TopicPartition(f"{bus.prefix}.images", position.partition.number)
    async with raw.consumer(kafka, partition) as consumer, within(10, "the record"):
        consumer.seek(partition, position.offset)
        record = await consumer.getone()
    assert (record.key, record.value) == (b"1.2.840.99", encoded.value)
    assert dict(record.headers)[FINGERPRINT] == dict(encoded.headers)[FINGERPRINT]


async def test_the_position_is_where_the_event_is(bus: Bus) -> None:
    positions = [await bus.publish(erased(number=number)) for number in range(5)]
    assert positions == [Position(positions[0].partition, offset) for offset in range(5)]
    assert [record.position for record in await all_of(bus, IMAGES)] == positions


async def test_events_of_a_key_share_a_partition_and_keys_are_spread(bus: Bus) -> None:
    keys = [f"1.2.{number}" for number in range(64)]
    first = [(await bus.publish(erased(study=key))).partition for key in keys]
    again = [(await bus.publish(erased(study=key))).partition for key in keys]
    assert first == again
    assert set(first) == {Partition("images", number) for number in range(IMAGES.partitions)}


async def test_many_at_once_keep_their_order_within_a_key(bus: Bus) -> None:
    events = [erased(study=f"1.2.{number % 20}", number=number) for number in range(3000)]
    positions = await bus.publish_all(events)
    assert len(positions) == len(set(positions)) == 3000
    records = await all_of(bus, IMAGES)
    assert {record.position: record.event for record in records} == dict(zip(positions, events, strict=True))
    for key in {event.study_instance_uid for event in events}:
        of_key = [
            r for r in records if isinstance(r.event, ImageErased) and r.event.study_instance_uid == key
        ]
        assert numbers(of_key) == sorted(numbers(of_key))


async def test_many_publishers_at_once_each_get_their_position(bus: Bus) -> None:
    events = [erased(study=f"1.{number % 7}", number=number) for number in range(200)]
    async with within(20, "200 publishers"):
        positions = await asyncio.gather(*map(bus.publish, events))
    found = {record.position: record.event for record in await all_of(bus, IMAGES)}
    assert found == dict(zip(positions, events, strict=True))


async def test_records_of_many_publishers_travel_together(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a request is on its way goes with the next one, without waiting for more (linger)."""
    requests: list[ProduceRequest] = []
    send = AIOKafkaClient.send

    async def noted(self: AIOKafkaClient, node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, ProduceRequest):
            requests.append(request)
        return await send(self, node, request, **options)

    monkeypatch.setattr(AIOKafkaClient, "send", noted)
    await bus.publish(erased())
    assert len(requests) == 1
    events = [erased(study=f"1.{number % 7}", number=number) for number in range(400)]
    async with within(20, "400 publishers"):
        await asyncio.gather(*map(bus.publish, events))
    assert len(requests) <= 1 + 10


async def test_nothing_to_publish_is_published_at_once(bus: Bus) -> None:
    assert await bus.publish_all([]) == []


async def test_events_of_several_topics_go_out_together(bus: Bus) -> None:
    events = [golden_bytes.full(kind) for kind in TOPIC_OF]
    positions = await bus.publish_all(events)
    assert [position.partition.topic for position in positions] == [topic.name for topic in TOPIC_OF.values()]


async def test_the_time_of_a_record_is_its_arrival(bus: Bus) -> None:
    old = msgspec.structs.replace(
        erased(), meta=msgspec.structs.replace(erased().meta, occurred_at=datetime(1999, 1, 1, tzinfo=UTC))
    )
    await bus.publish(old)
    (record,) = await all_of(bus, IMAGES)
    assert abs(record.timestamp - datetime.now(UTC)) < timedelta(seconds=5)
    assert record.timestamp.tzinfo is UTC


# What is refused


async def test_the_longest_event_passes_and_a_longer_one_is_refused(bus: Bus) -> None:
    room = MAX_EVENT_BYTES - len(bus.codec.encode(erased(reason="x" * 20_000)).value) + 20_000
    async with within(10, "the longest event"):
        await bus.publish(erased(reason="x" * room))
    with pytest.raises(InvalidEvent, match=f"{MAX_EVENT_BYTES} are allowed on images"):
        await bus.publish(erased(reason="x" * (room + 1)))
    assert len(await all_of(bus, IMAGES)) == 1


async def test_the_longest_dead_letter_passes(bus: Bus) -> None:
    letter = msgspec.structs.replace(
        golden_bytes.full(DeadLettered), value=bytes(MAX_DEAD_LETTER_BYTES - 5000)
    )
    async with within(10, "the longest dead letter"):
        await bus.publish(letter)
    (record,) = await all_of(bus, DEAD_LETTERS)
    assert record.event == letter


async def test_if_one_of_several_is_refused_none_is_written(bus: Bus) -> None:
    with pytest.raises(InvalidEvent):
        await bus.publish_all([erased(), erased(reason=3), erased()])  # type: ignore[arg-type]
    assert await all_of(bus, IMAGES) == []


async def test_what_the_broker_does_not_take_is_refused_and_not_tried_for_ever(bus: Bus, kafka: str) -> None:
    name = f"{bus.prefix}.narrow"
    await raw.create(kafka, {name: 1}, {name: {"max.message.bytes": "1000"}})
    long, short = Encoded(b"key", bytes(2000), ()), Encoded(b"key", bytes(10), ())
    try:
        async with within(15, "the broker's refusal"):
            with pytest.raises(InvalidEvent, match="Kafka does not take the record"):
                await bus._producer.send(name, long)
            assert await bus._producer.send(name, short) == Sent(0, 0)
            with pytest.raises(InvalidEvent, match="Kafka does not take the record"):
                await bus._producer.send_all([(name, short), (name, long)])
    finally:
        await raw.delete(kafka, name)


async def test_a_topic_that_is_gone_is_an_error_with_advice(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PRODUCER", {**settings.PRODUCER, "request_timeout_ms": 500})
    async with within(10, "the error"):
        with pytest.raises(BusError) as raised:
            await bus._producer.send(f"{bus.prefix}.nothing", Encoded(b"k", b"v", ()))
    assert raised.value.message == f"There is no topic {bus.prefix}.nothing."
    assert raised.value.advice == "Run `medbus topics create`."


async def test_a_closed_bus_publishes_nothing(kafka: str, topics: str) -> None:
    async with Bus(kafka, prefix=topics) as bus:
        await bus.publish(erased())
    with pytest.raises(BusError, match="closed"):
        await bus.publish(erased())


def planned(slot: int) -> ItemPlanned:
    return msgspec.structs.replace(golden_bytes.full(ItemPlanned), slot=slot)


async def test_work_goes_to_the_partition_it_is_planned_for(bus: Bus) -> None:
    count = len(bus.partitions(WORK))
    slots = [0, 1, count - 1, count, 3 * count + 5]
    one = await bus.publish(planned(7))
    several = await bus.publish_all([planned(slot) for slot in slots])

    assert one.partition.number == 7 % count
    assert [each.partition.number for each in several] == [slot % count for slot in slots]
