"""Following topics for ever."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Self

from medbus.bus import settings
from medbus.bus.reader import RawBatch, Reader
from medbus.bus.record import Partition, Record
from medbus.schemas.topics import Topic

if TYPE_CHECKING:
    from medbus.bus.client import Bus


class Start(Enum):
    """Where to begin to follow a topic."""

    BEGINNING = "beginning"
    END = "end"


class Subscription(AbstractAsyncContextManager["Subscription"]):
    """Batches of records of some topics, for ever: an asynchronous iterator, made by `Bus.subscribe`."""

    def __init__(
        self,
        bus: "Bus",
        topics: Sequence[Topic],
        start: Mapping[Partition, int] | Start,
        pace: float = 0.0,
    ) -> None:
        self._bus = bus
        self._topics = topics
        self._start = start
        self._pace = pace
        self._not_before = 0.0  # when the log is asked again, at the earliest
        self._quickened = asyncio.Event()
        self._reader: Reader
        self._position: dict[Partition, int] = {}
        self._fetched: RawBatch | None = None

    async def __aenter__(self) -> Self:
        bus = self._bus
        if self._start is Start.END:
            self._position = await bus.end_offsets(*self._topics)
        elif self._start is Start.BEGINNING:
            self._position = await bus.first_offsets(*self._topics)
        else:
            self._position = {p: self._start.get(p, 0) for p in bus.partitions(*self._topics)}
        self._reader = bus._new_reader(self._position)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._bus._close_reader(self._reader)

    @property
    def position(self) -> dict[Partition, int]:
        """The offset of the next record to read, for each partition."""
        return dict(self._position)

    @property
    def pace(self) -> float:
        """Seconds from one batch to the next, at least; see `Bus.subscribe`. What is set counts at once."""
        return self._pace

    @pace.setter
    def pace(self, seconds: float) -> None:
        if seconds < self._pace:
            self._not_before = 0.0
            self._quickened.set()
        self._pace = seconds

    async def caught_up(self) -> bool:
        """Whether everything that the log holds now has been read: by offsets, never by counting.

        Raises:
            BusError: the broker does not tell.
        """
        ends = await self._bus.end_offsets(*self._topics)
        return all(self._position[partition] >= end for partition, end in ends.items())

    async def poll(self, wait: float = 1.0, limit: int = settings.BATCH_RECORDS) -> list[Record]:
        """The next batch; empty if nothing came within `wait` seconds.

        May be cancelled: no record is lost by it, so a time limit may be put around it.

        Raises:
            OffsetOutOfRange: the log does not hold the offset at which reading was to go on.
            BusError: the subscription or the bus is closed.
        """
        if self._fetched is None:
            self._quickened.clear()
            if (early := self._not_before - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._quickened.wait(), early)
            self._fetched = await self._reader.poll(wait=wait, limit=limit, hold=self._pace > 0)
            if 0 < sum(map(len, self._fetched.values())) < limit:  # after a full batch there is more
                self._not_before = time.monotonic() + self._pace
        records = await self._bus._decode(self._fetched)
        self._fetched = None
        self._position = self._bus._positions(self._reader)
        return records

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Record]:
        while True:
            if batch := await self.poll():
                return batch
