"""No Java machine outlives the process that wanted it, and none dies before."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import psutil
import pytest
from tests.compose.kafka import topic
from tests.compose.kafka.conftest import processes_of

from medbus.compose.kafka import EmbeddedKafka

PARENT = Path(__file__).with_name("parent.py")
GONE_SECONDS = 8.0


async def start_parent(home: Path, *arguments: str) -> tuple[Process, str, int]:
    """Start a parent in a process group of its own; it, its broker's address and process id."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PARENT), str(home), *arguments), stdout=PIPE, start_new_session=True
    )
    assert parent.stdout
    address, pid = (await asyncio.wait_for(parent.stdout.readline(), 60)).split()
    return parent, address.decode(), int(pid)


async def wait_gone(home: Path, seconds: float = GONE_SECONDS) -> None:
    """Wait until no process works on the home."""
    async with asyncio.timeout(seconds):
        while processes_of(home):  # noqa: ASYNC110  other processes set no event
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
async def test_the_broker_goes_with_its_parent(home: Path, number: signal.Signals) -> None:
    parent, _, pid = await start_parent(home)
    assert psutil.pid_exists(pid)
    parent.send_signal(number)
    await asyncio.wait_for(parent.wait(), 10)
    await wait_gone(home)
    assert not psutil.pid_exists(pid)


async def test_a_successor_waits_for_the_broker_of_a_killed_parent(home: Path) -> None:
    parent, address, _ = await start_parent(home)
    await topic.create(address, "images")
    await topic.publish(address, "images", b"kept")
    parent.kill()
    await parent.wait()
    async with EmbeddedKafka(home) as successor:
        assert successor.bootstrap == address
        assert await topic.read(address, "images") == [b"kept"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
async def test_the_broker_goes_even_if_parent_and_guard_are_killed(home: Path) -> None:
    parent, _, pid = await start_parent(home)
    guard = psutil.Process(pid).parent()
    assert guard
    assert guard.ppid() == parent.pid
    parent.kill()
    guard.kill()
    await parent.wait()
    await wait_gone(home)


async def test_an_interrupt_at_the_terminal_leaves_the_broker_to_its_parent(home: Path) -> None:
    parent, address, _ = await start_parent(home, "drain")
    await topic.create(address, "drained")
    os.killpg(parent.pid, signal.SIGINT)
    assert await asyncio.wait_for(parent.wait(), 20) == 0
    await wait_gone(home)
    async with EmbeddedKafka(home) as kafka:
        assert await topic.read(kafka.bootstrap, "drained") == [b"after the interrupt"]


async def test_a_parent_that_is_killed_while_it_starts_leaves_nothing(home: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, str(PARENT), str(home), stdout=PIPE)
    async with asyncio.timeout(60):
        while not [line for line in processes_of(home) if "StorageTool" in line]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    parent.kill()
    await parent.wait()
    await wait_gone(home)
