"""Closing is clean, whatever goes on: no task, no connection and no warning is left (see conftest)."""

import asyncio
import subprocess
import sys
import time

import pytest
from tests.bus.images import erased, numbers, write
from tests.bus.waiting import take, within

from medbus.bus import Bus, Start
from medbus.schemas.errors import BusError
from medbus.schemas.topics import IMAGES


async def test_a_bus_that_was_not_used(kafka: str, topics: str) -> None:
    async with Bus(kafka, prefix=topics):
        pass


async def test_everything_is_closed_with_the_bus(kafka: str, topics: str) -> None:
    async with Bus(kafka, prefix=topics) as bus:
        await write(bus, 2)
        one = bus.subscribe(IMAGES, start=Start.BEGINNING)
        await one.__aenter__()
        other = bus.subscribe(IMAGES)
        await other.__aenter__()
        assert numbers(await take(one, 2)) == [0, 1]
        replay = bus.replay(IMAGES, limit=1)
        await anext(replay)
    with pytest.raises(BusError, match="closed"):
        await one.poll()
    with pytest.raises(BusError, match="closed"):
        await anext(replay)
    with pytest.raises(BusError, match="closed"):
        await bus.end_offsets(IMAGES)
    with pytest.raises(BusError, match="closed"):
        async with bus.subscribe(IMAGES, start={}):
            pass


@pytest.mark.parametrize("pause", [0, 0.001, 0.005, 0.02, 0.05, 0.3])
async def test_a_cancelled_reader_closes(bus: Bus, pause: float) -> None:
    await write(bus, 100)

    async def read() -> None:
        async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
            async for _ in subscription:
                pass

    task = asyncio.create_task(read())
    await asyncio.sleep(pause)
    task.cancel()
    async with within(5, "the reader to end"):
        await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("pause", [0, 0.001, 0.005, 0.02, 0.05])
async def test_a_cancelled_publisher_closes(kafka: str, topics: str, pause: float) -> None:
    async def run() -> None:
        async with Bus(kafka, prefix=topics) as bus:
            await bus.publish_all([erased(number=number) for number in range(5000)])
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    await asyncio.sleep(0.15 + pause)
    task.cancel()
    async with within(10, "the publisher to end"):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_a_reader_that_is_slow_closes_at_once(bus: Bus) -> None:
    """Fetched records that nobody takes do not hold it up."""
    await bus.publish_all([erased(study=str(n), number=n, reason="x" * 1000) for n in range(3000)])
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        await subscription.poll(limit=1)
        await asyncio.sleep(0.5)
        started = time.monotonic()
    assert time.monotonic() - started < 2


async def test_an_error_in_the_body_passes(bus: Bus) -> None:
    with pytest.raises(ZeroDivisionError):
        async with bus.subscribe(IMAGES):
            raise ZeroDivisionError


PROGRAM = """
import asyncio, sys
from medbus.bus import Bus, Start
from medbus.schemas.topics import IMAGES
from tests.bus.images import erased

async def main(kafka, prefix):
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is no fault
    async with Bus(kafka, prefix=prefix) as bus:
        await bus.publish_all([erased(number=number) for number in range(300)])
        async for batch in bus.replay(IMAGES, limit=10):
            break
        async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
            await anext(subscription)
        reading = asyncio.create_task(read(bus))
        await asyncio.sleep(0.2)
        reading.cancel()

async def read(bus):
    async with bus.subscribe(IMAGES) as subscription:
        await anext(subscription)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_program_ends_without_a_warning(kafka: str, topics: str, tmp_path: object) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-X", "dev", "-c", PROGRAM, kafka, topics),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with within(60, "the program to end"):
        output, _ = await process.communicate()
    assert output.decode() == ""
    assert process.returncode == 0
