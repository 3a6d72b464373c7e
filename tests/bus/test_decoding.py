"""What is no event comes out as it was and stops nothing; what a newer program wrote is looked up."""

import json
import logging
from random import randrange
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from tests.bus import raw
from tests.bus.images import erased
from tests.bus.waiting import take, within

from medbus.bus import Bus, Record, Start, Undecodable
from medbus.schemas import avro, registry
from medbus.schemas.codec import FINGERPRINT, Codec
from medbus.schemas.events import ImageErased
from medbus.schemas.registry import Registry, Version
from medbus.schemas.topics import IMAGES

ERASED = "medbus.images.ImageErased"

POISON: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
    (b"1.2.3", b"", []),
    (b"1.2.3", None, []),
    (None, b"garbage", []),
    (b"1.2.3", b'{"json": true}', [("content-type", b"application/json")]),
    (b"1.2.3", b"\0\0\0\0\1\xff\xff\xff", []),
    (b"1.2.3", b"\0\x7f\xff\xff\xff", []),
]


async def write_raw(bus: Bus, kafka: str, *records: tuple[bytes | None, bytes | None, Any]) -> None:
    """Write into one partition."""
    async with raw.producer(kafka) as producer:
        for key, value, headers in records:
            await producer.send_and_wait(
                f"{bus.prefix}.images", value, key=key, partition=0, headers=list(headers)
            )


async def test_poison_comes_out_as_it_was_and_reading_goes_on(bus: Bus, kafka: str) -> None:
    before, after = bus.codec.encode(erased(number=1)), bus.codec.encode(erased(number=2))
    await write_raw(
        bus,
        kafka,
        (before.key, before.value, before.headers),
        *POISON,
        (after.key, after.value, after.headers),
    )
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        records = await take(subscription, len(POISON) + 2)
        assert await subscription.caught_up()
    assert [record.position.offset for record in records] == list(range(len(POISON) + 2))
    first, *poison, last = [record.event for record in records]
    assert isinstance(first, ImageErased)
    assert isinstance(last, ImageErased)
    assert [(e.key, e.value, list(e.headers)) for e in poison if isinstance(e, Undecodable)] == POISON
    assert all(isinstance(event, Undecodable) and event.error for event in poison)


async def test_poison_is_poison_in_a_replay_too(bus: Bus, kafka: str) -> None:
    await write_raw(bus, kafka, *POISON)
    async with within(10, "the end of the replay"):
        events = [record.event async for batch in bus.replay(IMAGES) for record in batch]
    assert [type(event) for event in events] == [Undecodable] * len(POISON)


async def test_a_schema_id_that_was_mixed_up_is_seen(bus: Bus, kafka: str) -> None:
    encoded = bus.codec.encode(erased())
    await write_raw(bus, kafka, (encoded.key, encoded.value, [(FINGERPRINT, b"8 bytes.")]))
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        (record,) = await take(subscription, 1)
    assert isinstance(record.event, Undecodable)
    assert "is not the schema that wrote this record" in record.event.error
    assert "restore _schemas from a backup" in record.event.error


class Newer:
    """A program whose ImageErased has one more field, under an id that nobody else takes."""

    def __init__(self) -> None:
        schema = json.loads(avro.text(ERASED))
        schema["fields"].append(
            {"name": "extra", "type": ["null", "string"], "default": None, "doc": f"{randrange(10**9)}."}
        )
        self.version = Version(
            subject=ERASED,
            version=randrange(10**5, 10**9),
            id=randrange(10**6, 2**31),
            text=json.dumps(schema),
        )

    async def register(self, kafka: str) -> None:
        key, value = self.version.record()
        async with raw.producer(kafka) as producer:
            await producer.send_and_wait(registry.TOPIC, value, key=key)

    async def unregister(self, kafka: str) -> None:
        async with raw.producer(kafka) as producer:
            await producer.send_and_wait(registry.TOPIC, None, key=self.version.record()[0])

    def encode(self, event: ImageErased) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        body = Codec(Registry.of_this_program()).encode(event)
        value = b"\0" + self.version.id.to_bytes(4, "big") + body.value[5:] + b"\0"
        return body.key, value, [(FINGERPRINT, avro.fingerprint(self.version.text))]


