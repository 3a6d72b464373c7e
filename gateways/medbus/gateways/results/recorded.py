"""What the log says was sent before this process began, so that only the rest is sent."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from medbus.bus import Bus
from medbus.gateways.results.errand import Errand
from medbus.projections.processing import Job
from medbus.schemas.events import Answer, Channel, DeliveryFailed, ImageDelivered
from medbus.schemas.topics import DELIVERIES

EARLIER = timedelta(minutes=1)
"""How much before the completion the log is read: brokers of other partitions have other clocks."""

_NOTHING: Mapping[UUID, str] = MappingProxyType({})


class Recorded:
    """Deliveries of results by C-STORE, read from the log once, when they are asked for.

    Args:
        bus: an open bus.
        unanswered: requests that were completed, but not answered, as this process began.
    """

    def __init__(self, bus: Bus, unanswered: Collection[Job]) -> None:
        self._bus = bus
        self._completed = {
            job.request_id: job.completed_at
            for job in unanswered
            if job.answer is Answer.C_STORE and job.completed_at is not None
        }
        self._found: dict[UUID, str] | None = None
        self._turn = asyncio.Lock()

    async def of(self, errand: Errand) -> Mapping[UUID, str]:
        """The reason by the id of each event; empty where the image was delivered.

        Raises:
            BusError: the log can't be read.
        """
        if errand.request_id not in self._completed:
            return _NOTHING
        async with self._turn:
            if self._found is None:
                self._found = await self._read(min(self._completed.values()) - EARLIER)
            return self._found

    async def _read(self, since: datetime) -> dict[UUID, str]:
        found: dict[UUID, str] = {}
        async for batch in self._bus.replay(DELIVERIES, since=since):
            for record in batch:
                match record.event:
                    case ImageDelivered(channel=Channel.C_STORE) as event if (
                        event.grant_id in self._completed
                    ):
                        found[event.meta.event_id] = ""
                    case DeliveryFailed(channel=Channel.C_STORE) as event if (
                        event.grant_id in self._completed
                    ):
                        found[event.meta.event_id] = event.reason
        return found
