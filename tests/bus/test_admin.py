"""Topics and schemas on a cluster: created as they must be, verified, and never changed."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import randrange
from threading import Thread

import msgspec
import pytest
from aiokafka import TopicPartition
from tests.bus import raw
from tests.bus.waiting import within
from tests.schemas import golden_bytes

from medbus.bus import Bus, admin
from medbus.schemas import avro, registry
from medbus.schemas.errors import BusError, SettingsError, TopicMisconfigured
from medbus.schemas.events import ImageRegistered
from medbus.schemas.registry import Registry, Version
from medbus.schemas.topics import IMAGES, SETTINGS, SUBSCRIBERS, TOPICS, Topic

SILENT_SECONDS = 10.0
"""A person who gave a wrong address does not wait longer."""


@pytest.fixture
async def cleanup(kafka: str, prefix: str) -> AsyncIterator[None]:
    """For tests that create topics themselves."""
    yield
    await raw.delete_all(kafka, prefix)


async def create_by_hand(
    kafka: str,
    prefix: str,
    *left_out: Topic,
    settings: Mapping[Topic, Mapping[str, str]] | None = None,
    partitions: Mapping[Topic, int] | None = None,
) -> None:
    """Create the topics as they must be, but for what is given here."""
    mine = [topic for topic in TOPICS if topic not in left_out]
    await raw.create(
        kafka,
        {t.full_name(prefix): (partitions or {}).get(t, t.partitions) for t in mine},
        {t.full_name(prefix): {**SETTINGS, **(settings or {}).get(t, {})} for t in mine},
    )


# Create


@pytest.mark.usefixtures("cleanup")
async def test_creates_what_is_missing_and_says_so(kafka: str, prefix: str) -> None:
    created = await admin.create_topics(kafka, prefix)
    names = {topic.full_name(prefix) for topic in TOPICS}
    assert names <= set(created)
    assert set(created) - names <= {registry.TOPIC, *avro.EVENT_NAMED}
    assert await admin.create_topics(kafka, prefix) == []


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
async def test_a_new_topic_keeps_everything(kafka: str, topics: str, topic: Topic) -> None:
    name = topic.full_name(topics)
    found = await raw.settings_of(kafka, name)
    assert found["cleanup.policy"] == "delete"
    assert found["retention.ms"] == "-1"
    assert found["retention.bytes"] == "-1"
    assert found["message.timestamp.type"] == "LogAppendTime"
    assert int(found["max.message.bytes"]) > topic.max_bytes + 10_000
    assert await raw.partitions_of(kafka, name) == topic.partitions


@pytest.mark.usefixtures("topics")
async def test_the_registry_keeps_the_last_record_of_each_version(kafka: str) -> None:
    found = await raw.settings_of(kafka, registry.TOPIC)
    assert found["cleanup.policy"] == "compact"
    assert await raw.partitions_of(kafka, registry.TOPIC) == 1


@pytest.mark.usefixtures("cleanup")
async def test_the_rest_is_created_where_some_are_there(kafka: str, prefix: str) -> None:
    await create_by_hand(kafka, prefix, IMAGES)
    assert IMAGES.full_name(prefix) in await admin.create_topics(kafka, prefix)


@pytest.mark.usefixtures("cleanup")
async def test_two_programs_may_create_at_once(kafka: str, prefix: str) -> None:
    async with within(30, "two programs to create the same topics"):
        await asyncio.gather(*(admin.create_topics(kafka, prefix) for _ in range(3)))
    counts = await admin.verify_topics(kafka, prefix)
    assert counts == {registry.TOPIC: 1} | {t.full_name(prefix): t.partitions for t in TOPICS}
    assert (await admin.read_registry(kafka)).missing() == []


def test_of_three_replicas_two_must_have_an_event() -> None:
    assert admin.durability(3) == {"min.insync.replicas": "2"}
    assert admin.durability(1) == admin.durability(2) == {}


# Verify

WRONG = {
    "deleted after an hour": ({"retention.ms": "3600000"}, "retention.ms is 3600000, must be -1"),
    "deleted by size": ({"retention.bytes": "1000000"}, "retention.bytes is 1000000, must be -1"),
    "compacted": ({"cleanup.policy": "compact"}, "cleanup.policy is compact, must be delete"),
    "compacted and deleted": (
        {"cleanup.policy": "compact,delete"},
        "cleanup.policy is compact,delete, must be delete",
    ),
    "dated by its writer": (
        {"message.timestamp.type": "CreateTime"},
        "message.timestamp.type is CreateTime, must be LogAppendTime",
    ),
}


@pytest.mark.usefixtures("cleanup")
@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
async def test_a_topic_that_would_lose_events_is_refused(
    kafka: str, prefix: str, changes: dict[str, str], message: str
) -> None:
    await create_by_hand(kafka, prefix, settings={IMAGES: changes})
    for refusing in (admin.verify_topics, admin.create_topics, open_bus):
        with pytest.raises(TopicMisconfigured) as raised:
            await refusing(kafka, prefix)
        assert f"{IMAGES.full_name(prefix)}: {message}" in raised.value.message
        assert "kafka-configs.sh --alter" in raised.value.advice
    found = await raw.settings_of(kafka, IMAGES.full_name(prefix))
    name, value = next(iter(changes.items()))
    assert found[name] == value, "medbus changed a topic that was there"


async def open_bus(kafka: str, prefix: str) -> None:
    async with Bus(kafka, prefix=prefix):
        raise AssertionError("the bus opened")


@pytest.mark.usefixtures("cleanup")
async def test_contracts_in_several_partitions_are_refused(kafka: str, prefix: str) -> None:
    await create_by_hand(kafka, prefix, partitions={SUBSCRIBERS: 2})
    with pytest.raises(TopicMisconfigured, match="subscribers: it has 2 partitions, must have 1"):
        await admin.verify_topics(kafka, prefix)


@pytest.mark.usefixtures("cleanup")
async def test_all_faults_are_named_at_once(kafka: str, prefix: str) -> None:
    by_writer = {"message.timestamp.type": "CreateTime"}
    await create_by_hand(kafka, prefix, settings=dict.fromkeys(TOPICS, by_writer))
    with pytest.raises(TopicMisconfigured) as raised:
        await admin.verify_topics(kafka, prefix)
    assert all(f"{topic.full_name(prefix)}: message" in raised.value.message for topic in TOPICS)


async def test_missing_topics_are_named_with_what_to_do(kafka: str, prefix: str) -> None:
    for missing in (admin.verify_topics, open_bus):
        with pytest.raises(BusError) as raised:
            await missing(kafka, prefix)
        assert f"{prefix}.images, {prefix}.processing" in raised.value.message
        assert raised.value.advice == "Run `medbus topics create`."


async def test_a_study_of_1999_is_dated_by_its_arrival(bus: Bus) -> None:
    event = golden_bytes.full(ImageRegistered)
    old = msgspec.structs.replace(
        event, study=msgspec.structs.replace(event.study, study_date="19990101", study_time="120000")
    )
    position = await bus.publish(old)
    (record,) = [r async for batch in bus.replay(IMAGES) for r in batch]
    assert record.position == position
    assert abs(record.timestamp - datetime.now(UTC)) < timedelta(seconds=5)
    assert isinstance(record.event, ImageRegistered)
    assert record.event.study.study_date == "19990101"


# No broker


@contextmanager
def closed_port() -> Iterator[str]:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def silent_port() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def chatty_port() -> Iterator[str]:
    """A port on which something else than Kafka listens."""

    def answer() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("port", [closed_port, silent_port, chatty_port])
@pytest.mark.parametrize("use", [open_bus, admin.create_topics])
async def test_without_a_broker_the_error_comes_soon_and_helps(
    port: Callable[[], AbstractContextManager[str]], use: Callable[[str, str], Awaitable[object]]
) -> None:
    started = time.monotonic()
    with port() as address, pytest.raises(BusError) as raised:
        await use(address, "medbus")
    assert time.monotonic() - started < SILENT_SECONDS
    assert raised.value.message == f"No Kafka broker answers at {address}."
    assert "medbus up" in raised.value.advice


@pytest.mark.parametrize("address", ["127.0.0.1:port", "127.0.0.1:99999", ":::"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError) as raised:
        await admin.verify_topics(address)
    assert repr(address) in raised.value.message
    assert raised.value.advice == "Give HOST:PORT, several separated by commas."


# Schemas


@pytest.mark.usefixtures("topics")
async def test_the_registry_is_what_its_topic_says(kafka: str) -> None:
    """Byte for byte as another registry would find it there."""
    read = await admin.read_registry(kafka)
    partition = TopicPartition(registry.TOPIC, 0)
    async with raw.consumer(kafka, partition) as consumer:
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        expected = Registry()
        async with within(10, "the registry's topic"):
            while await consumer.position(partition) < end:
                record = await consumer.getone()
                expected.apply(record.key, record.value)
    assert read.missing() == []
    assert set(avro.EVENT_NAMED) <= set(read.subjects())
    for subject in avro.EVENT_NAMED:
        assert read.versions(subject) == expected.versions(subject)


@pytest.mark.usefixtures("topics")
async def test_ids_stay_from_one_start_to_the_next(kafka: str) -> None:
    before = await admin.read_registry(kafka)
    assert await admin.register_schemas(kafka) == []
    after = await admin.read_registry(kafka)
    assert [before.id_of(subject) for subject in avro.EVENT_NAMED] == [
        after.id_of(subject) for subject in avro.EVENT_NAMED
    ]


@pytest.mark.usefixtures("topics")
async def test_what_others_wrote_into_the_registrys_topic_does_no_harm(kafka: str) -> None:
    foreign = Version(
        subject=f"orders-{randrange(10**9)}-value",
        version=1,
        id=randrange(10**6, 10**9),
        text=json.dumps("string"),
    )
    async with raw.producer(kafka) as producer:
        await producer.send_and_wait(registry.TOPIC, b"\xff", key=b"not JSON")
        await producer.send_and_wait(registry.TOPIC, key=b'{"keytype":"NOOP","magic":0}', value=b"")
        key, value = foreign.record()
        await producer.send_and_wait(registry.TOPIC, value, key=key)
    read = await admin.read_registry(kafka)
    assert read.versions(foreign.subject) == [foreign]
    assert read.missing() == []


async def test_a_topic_name_is_found(kafka: str, topics: str) -> None:
    assert IMAGES.full_name(topics) in await admin.topic_names(kafka)
