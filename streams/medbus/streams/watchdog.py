"""Tells a processor that works from one that only lives.

A consumer can stop silently while its process goes on. The sign of life is that the committed offset
advances while the end of the log is ahead; where it does not, the process ends, and its supervisor starts
another one.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from medbus.bus import Bus, Partition
from medbus.schemas.errors import BusError, MedbusError
from medbus.schemas.topics import Topic
from medbus.streams import offsets

log = logging.getLogger(__name__)

EXIT_BLOCKED = 70
"""Exit code of a process that could not end in good order (EX_SOFTWARE)."""


class Stalled(MedbusError):
    """A processor does not get on although there is work."""


class Progress:
    """Notices partitions that stand still. Pure: the clock is an argument.

    Args:
        limit: seconds without progress that are too many.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._seen: dict[Partition, tuple[int, float]] = {}

    def observe(
        self, now: float, committed: Mapping[Partition, int], end: Mapping[Partition, int]
    ) -> tuple[Partition, ...]:
        """Take note of how far things are.

        Args:
            now: seconds of a monotonic clock.
            committed: next offset to handle; partitions that are not named stand at 0.
            end: end of the log, for the partitions that matter now; others are forgotten.

        Returns:
            The partitions that have work and have not advanced for longer than the limit.
        """
        seen: dict[Partition, tuple[int, float]] = {}
        for partition, last in end.items():
            offset = committed.get(partition, 0)
            if offset < last:
                before, since = self._seen.get(partition, (offset, now))
                seen[partition] = (offset, since if offset == before else now)
        self._seen = seen
        return tuple(p for p, (_, since) in sorted(seen.items()) if now - since > self.limit)


async def watch(
    bus: Bus, processor: str, topics: tuple[Topic, ...], assigned: Callable[[], set[Partition]], limit: float
) -> None:
    """Look again and again; returns never.

    A member without partitions looks at all of them, since then it may be that nobody has them.

    Args:
        bus: an open bus.
        processor: whose group it is.
        topics: what it reads.
        assigned: the partitions of this member now.
        limit: seconds without progress that are too many.

    Raises:
        Stalled: there is work and no progress.
    """
    progress = Progress(limit)
    while True:
        await asyncio.sleep(limit / 6)
        try:
            async with asyncio.timeout(limit):
                end = await bus.end_offsets(*topics)
                done = await offsets.committed(bus, processor, topics)
        except (BusError, TimeoutError) as error:
            log.warning("can't tell whether %s gets on: %s", processor, error)
            progress = Progress(limit)
            continue
        mine = assigned()
        stalled = progress.observe(
            time.monotonic(), done, {p: o for p, o in end.items() if p in mine or not mine}
        )
        if stalled:
            raise Stalled(
                f"{processor} has not advanced for {limit:g} s although there is work: "
                + ", ".join(f"{p} at {done.get(p, 0)} of {end[p]}" for p in stalled),
                "It is to be started again; if that does not help, look at its log for what it is busy with.",
            )


@contextmanager
def unblocked(limit: float, exit_process: Callable[[int], object] = os._exit) -> Iterator[None]:
    """End the process if the event loop is blocked for longer than a limit.

    Faust's consumer has a thread of its own: it would go on telling Kafka that all is well.

    Args:
        limit: seconds that the loop may be blocked.
        exit_process: what ends the process.
    """
    beat = time.monotonic()
    done = threading.Event()

    async def pulse() -> None:
        nonlocal beat
        while True:
            beat = time.monotonic()
            await asyncio.sleep(limit / 10)

    def guard() -> None:
        while not done.wait(limit / 10):
            if time.monotonic() - beat > limit:
                log.critical("the event loop has been blocked for %g s: the process ends", limit)
                exit_process(EXIT_BLOCKED)
                return

    task = asyncio.get_running_loop().create_task(pulse())
    threading.Thread(target=guard, name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        task.cancel()
