"""A client that is started or stopped comes to a clean end, whatever happens meanwhile."""

import asyncio
import time

import pytest
from aiokafka.errors import KafkaConnectionError

from medbus.bus import settings
from medbus.bus.lifetime import start, stopped


class Client:
    """Notes what is done with it; each step takes its time."""

    def __init__(self, starting: float = 0.0, stopping: float = 0.0, error: Exception | None = None) -> None:
        self.notes: list[str] = []
        self._starting = starting
        self._stopping = stopping
        self._error = error

    async def start(self) -> None:
        await self._work("start", self._starting)
        if self._error:
            raise self._error

    async def stop(self) -> None:
        await self._work("stop", self._stopping)

    async def _work(self, name: str, seconds: float) -> None:
        self.notes.append(name)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.notes.append(f"{name} cancelled")
            raise
        self.notes.append(f"{name} done")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(settings, "CANCEL_SECONDS", 0.2)


async def test_a_client_that_starts_is_left_running() -> None:
    client = Client()
    await start(client.start, client.stop)
    assert client.notes == ["start", "start done"]


async def test_a_client_that_cannot_start_is_stopped() -> None:
    client = Client(error=KafkaConnectionError("no broker"))
    with pytest.raises(KafkaConnectionError, match="no broker"):
        await start(client.start, client.stop)
    assert client.notes == ["start", "start done", "stop", "stop done"]


async def cancelled_start(client: Client) -> float:
    task = asyncio.create_task(start(client.start, client.stop))
    await asyncio.sleep(0.02)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - began


async def test_a_start_that_is_cancelled_comes_through_first() -> None:
    """Cancelled in the midst of its first request, aiokafka would leave a connection open."""
    client = Client(starting=0.1)
    await cancelled_start(client)
    assert client.notes == ["start", "start done", "stop", "stop done"]


async def test_a_start_that_does_not_come_through_is_cancelled_in_the_end() -> None:
    client = Client(starting=60)
    assert await cancelled_start(client) < 1
    assert client.notes == ["start", "start cancelled", "stop", "stop done"]


async def test_a_stop_that_hangs_is_given_up() -> None:
    client = Client(stopping=60)
    began = time.monotonic()
    await stopped(client.stop)
    assert time.monotonic() - began < 1
    assert client.notes == ["stop", "stop cancelled"]


async def test_a_stop_that_is_cancelled_comes_to_its_end() -> None:
    client = Client(stopping=0.1)
    task = asyncio.create_task(stopped(client.stop))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.notes == ["stop", "stop done"]
