"""What projections need of the bus."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from medbus.bus import Partition, Position, Record
from medbus.schemas.events import Event
from medbus.schemas.topics import Topic

Offsets = Mapping[Partition, int]


class Log(Protocol):
    """The event log; `medbus.bus.Bus` is one."""

    def partitions(self, *topics: Topic) -> list[Partition]:
        """Every partition of the topics."""

    async def publish(self, event: Event) -> Position:
        """Write an event; returns when it is durable."""

    def subscribe(
        self, *topics: Topic, start: Offsets, pace: float = 0.0
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Record]]]:
        """Follow topics for ever from these offsets, with at least `pace` seconds between batches."""

    def replay(
        self, *topics: Topic, since: Offsets | None = None, until: Offsets | None = None
    ) -> AsyncIterator[list[Record]]:
        """Read from offsets, inclusive, to others, exclusive, or to where the log ends now."""

    async def first_offsets(self, *topics: Topic) -> dict[Partition, int]:
        """The first offset that the log holds, by partition."""

    async def end_offsets(self, *topics: Topic) -> dict[Partition, int]:
        """The offset that the next record will get, by partition."""
