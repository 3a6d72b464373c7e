"""Events that are written while work goes on."""

import asyncio
from collections.abc import Callable

from medbus.bus import Bus
from medbus.schemas.events import Event

FAREWELL = 5.0
"""Seconds for the log to take what was done, when this process is told to end."""


class Outbox:
    """Writes events without being waited for, until the end.

    Args:
        bus: an open bus.
        timeout: seconds to wait for the log at the end.
    """

    def __init__(self, bus: Bus, timeout: float) -> None:
        self._bus = bus
        self._timeout = timeout
        self._writing: set[asyncio.Task[None]] = set()

    def put(self, event: Event, written: Callable[[], None]) -> None:
        """Begin to write an event.

        Args:
            event: what is written.
            written: called when the log has it.
        """
        self._writing.add(asyncio.create_task(self._write(event, written)))

    async def close(self) -> None:
        """Wait until the log has all.

        Raises:
            TimeoutError: it does not answer.
            MedbusError: it does not take an event.
        """
        current = asyncio.current_task()
        ending = current is not None and current.cancelling() > 0
        try:
            # What arrived should be on the log, or it is sent again; but a process that ends can't wait long.
            async with asyncio.timeout(FAREWELL if ending else self._timeout):
                await asyncio.gather(*self._writing)
        finally:
            for each in self._writing:
                each.cancel()
            await asyncio.gather(*self._writing, return_exceptions=True)
            self._writing.clear()

    async def _write(self, event: Event, written: Callable[[], None]) -> None:
        await self._bus.publish(event)
        written()
