"""Starts the components of a service in stages, restarts what dies, stops all in the opposite order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from medbus.compose.component import Component
from medbus.schemas.errors import MedbusError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
CALM_SECONDS = 60.0
"""A component that ran this long before it died is restarted without a pause again."""


class Watcher(Protocol):
    """Is told of every change of a component's state."""

    def __call__(self, component: str, state: str, detail: str) -> None: ...


@dataclass
class Entry:
    """A component and what is known of it; the address is where it was last reached."""

    component: Component
    state: str = "waiting"
    detail: str = ""
    address: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    restarts: int = 0


class Supervisor:
    """Runs components until told to stop.

    Args:
        stages: components that start together, in the order of the stages; each is up before the next
            begins.
        watcher: told of every change.
    """

    def __init__(self, stages: Sequence[Sequence[Component]], watcher: Watcher) -> None:
        self._stages = [[Entry(component) for component in stage] for stage in stages]
        self.entries = [entry for stage in self._stages for entry in stage]
        self._watcher = watcher

    async def run(self, stop: asyncio.Event, up: Callable[[], None]) -> None:
        """Start all, call `up` when all are up, keep them up, and stop all when `stop` is set.

        Raises:
            MedbusError: a component did not come up the first time; all are stopped again.
        """
        watches: list[asyncio.Task[None]] = []
        stopping = asyncio.create_task(stop.wait())
        try:
            for stage in self._stages:
                if not await self._start_or_stop(stage, stopping):
                    return
                watches.extend(asyncio.create_task(self._keep_up(entry)) for entry in stage)
            up()
            await asyncio.wait([stopping, *watches], return_when=asyncio.FIRST_COMPLETED)
            for watch in watches:
                if watch.done():
                    watch.result()
        finally:
            stopping.cancel()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await self._stop_all()

    async def _start_or_stop(self, stage: Sequence[Entry], stopping: "asyncio.Task[object]") -> bool:
        starting = {asyncio.create_task(self._start(entry)) for entry in stage}
        waiting: set[asyncio.Task[Any]] = {stopping, *starting}
        try:
            while not stopping.done() and (waiting & starting):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done & starting:
                    each.result()
            return not stopping.done()
        finally:
            for each in starting:
                each.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def _start(self, entry: Entry) -> None:
        self._tell(entry, "starting", "")
        entry.address = await entry.component.start()
        self._tell(entry, "up", entry.address)

    async def _keep_up(self, entry: Entry) -> None:
        pause = FIRST_PAUSE
        while True:
            began = asyncio.get_running_loop().time()
            how = await entry.component.wait()
            entry.restarts += 1
            if asyncio.get_running_loop().time() - began > CALM_SECONDS:
                pause = FIRST_PAUSE
            while True:
                self._tell(entry, "restarting", f"{how}; next try in {pause:.1f} s")
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                try:
                    await self._start(entry)
                except MedbusError as error:
                    how = str(error)
                else:
                    break

    async def _stop_all(self) -> None:
        for stage in reversed(self._stages):
            await asyncio.gather(*(self._stop(entry) for entry in stage if entry.state != "waiting"))

    async def _stop(self, entry: Entry) -> None:
        self._tell(entry, "stopping", "")
        await entry.component.stop()
        self._tell(entry, "stopped", "")

    def _tell(self, entry: Entry, state: str, detail: str) -> None:
        entry.state, entry.detail, entry.since = state, detail, datetime.now(UTC)
        self._watcher(entry.component.name, state, detail)
