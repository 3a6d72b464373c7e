"""Which requests were cancelled lately."""

from collections import OrderedDict
from collections.abc import Container, Iterable
from typing import Final
from uuid import UUID

from medbus.bus import Bus, Start
from medbus.schemas.events import ProcessingCancelled
from medbus.schemas.topics import PROCESSING

REMEMBERED: Final = 10_000
"""Cancelled requests; those before them have been in the catalog for long."""

PACE_SECONDS: Final = 0.25
"""From one look at the log to the next."""


class Cancellations(Container[UUID]):
    """Requests that were cancelled since this began to follow the log."""

    def __init__(self) -> None:
        self._seen: OrderedDict[UUID, None] = OrderedDict()

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._seen

    def see(self, events: Iterable[object]) -> None:
        """Take note of cancellations among some events."""
        for event in events:
            if isinstance(event, ProcessingCancelled):
                self._seen[event.grant_id] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def follow(self, bus: Bus) -> None:
        """Look at the log for ever."""
        async with bus.subscribe(PROCESSING, start=Start.END, pace=PACE_SECONDS) as batches:
            async for batch in batches:
                self.see(record.event for record in batch)
