"""An event log in memory: as fast as property tests need it, and with the bus's semantics."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from medbus.bus import Partition, Position, Record, Undecodable
from medbus.projections.log import Offsets
from medbus.schemas.errors import OffsetOutOfRange
from medbus.schemas.events import DeadLettered, Event
from medbus.schemas.topics import TOPIC_OF, Topic

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryLog:
    """A log; every event arrives a second after the one before it.

    Args:
        partitions: of every topic.
        batch: records in a batch.
    """

    def __init__(self, partitions: int = 3, batch: int = 50) -> None:
        self.records: dict[Partition, list[Record]] = {}
        self.dead_letters: list[DeadLettered] = []
        self._partitions = partitions
        self._batch = batch
        self._arrived = 0
        self._news = asyncio.Event()
        self.pace: float | None = None
        """What the last subscription asked for; this log does not wait."""
        self.missing: dict[Partition, int] = {}
        """The first offset that is still there, where it is not 0."""

    def partition(self, event: Event) -> Partition:
        topic = TOPIC_OF[type(event)]
        return Partition(topic.name, zlib.crc32(topic.key(event).encode()) % self._partitions)

    def append(self, event: Event) -> Position:
        return self.put(self.partition(event), event)

    def extend(self, events: Iterable[Event]) -> None:
        for event in events:
            self.append(event)

    def put(self, partition: Partition, event: Event | Undecodable) -> Position:
        records = self.records.setdefault(partition, [])
        position = Position(partition, len(records))
        self._arrived += 1
        at = BEGIN + timedelta(seconds=self._arrived)
        records.append(Record(position=position, timestamp=at, event=event))
        self._news.set()
        return position

    def all(self) -> list[Record]:
        """All records, partition after partition."""
        return [record for _, records in sorted(self.records.items()) for record in records]

    def partitions(self, *topics: Topic) -> list[Partition]:
        return [Partition(topic.name, number) for topic in topics for number in range(self._partitions)]

    async def publish(self, event: Event) -> Position:
        if isinstance(event, DeadLettered):
            self.dead_letters.append(event)
        return self.append(event)

    async def first_offsets(self, *topics: Topic) -> dict[Partition, int]:
        return {partition: self.missing.get(partition, 0) for partition in self.partitions(*topics)}

    async def end_offsets(self, *topics: Topic) -> dict[Partition, int]:
        return {partition: len(self.records.get(partition, ())) for partition in self.partitions(*topics)}

    async def replay(
        self, *topics: Topic, since: Offsets | None = None, until: Offsets | None = None
    ) -> AsyncIterator[list[Record]]:
        ends = await self.end_offsets(*topics) | dict(until or {})
        for partition in self.partitions(*topics):
            begin = (since or {}).get(partition, 0)
            for batch in self._read(partition, begin, ends[partition]):
                yield batch
                await asyncio.sleep(0)

    @asynccontextmanager
    async def subscribe(
        self, *topics: Topic, start: Offsets, pace: float = 0.0
    ) -> AsyncIterator[AsyncIterator[list[Record]]]:
        self.pace = pace
        yield self._follow({partition: start.get(partition, 0) for partition in self.partitions(*topics)})

    async def _follow(self, at: dict[Partition, int]) -> AsyncIterator[list[Record]]:
        while True:
            self._news.clear()
            for partition, begin in list(at.items()):
                for batch in self._read(partition, begin, len(self.records.get(partition, ()))):
                    yield batch
                    at[partition] = batch[-1].position.offset + 1
            await self._news.wait()

    def _read(self, partition: Partition, begin: int, end: int) -> Sequence[list[Record]]:
        if begin < self.missing.get(partition, 0):
            raise OffsetOutOfRange(f"The log no longer holds {partition}@{begin}.")
        records = self.records.get(partition, [])[begin:end]
        return [records[at : at + self._batch] for at in range(0, len(records), self._batch)]
