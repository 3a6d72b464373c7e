"""The bus client: publish events, follow topics, replay the log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from medbus.bus import admin, settings
from medbus.bus.lifetime import start, stop_consumer
from medbus.bus.producer import Producer
from medbus.bus.reader import RawBatch, Reader
from medbus.bus.record import Partition, Position, Record, Undecodable
from medbus.bus.subscription import Start, Subscription
from medbus.schemas import registry
from medbus.schemas.codec import Codec
from medbus.schemas.errors import (
    BusError,
    MedbusError,
    OffsetOutOfRange,
    SettingsError,
    UndecodableRecord,
    UnknownSchema,
)
from medbus.schemas.events import Event
from medbus.schemas.topics import TOPIC_OF, Topic

__all__ = ["Bound", "Bus", "Offsets", "Start", "Subscription"]

log = logging.getLogger(__name__)

Offsets = Mapping[Partition, int]
Bound = Offsets | datetime | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REGISTRY = TopicPartition(registry.TOPIC, 0)


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
        self._producer = Producer(bootstrap, client_id)
        self._readers: set[Reader] = set()
        self._lookup: AIOKafkaConsumer | None = None
        self._lookup_lock = asyncio.Lock()
        self._registry_lock = asyncio.Lock()
        self._registry_end = -1
        self._closed = False

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
        self._closed = True
        for reader in list(self._readers):
            await self._close_reader(reader)
        await self._producer.close()
        await self._drop_lookup()

    async def publish(self, event: Event) -> Position:
        """Write an event; returns its position when every in-sync replica has it.

        Does not give up: while the broker is away it waits, since an event whose fate is unknown can neither
        be confirmed nor refused. Cancel it to stop waiting; the event may or may not be in the log then.

        Raises:
            InvalidEvent: the event does not fit its schema, or the broker will not take it.
            BusError: there is no such topic, this program may not write it, or the bus is closed.
        """
        encoded = self.codec.encode(event)
        topic = TOPIC_OF[type(event)]
        sent = await self._producer.send(topic.full_name(self.prefix), encoded)
        return Position(Partition(topic.name, sent.partition), sent.offset)

    async def publish_all(self, events: Sequence[Event]) -> list[Position]:
        """Write several events at once; returns when all are written, as `publish` does for one.

        Events with the same key keep their order, also if some have to be sent again: whoever takes each id
        the first time that it comes sees the order given here.

        Raises:
            InvalidEvent: an event does not fit its schema (then none is written), or the broker will not take
                it.
        """
        encoded = [(event, self.codec.encode(event)) for event in events]
        records = [(TOPIC_OF[type(event)], record) for event, record in encoded]
        sent = await self._producer.send_all([(t.full_name(self.prefix), record) for t, record in records])
        return [
            Position(Partition(topic.name, each.partition), each.offset)
            for (topic, _), each in zip(records, sent, strict=True)
        ]

    def subscribe(
        self, *topics: Topic, start: Offsets | Start = Start.END, pace: float = 0.0
    ) -> "Subscription":
        """Follow topics for ever; use as `async with bus.subscribe(IMAGES) as batches: async for ...`.

        Args:
            topics: what to follow.
            start: the offsets to begin at (a partition that is not named begins at 0), or an end of the log.
            pace: seconds from one batch to the next, at least, while records keep coming. What comes after a
                longer silence comes at once, and a backlog (full batches) without pauses.
        """
        return Subscription(self, topics, start, pace)

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
        begin = {**first, **await self._bound(since, last)}
        for partition, offset in begin.items():
            if not first[partition] <= offset <= last[partition]:
                raise OffsetOutOfRange(
                    f"The log does not hold {partition}@{offset}: it goes from {first[partition]} to "
                    f"{last[partition]}.",
                    "Records were deleted or the topic was made anew: restore it, or begin elsewhere.",
                )
        end = {p: min(o, last[p]) for p, o in {**last, **await self._bound(until, last)}.items()}
        todo = {p: begin[p] for p in begin if begin[p] < end[p]}
        if not todo:
            return
        reader = self._new_reader(todo)
        try:
            while reader.position:
                batch = await reader.poll(wait=settings.LAST_SECONDS, limit=limit)
                for raw, records in batch.items():
                    stop_at = end[self._partition(raw)]
                    if records[-1].offset >= stop_at:
                        batch[raw] = [record for record in records if record.offset < stop_at]
                for partition, offset in self._positions(reader).items():
                    if offset >= end[partition]:
                        reader.finish(self._raw(partition))
                if decoded := await self._decode(batch):
                    yield decoded
        finally:
            await self._close_reader(reader)

    async def first_offsets(self, *topics: Topic) -> dict[Partition, int]:
        """The first offset that the log holds, for every partition of the topics."""
        return await self._offsets("beginning_offsets", topics)

    async def end_offsets(self, *topics: Topic) -> dict[Partition, int]:
        """The offset that the next record will get, for every partition of the topics."""
        return await self._offsets("end_offsets", topics)

    async def offsets_at(self, moment: datetime, *topics: Topic) -> dict[Partition, int]:
        """The offset of the first record that arrived then or later, for every partition of the topics.

        Where there is none it is the offset that the next record will get.
        """
        return await self._bound(moment, await self.end_offsets(*topics))

    def partitions(self, *topics: Topic) -> list[Partition]:
        """Every partition of the topics, as they were when the connection was made."""
        return [
            Partition(topic.name, number)
            for topic in topics
            for number in range(self._partition_counts[topic.full_name(self.prefix)])
        ]

    async def refresh_registry(self) -> None:
        """Read the registry's topic again, if it has grown."""
        async with self._registry_lock:
            end = (await self._ask("end_offsets", [_REGISTRY]))[_REGISTRY]
            if end != self._registry_end:
                self.codec = Codec(await admin.read_registry(self.bootstrap))
                self._registry_end = end

    async def _ask(self, method: str, argument: Any) -> Any:
        """Offsets from the broker, through a consumer that is kept for this."""
        async with self._lookup_lock:
            try:
                if self._lookup is None:
                    if self._closed:
                        raise _bus_closed()
                    consumer = AIOKafkaConsumer(
                        bootstrap_servers=self.bootstrap, client_id=self.client_id, **settings.CONSUMER
                    )
                    await start(consumer.start, lambda: stop_consumer(consumer))
                    self._lookup = consumer
                return await getattr(self._lookup, method)(argument)
            except KafkaError as error:
                await self._drop_lookup()
                raise admin.unreachable(self.bootstrap) from error

    async def _drop_lookup(self) -> None:
        consumer, self._lookup = self._lookup, None
        if consumer is not None:
            await stop_consumer(consumer)

    async def _offsets(self, method: str, topics: Iterable[Topic]) -> dict[Partition, int]:
        found = self.partitions(*topics)
        raw: dict[TopicPartition, int] = await self._ask(method, [self._raw(p) for p in found])
        return {partition: raw[self._raw(partition)] for partition in found}

    async def _bound(self, bound: Bound, last: Mapping[Partition, int]) -> dict[Partition, int]:
        if bound is None:
            return {}
        if not isinstance(bound, datetime):
            return {p: offset for p, offset in bound.items() if p in last}
        if bound.tzinfo is None:
            raise SettingsError("A time without a time zone is ambiguous.", "Give an aware datetime.")
        # Kafka counts in milliseconds: the first that is not before the bound.
        milliseconds = max(0, -((_EPOCH - bound) // timedelta(milliseconds=1)))
        found = await self._ask("offsets_for_times", {self._raw(p): milliseconds for p in last})
        return {p: last[p] if found.get(self._raw(p)) is None else found[self._raw(p)].offset for p in last}

    async def _decode(self, batch: RawBatch) -> list[Record]:
        fresh = False
        decoded: list[Record] = []
        for raw, records in batch.items():
            partition = self._partition(raw)
            for record in records:
                event: Event | Undecodable
                try:
                    event = self.codec.decode(record.value, record.headers)
                except UnknownSchema:
                    # A newer program may have registered it since. One look for the whole batch: what its
                    # writers used was registered before they wrote.
                    if not fresh:
                        await self._refresh_registry_surely()
                        fresh = True
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

    async def _refresh_registry_surely(self) -> None:
        """As `refresh_registry`, but wait for the broker: while it is away, no event is undecodable."""
        while True:
            try:
                return await self.refresh_registry()
            except BusError as error:
                if self._closed:
                    raise
                log.warning("a record waits for the registry: %s", error)
                await asyncio.sleep(0.5)

    def _decode_or_keep(self, record: ConsumerRecord) -> Event | Undecodable:
        try:
            return self.codec.decode(record.value, record.headers)
        except UndecodableRecord as error:
            return _kept(record, error)

    def _new_reader(self, position: Offsets) -> Reader:
        if self._closed:
            raise _bus_closed()
        reader = Reader(
            self.bootstrap, self.client_id, {self._raw(p): offset for p, offset in position.items()}
        )
        self._readers.add(reader)
        return reader

    async def _close_reader(self, reader: Reader) -> None:
        self._readers.discard(reader)
        await reader.close()

    def _positions(self, reader: Reader) -> dict[Partition, int]:
        return {self._partition(raw): offset for raw, offset in reader.position.items()}

    def _raw(self, partition: Partition) -> TopicPartition:
        return TopicPartition(f"{self.prefix}.{partition.topic}", partition.number)

    def _partition(self, raw: TopicPartition) -> Partition:
        return Partition(raw.topic[len(self.prefix) + 1 :], raw.partition)


def _bus_closed() -> BusError:
    return BusError("The bus has been closed already.", "Open a new one.")


def _kept(record: ConsumerRecord, error: MedbusError) -> Undecodable:
    return Undecodable(error=str(error), key=record.key, value=record.value, headers=tuple(record.headers))
