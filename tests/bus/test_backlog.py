"""However much waits in the log, a reader needs little memory for it."""

import asyncio
import json
import subprocess
import sys

import psutil
from tests.bus.images import erased
from tests.bus.waiting import within

from medbus.bus import Bus, Start
from medbus.schemas.topics import IMAGES

MIB = 1024 * 1024
EVENT_BYTES = 128 * 1024
EVENTS = 1600
"""200 MiB in all."""

MOST_GROWTH = 64 * MIB
"""One MiB for each of eight partitions is fetched ahead; the rest is air."""


async def read_all(kafka: str, prefix: str) -> None:
    """The reader, run in a process of its own: says how many events came, and by how much it grew."""
    seen: set[str] = set()
    async with Bus(kafka, prefix=prefix) as bus, bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        process = psutil.Process()
        before = most = process.memory_info().rss
        seen |= {str(record.position) for record in await anext(subscription)}
        await asyncio.sleep(1)  # time to fetch ahead without bound, if there were none
        while not await subscription.caught_up():
            most = max(most, process.memory_info().rss)
            seen |= {str(record.position) for record in await subscription.poll()}
            await asyncio.sleep(0.002)
    print(json.dumps({"events": len(seen), "grown": most - before}))


async def test_a_large_backlog_does_not_grow_memory(bus: Bus, kafka: str) -> None:
    for start in range(0, EVENTS, 200):
        await bus.publish_all(
            [
                erased(study=str(number), number=number, reason="x" * EVENT_BYTES)
                for number in range(start, start + 200)
            ]
        )
    program = (
        f"import asyncio; from {__name__} import read_all; asyncio.run(read_all(*{(kafka, bus.prefix)!r}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with within(60, "the reader to end"):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    result = json.loads(output)
    assert result["events"] == EVENTS
    assert result["grown"] < MOST_GROWTH
