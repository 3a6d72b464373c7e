"""A broker of one's own, to stop, to kill and to hang."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from medbus.compose.kafka import EmbeddedKafka

R = TypeVar("R")


class Broker:
    """An embedded broker with a thread of its own: it outlives the event loops of the tests that use it."""

    def __init__(self, kafka: EmbeddedKafka, loop: asyncio.AbstractEventLoop) -> None:
        self._kafka = kafka
        self._loop = loop

    @property
    def bootstrap(self) -> str:
        return self._kafka.bootstrap

    async def restart(self) -> None:
        """Stop it in order, and start it."""
        await self._run(self._kafka.stop())
        await self.start()

    async def kill(self) -> None:
        """SIGKILL, as a crash or the kernel would."""
        os.kill(self._pid, signal.SIGKILL)
        await self._run(self._kafka.wait_dead())

    async def start(self) -> None:
        """Start it, if it does not run."""
        await self._run(self._kafka.start())

    async def kill_and_start(self) -> None:
        await self.kill()
        await self.start()

    async def hang(self, seconds: float = 3) -> None:
        """Connections stay open, and nothing is answered."""
        os.kill(self._pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        assert self._kafka.pid is not None
        return self._kafka.pid

    async def _run(self, work: Coroutine[Any, Any, R]) -> R:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


@contextmanager
def own_broker(home: Path) -> Iterator[Broker]:
    """A broker that runs while inside."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    kafka = EmbeddedKafka(home)
    try:
        asyncio.run_coroutine_threadsafe(kafka.start(), loop).result(90)
        yield Broker(kafka, loop)
    finally:
        asyncio.run_coroutine_threadsafe(kafka.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
