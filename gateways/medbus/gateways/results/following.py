"""Hears on the log that there may be something to do, and that a contract ended."""

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self
from weakref import WeakSet

from medbus.bus import Bus, Partition, Position, Record, Subscription
from medbus.bus.client import Offsets
from medbus.gateways.grants import Grant
from medbus.schemas.events import (
    ContractCancelled,
    ProcessingCompleted,
    RequestAuthorized,
    ResultsKept,
    SubscriberContracted,
)
from medbus.schemas.topics import PROCESSING, SUBSCRIBERS

PACE = 0.05
"""Seconds from one look at the log to the next, while results pour in."""


class Following(AbstractAsyncContextManager["Following"]):
    """A subscription to processing and contracts.

    Args:
        bus: an open bus.
        known: where in the log of contracts the catalog stood, at least.

    Attributes:
        heard: set when a request was completed, or what was to be kept of one was.
    """

    def __init__(self, bus: Bus, *, known: Offsets) -> None:
        self._bus = bus
        self._known = known
        self._cancelled: set[str] = set()
        self._grants: WeakSet[Grant] = WeakSet()
        self._latest: dict[Partition, Position] = {}
        self._subscription: Subscription
        self.heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        start = await self._bus.end_offsets(PROCESSING, SUBSCRIBERS)
        for partition in self._bus.partitions(SUBSCRIBERS):
            start[partition] = min(start[partition], self._known.get(partition, start[partition]))
        subscription = self._bus.subscribe(PROCESSING, SUBSCRIBERS, start=start, pace=PACE)
        self._subscription = await subscription.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._subscription.__aexit__(kind, error, trace)

    async def run(self) -> None:
        """Follow for ever.

        Raises:
            MedbusError: the log can't be followed any more.
        """
        async for records in self._subscription:
            for record in records:
                self._take_up(record)

    def cancelled(self, subscriber: str) -> bool:
        """Whether a contract was cancelled, and no new one made, that the catalog may still show."""
        return subscriber in self._cancelled

    def grant(self, decision: RequestAuthorized) -> Grant:
        """A grant that ends with its subscriber's contract."""
        grant = Grant(decision)
        grant.ended = self.cancelled(decision.subscriber)
        self._grants.add(grant)
        return grant

    def latest(self) -> list[Position]:
        """What the catalog must have taken up to show all that was heard; `heard` begins anew."""
        latest = list(self._latest.values())
        self._latest.clear()
        self.heard.clear()
        return latest

    def _take_up(self, record: Record) -> None:
        match record.event:
            case ProcessingCompleted() | ResultsKept():
                self._latest[record.position.partition] = record.position
                self.heard.set()
            case SubscriberContracted() as event:
                self._cancelled.discard(event.subscriber)
            case ContractCancelled() as event:
                self._cancelled.add(event.subscriber)
                for grant in self._grants:
                    if grant.subscriber == event.subscriber:
                        grant.ended = True