@pytest.fixture
async def newer(kafka: str) -> Any:
    program = Newer()
    yield program
    await program.unregister(kafka)


async def test_a_schema_that_is_registered_while_reading_is_looked_up(
    bus: Bus, kafka: str, newer: Newer
) -> None:
    event = erased()
    async with bus.subscribe(IMAGES) as subscription:
        await bus.publish(erased())
        await take(subscription, 1)
        await newer.register(kafka)
        await write_raw(bus, kafka, newer.encode(event))
        (record,) = await take(subscription, 1)
    assert record.event == event


async def test_garbage_just_before_does_not_hide_a_schema_that_is_new(
    bus: Bus, kafka: str, newer: Newer
) -> None:
    """An id that is unknown makes the registry be read; the next one may have come in the meantime."""
    event = erased()
    async with bus.subscribe(IMAGES) as subscription:
        await write_raw(bus, kafka, (b"k", b"\0\x7f\xff\xff\xff", []))
        (garbage,) = await take(subscription, 1)
        await newer.register(kafka)
        await write_raw(bus, kafka, newer.encode(event))
        (record,) = await take(subscription, 1)
    assert isinstance(garbage.event, Undecodable)
    assert record.event == event


async def test_the_registry_is_read_again_only_if_it_has_grown(
    bus: Bus, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of unknown ids must not make every reader read the registry for each."""
    from medbus.bus import admin

    reads: list[str] = []
    read = admin.read_registry

    async def counted(bootstrap: str) -> Registry:
        reads.append(bootstrap)
        return await read(bootstrap)

    await bus.refresh_registry()
    before = bus._registry_end
    monkeypatch.setattr(admin, "read_registry", counted)
    await write_raw(bus, kafka, *[(b"k", b"\0\x7f\xff\xff" + bytes([n]), []) for n in range(100)])
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        events: list[object] = []
        async with within(10, "100 records"):
            while len(events) < 100:
                events += [record.event for record in await subscription.poll(limit=5)]
    assert {type(event) for event in events} == {Undecodable}
    assert len(reads) <= bus._registry_end - before, "other tests may have registered something meanwhile"


async def test_a_record_waits_for_the_registry_while_it_cannot_be_asked(
    bus: Bus, kafka: str, newer: Newer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from medbus.bus import admin

    read = admin.read_registry
    failures = 2

    async def failing(bootstrap: str) -> Registry:
        nonlocal failures
        if failures:
            failures -= 1
            raise admin.unreachable(bootstrap)
        return await read(bootstrap)

    monkeypatch.setattr(admin, "read_registry", failing)
    event = erased()
    await newer.register(kafka)
    await write_raw(bus, kafka, newer.encode(event))
    with caplog.at_level(logging.WARNING, "medbus"):
        async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
            (record,) = await take(subscription, 1)
    assert record.event == event
    assert caplog.text.count("a record waits for the registry") == 2


async def test_no_record_is_lost_when_the_look_up_is_cancelled(
    bus: Bus, kafka: str, newer: Newer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from medbus.bus import admin

    read = admin.read_registry

    async def slow(bootstrap: str) -> Registry:
        await asyncio.sleep(0.5)
        return await read(bootstrap)

    monkeypatch.setattr(admin, "read_registry", slow)
    event = erased()
    await newer.register(kafka)
    await write_raw(bus, kafka, newer.encode(event))
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(subscription)
        assert max(subscription.position.values()) == 0
        (record,) = await take(subscription, 1)
        assert max(subscription.position.values()) == 1
    assert record.event == event


async def test_a_record_keeps_its_headers(bus: Bus, kafka: str) -> None:
    encoded = bus.codec.encode(erased())
    headers = [*encoded.headers, ("traceparent", b"00-00-00-01")]
    await write_raw(bus, kafka, (encoded.key, encoded.value, headers))
    partition = TopicPartition(f"{bus.prefix}.images", 0)
    async with raw.consumer(kafka, partition) as consumer, within(10, "the record"):
        consumer.seek(partition, 0)
        assert list((await consumer.getone()).headers) == headers
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        (record,) = await take(subscription, 1)
    assert isinstance(record, Record)
    assert isinstance(record.event, ImageErased)
    assert msgspec.structs.asdict(record.event)["sop_instance_uid"] == "0"
