"""The log by itself, on a broker of its own: writing an event, replaying many, rebuilding catalogs from them.

The peer is what the libraries do without us: aiokafka and fastavro in a bare loop over the same topic.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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
PREFIX = "bench"


def publish(stage: Stage) -> Iterator[Figure]:
    """Time until the log acknowledges an event (acks=all, synced to the disk), one after the other."""
    ours, bare = asyncio.run(_publish(stage))
    yield from percentiles("publish", ours, peer=BARE_PRODUCER, peer_runs=bare)


def replay(stage: Stage) -> Iterator[Figure]:
    """Events per second out of the log: as typed events (replay) and into empty catalogs (rebuild)."""
    replayed, rebuilt, bare = asyncio.run(_replay(stage))
    yield Figure(name="replay", unit="events/s", values=replayed, peer=BARE_LOOP, peer_values=bare)
    yield Figure(
        name="rebuild",
        unit="events/s",
        values=rebuilt,
        peer=BARE_LOOP,
        peer_values=bare,
        target=REBUILD_TARGET,
    )


@asynccontextmanager
async def _bus(stage: Stage, folder: str) -> AsyncIterator[Bus]:
    stage.say("starting a broker")
    async with EmbeddedKafka(stage.new_folder(folder)) as kafka:
        await create_topics(kafka.bootstrap, PREFIX)
        async with Bus(kafka.bootstrap, client_id="bench", prefix=PREFIX) as bus:
            yield bus


async def _publish(stage: Stage) -> tuple[list[list[float]], list[list[float]]]:
    count = stage.size.requests
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    async with _bus(stage, "publish") as bus:
        producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            events = registered(2 * count * (stage.repetitions + 1))
            for repetition in range(stage.repetitions + 1):
                stage.say(f"publishing {count} events, one after the other")
                times = [await _published(bus, event) for event in islice(events, count)]
                bare_times = [await _sent(producer, bus, event) for event in islice(events, count)]
                if repetition > 0:  # the first warms up
                    ours.append(times)
                    bare.append(bare_times)
        finally:
            await producer.stop()
    return ours, bare


async def _published(bus: Bus, event: ImageRegistered) -> float:
    start = time.perf_counter()
    await bus.publish(event)
    return time.perf_counter() - start


async def _sent(producer: AIOKafkaProducer, bus: Bus, event: ImageRegistered) -> float:
    encoded = bus.codec.encode(event)
    start = time.perf_counter()
    await producer.send_and_wait(
        IMAGES.full_name(PREFIX), encoded.value, key=encoded.key, headers=list(encoded.headers)
    )
    return time.perf_counter() - start


async def _replay(stage: Stage) -> tuple[list[float], list[float], list[float]]:
    count = stage.size.events
    replayed: list[float] = []
    rebuilt: list[float] = []
    bare: list[float] = []
    async with _bus(stage, "replay") as bus:
        stage.say(f"writing {count:,} events")
        events = registered(count)
        while batch := list(islice(events, WRITE_BATCH)):
            await bus.publish_all(batch)
        for repetition in range(stage.repetitions):
            stage.say(f"reading {count:,} events three ways")
            bare.append(await _bare_rate(bus, count))
            replayed.append(await _replay_rate(bus, count))
            rebuilt.append(await _rebuild_rate(bus, count, stage.new_folder(f"catalog-{repetition}")))
    return replayed, rebuilt, bare


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
        partitions = [TopicPartition(IMAGES.full_name(PREFIX), p.number) for p in bus.partitions(IMAGES)]
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
