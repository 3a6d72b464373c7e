"""The bus client: publish events, follow topics, replay the log."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from medbus.bus import admin, settings
from medbus.bus.reader import Reader, start
from medbus.bus.record import Partition, Position, Record, Undecodable
from medbus.schemas.codec import Codec, Encoded
from medbus.schemas.errors import BusError, InvalidEvent, MedbusError, UndecodableRecord, UnknownSchema
from medbus.schemas.events import Event
from medbus.schemas.topics import TOPIC_OF, Topic

log = logging.getLogger(__name__)

Offsets = Mapping[Partition, int]
Bound = Offsets | datetime | None


class Start(Enum):
    """Where to begin to follow a topic."""

    BEGINNING = "beginning"
    END = "end"


class Bus(AbstractAsyncContextManager["Bus"]):
    """A connection to the event log.

    On entering it checks that the topics are there with settings that keep everything, and reads the schema
    registry's topic.

    Args:
        bootstrap: HOST:PORT of one or more Kafka brokers, separated by commas.
        client_id: how this program names itself to the broker.
        prefix: the installation's prefix; topics are `PREFIX.name`.

    Raises:
        BusError: no broker answers, or a topic is missing.
        TopicMisconfigured: a topic's settings would lose events.
    """

    def __init__(
        self, bootstrap: str, *, client_id: str = "medbus", prefix: str = settings.DEFAULT_PREFIX
    ) -> None:
        self.bootstrap = bootstrap
        self.client_id = client_id
        self.prefix = prefix
        self.codec: Codec
        self._partition_counts: Mapping[str, int]
        self._producer: AIOKafkaProducer | None = None
        self._producer_lock = asyncio.Lock()
        self._lookup: AIOKafkaConsumer | None = None
        self._registry_read = 0.0

    async def __aenter__(self) -> Self:
        self._partition_counts = await admin.verify_topics(self.bootstrap, self.prefix)
        self.codec = Codec(await admin.read_registry(self.bootstrap))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in (self._producer, self._lookup):
            if client is not None:
                await client.stop()
        self._producer = self._lookup = None

    async def publish(self, event: Event) -> Position:
        """Write an event; returns its position when every in-sync replica has it.

        Does not give up: while the broker is away it waits, since an event whose fate is unknown can neither
        be confirmed nor refused. Cancel it to stop waiting; the event may or may not be in the log then.

        Raises:
            InvalidEvent: the event does not fit its schema, or the broker will not take it.
        """
        encoded = self.codec.encode(event)
        return await self._send(TOPIC_OF[type(event)], encoded)

    async def publish_all(self, events: Sequence[Event]) -> list[Position]:
        """Write several events at once; returns when all are written, as `publish` does for one.

        Events with the same key keep their order, unless the broker fails in between: one that has to be sent
        again may then stand after a later one.
        """
        encoded = [(TOPIC_OF[type(event)], self.codec.encode(event)) for event in events]
        producer = self._producer or await self._new_producer(None)
        pending: list[asyncio.Future[Any] | None] = []
        for topic, each in encoded:
            try:
                pending.append(
                    await producer.send(
                        topic.full_name(self.prefix), each.value, key=each.key, headers=list(each.headers)
                    )
                )
            except KafkaError as error:
                log.warning("publishing failed, each event is sent again: %s", error)
                pending.append(None)
        positions: list[Position] = []
        for (topic, each), future in zip(encoded, pending, strict=True):
            try:
                sent = await future if future is not None else None
            except KafkaError as error:
                log.warning("publishing failed, the event is sent again: %s", error)
                sent = None
            if sent is None:
                positions.append(await self._send(topic, each))
            else:
                positions.append(Position(Partition(topic.name, sent.partition), sent.offset))
        return positions

    def subscribe(self, *topics: Topic, start: Offsets | Start = Start.END) -> "Subscription":
        """Follow topics for ever; use as `async with bus.subscribe(IMAGES) as batches: async for ...`.

        Args:
            topics: what to follow.
            start: the offsets to begin at (a partition that is not named begins at 0), or an end of the log.
        """
        return Subscription(self, topics, start)

    async def replay(
        self,
        *topics: Topic,
        since: Bound = None,
        until: Bound = None,
        limit: int = settings.BATCH_RECORDS,
    ) -> AsyncIterator[list[Record]]:
        """Read a stretch of the log and end.

        Args:
            topics: what to read.
            since: where to begin, inclusive: offsets (partitions that are not named begin at their first), a
                time of arrival, or None for the beginning.
            until: where to end, exclusive: offsets (partitions that are not named end where the log ends
                now), a time of arrival, or None for where the log ends now.
            limit: the most records in a batch.

        Yields:
            Batches of records, in the order of the log within each partition.

        Raises:
            OffsetOutOfRange: the log does not hold `since`.
        """
        first = await self.first_offsets(*topics)
        last = await self.end_offsets(*topics)
        begin = first | await self._bound(since, topics)
        end = {p: min(o, last[p]) for p, o in (last | await self._bound(until, topics)).items() if p in last}
        todo = {p: begin[p] for p in last if begin[p] < end[p]}
        if not todo:
            return
        reader = Reader(self.bootstrap, self.client_id, self._raw_offsets(todo))
        try:
            while any(reader.position[self._raw(p)] < end[p] for p in todo):
                batch = await reader.poll(wait=1.0, limit=limit)
                records = [
                    record
                    for raw, raws in batch.items()
                    for record in await self._decode(raw, raws)
                    if record.position.offset < end[record.position.partition]
                ]
                if records:
                    yield records
        finally:
            await reader.close()

    async def first_offsets(self, *topics: Topic) -> dict[Partition, int]:
        """The first offset that the log holds, for every partition of the topics."""
        return await self._offsets("beginning_offsets", topics)

    async def end_offsets(self, *topics: Topic) -> dict[Partition, int]:
        """The offset that the next record will get, for every partition of the topics."""
        return await self._offsets("end_offsets", topics)

    def partitions(self, *topics: Topic) -> list[Partition]:
        """Every partition of the topics, as they were when the connection was made."""
        return [
            Partition(topic.name, number)
            for topic in topics
            for number in range(self._partition_counts[topic.full_name(self.prefix)])
        ]

    async def refresh_registry(self) -> None:
        """Read the registry's topic again, at most once a second."""
        if time.monotonic() - self._registry_read < 1.0:
            return
        self._registry_read = time.monotonic()
        self.codec = Codec(await admin.read_registry(self.bootstrap))

    async def _send(self, topic: Topic, encoded: Encoded) -> Position:
        name = topic.full_name(self.prefix)
        while True:
            producer = self._producer or await self._new_producer(None)
            try:
                sent = await producer.send_and_wait(
                    name, encoded.value, key=encoded.key, headers=list(encoded.headers)
                )
            except UnknownTopicOrPartitionError as error:
                raise BusError(f"There is no topic {name}.", "Run `medbus topics create`.") from error
            except (ValueError, TypeError) as error:
                raise InvalidEvent(f"Kafka's client does not take the record: {error}.") from error
            except KafkaError as error:
                # OutOfOrderSequenceNumber and the like are final for a producer, but not for the event:
                # it is sent again under the same id.
                log.warning("publishing to %s failed, a new producer takes over: %s", name, error)
                await asyncio.sleep(0.2)
                await self._new_producer(producer)
            else:
                return Position(Partition(topic.name, sent.partition), sent.offset)

    async def _new_producer(self, broken: AIOKafkaProducer | None) -> AIOKafkaProducer:
        async with self._producer_lock:
            if self._producer is not None and self._producer is not broken:
                return self._producer
            if broken is not None:
                self._producer = None
                try:
                    await asyncio.wait_for(broken.stop(), timeout=5)
                except (KafkaError, TimeoutError) as error:
                    log.debug("the broken producer did not close: %s", error)
            while True:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap, client_id=self.client_id, **settings.PRODUCER
                )
                try:
                    await start(producer)
                except KafkaError as error:
                    log.warning("no broker at %s yet: %s", self.bootstrap, error)
                    await asyncio.sleep(0.5)
                else:
                    self._producer = producer
                    return producer

    async def _lookup_consumer(self) -> AIOKafkaConsumer:
        if self._lookup is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap, client_id=self.client_id, **settings.CONSUMER
            )
            try:
                await start(consumer)
            except KafkaError as error:
                raise admin.unreachable(self.bootstrap, error) from error
            self._lookup = consumer
        return self._lookup

    async def _offsets(self, method: str, topics: Iterable[Topic]) -> dict[Partition, int]:
        found = self.partitions(*topics)
        consumer = await self._lookup_consumer()
        try:
            raw: dict[TopicPartition, int] = await getattr(consumer, method)([self._raw(p) for p in found])
        except KafkaError as error:
            raise BusError(f"Kafka did not tell its offsets: {error}.", "Is the broker well?") from error
        return {partition: raw[self._raw(partition)] for partition in found}

    async def offsets_at(self, moment: datetime, *topics: Topic) -> dict[Partition, int]:
        """The offset of the first record that arrived at that time or later, for every partition.

        Where there is none it is the offset that the next record will get.
        """
        if moment.tzinfo is None:
            raise BusError("A time without a time zone is ambiguous.", "Give an aware datetime.")
        milliseconds = int(moment.timestamp() * 1000)
        consumer = await self._lookup_consumer()
        last = await self.end_offsets(*topics)
        found = await consumer.offsets_for_times({self._raw(p): milliseconds for p in last})
        return {p: last[p] if found.get(self._raw(p)) is None else found[self._raw(p)].offset for p in last}

    async def _bound(self, bound: Bound, topics: Sequence[Topic]) -> dict[Partition, int]:
        if isinstance(bound, datetime):
            return await self.offsets_at(bound, *topics)
        return dict(bound or {})

    async def _decode(self, raw: TopicPartition, records: Sequence[ConsumerRecord]) -> list[Record]:
        partition = Partition(raw.topic[len(self.prefix) + 1 :], raw.partition)
        decoded: list[Record] = []
        for record in records:
            event: Event | Undecodable
            try:
                event = self.codec.decode(record.value, record.headers)
            except UnknownSchema:
                await self.refresh_registry()
                event = self._decode_or_keep(record)
            except UndecodableRecord as error:
                event = _kept(record, error)
            decoded.append(
                Record(
                    position=Position(partition, record.offset),
                    timestamp=datetime.fromtimestamp(record.timestamp / 1000, UTC),
                    event=event,
                )
            )
        return decoded

    def _decode_or_keep(self, record: ConsumerRecord) -> Event | Undecodable:
        try:
            return self.codec.decode(record.value, record.headers)
        except UndecodableRecord as error:
            return _kept(record, error)

    def _raw(self, partition: Partition) -> TopicPartition:
        return TopicPartition(f"{self.prefix}.{partition.topic}", partition.number)

    def _raw_offsets(self, offsets: Offsets) -> dict[TopicPartition, int]:
        return {self._raw(partition): offset for partition, offset in offsets.items()}


