"""The log by itself, on a broker of its own: writing an event, replaying many, rebuilding catalogs from them.

The peer is what the libraries do without us: aiokafka and fastavro in a bare loop over the same topic.
"""

import asyncio
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from fastavro import schemaless_reader

from bench.figure import Figure, Target, percentiles
from bench.images import registered
from bench.stage import Stage
from medbus.bus import Bus
from medbus.bus.admin import create_topics
from medbus.compose.kafka import EmbeddedKafka
from medbus.projections.database import Database
from medbus.projections.projector import PROJECTIONS
from medbus.projections.rebuild import rebuild
from medbus.schemas import avro
from medbus.schemas.events import ImageRegistered
from medbus.schemas.topics import IMAGES

BARE_LOOP = "bare aiokafka + fastavro"
BARE_PRODUCER = "bare aiokafka"
WRITE_BATCH = 1_000
REBUILD_TARGET = Target(30_000, at_most=False)


def log(stage: Stage) -> Iterator[Figure]:
    """Time until the log has an event; events per second out of it, typed, and into empty catalogs."""
    found = asyncio.run(_measure(stage))
    yield from percentiles("publish", found.publish, peer=BARE_PRODUCER, peer_runs=found.bare_publish)
    yield Figure(
        name="replay", unit="events/s", values=found.replay, peer=BARE_LOOP, peer_values=found.bare_replay
    )
    yield Figure(
        name="rebuild",
        unit="events/s",
        values=found.rebuild,
        peer=BARE_LOOP,
        peer_values=found.bare_replay,
        target=REBUILD_TARGET,
    )


@dataclass
class _Found:
    """Seconds of each event, and events per second."""

    publish: list[list[float]] = field(default_factory=list)
    bare_publish: list[list[float]] = field(default_factory=list)
    replay: list[float] = field(default_factory=list)
    rebuild: list[float] = field(default_factory=list)
    bare_replay: list[float] = field(default_factory=list)


async def _measure(stage: Stage) -> _Found:
    found = _Found()
    stage.say("starting a broker")
    async with EmbeddedKafka(stage.new_folder("log")) as kafka:
        for prefix, measure in (("publish", _publish), ("replay", _replay)):
            await create_topics(kafka.bootstrap, prefix)
            async with Bus(kafka.bootstrap, client_id="bench", prefix=prefix) as bus:
                await measure(stage, bus, found)
    return found


async def _publish(stage: Stage, bus: Bus, found: _Found) -> None:
    count = stage.size.requests
    events = registered(2 * count * (stage.repetitions + 1))
    producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for repetition in range(stage.repetitions + 1):
            stage.say(f"publishing {count} events, one after the other")
            ours = [await _published(bus, event) for event in islice(events, count)]
            bare = [await _sent(producer, bus, event) for event in islice(events, count)]
            if repetition > 0:  # the first warms up
                found.publish.append(ours)
                found.bare_publish.append(bare)
    finally:
        await producer.stop()


async def _replay(stage: Stage, bus: Bus, found: _Found) -> None:
    count = stage.size.events
    stage.say(f"writing {count:,} events")
    events = registered(count)
    while batch := list(islice(events, WRITE_BATCH)):
        await bus.publish_all(batch)
    for repetition in range(stage.repetitions):
        stage.say(f"reading {count:,} events three ways")
        found.bare_replay.append(await _bare_rate(bus, count))
        found.replay.append(await _replay_rate(bus, count))
        found.rebuild.append(await _rebuild_rate(bus, count, stage.new_folder(f"catalog-{repetition}")))


async def _published(bus: Bus, event: ImageRegistered) -> float:
    start = time.perf_counter()
    await bus.publish(event)
    return time.perf_counter() - start


async def _sent(producer: AIOKafkaProducer, bus: Bus, event: ImageRegistered) -> float:
    encoded = bus.codec.encode(event)
    start = time.perf_counter()
    await producer.send_and_wait(
        IMAGES.full_name(bus.prefix), encoded.value, key=encoded.key, headers=list(encoded.headers)
    )
    return time.perf_counter() - start


async def _replay_rate(bus: Bus, count: int) -> float:
    start = time.perf_counter()
    seen = 0
    async for batch in bus.replay(IMAGES):
        seen += len(batch)
    assert seen == count, f"replayed {seen} of {count} events"
    return count / (time.perf_counter() - start)


async def _rebuild_rate(bus: Bus, count: int, folder: Path) -> float:
    async with Database(f"sqlite+aiosqlite:///{folder}/catalog.sqlite") as database:
        start = time.perf_counter()
        rebuilt = await rebuild(bus, database, PROJECTIONS)
        seconds = time.perf_counter() - start
    assert rebuilt.records == count, f"rebuilt from {rebuilt.records} of {count} events"
    return count / seconds


async def _bare_rate(bus: Bus, count: int) -> float:
    """What Python reaches at most on this topic: records fetched in bulk and decoded to dictionaries."""
    schemas: dict[bytes, Any] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=bus.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(IMAGES.full_name(bus.prefix), p.number) for p in bus.partitions(IMAGES)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        start = time.perf_counter()
        seen = 0
        while seen < count:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    frame = record.value[:5]
                    schema = schemas.get(frame) or schemas.setdefault(frame, _schema(bus, frame))
                    schemaless_reader(BytesIO(record.value[5:]), schema, None)
                seen += len(records)
        return count / (time.perf_counter() - start)
    finally:
        await consumer.stop()


def _schema(bus: Bus, frame: bytes) -> Any:
    return avro.parse(bus.codec.registry.text(struct.unpack(">xI", frame)[0]))