class Subscription(AbstractAsyncContextManager["Subscription"]):
    """Batches of records of some topics, for ever: an asynchronous iterator, made by `Bus.subscribe`."""

    def __init__(self, bus: Bus, topics: Sequence[Topic], start: Offsets | Start) -> None:
        self._bus = bus
        self._topics = topics
        self._start = start
        self._reader: Reader

    async def __aenter__(self) -> Self:
        bus = self._bus
        if self._start is Start.END:
            position = await bus.end_offsets(*self._topics)
        elif self._start is Start.BEGINNING:
            position = await bus.first_offsets(*self._topics)
        else:
            position = {p: self._start.get(p, 0) for p in bus.partitions(*self._topics)}
        self._reader = Reader(bus.bootstrap, bus.client_id, bus._raw_offsets(position))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._reader.close()

    @property
    def position(self) -> dict[Partition, int]:
        """The offset of the next record to read, for each partition."""
        prefix = len(self._bus.prefix) + 1
        return {
            Partition(raw.topic[prefix:], raw.partition): offset
            for raw, offset in self._reader.position.items()
        }

    async def caught_up(self) -> bool:
        """Whether everything that the log holds now has been read: by offsets, never by counting."""
        ends = await self._bus.end_offsets(*self._topics)
        position = self.position
        return all(position[partition] >= end for partition, end in ends.items())

    async def poll(self, wait: float = 1.0, limit: int = settings.BATCH_RECORDS) -> list[Record]:
        """The next batch; empty if nothing came within `wait` seconds."""
        batch = await self._reader.poll(wait=wait, limit=limit)
        return [record for raw, raws in batch.items() for record in await self._bus._decode(raw, raws)]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Record]:
        while True:
            if batch := await self.poll():
                return batch


def _kept(record: Any, error: MedbusError) -> Undecodable:
    return Undecodable(error=str(error), key=record.key, value=record.value, headers=tuple(record.headers))
