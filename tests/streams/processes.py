"""Worker processes for tests, and what they made of a script."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from medbus.bus import Bus, Record, Start
from medbus.schemas.events import ImageErased, Meta
from medbus.schemas.topics import DECISIONS, Topic

ROOT = Path(__file__).parents[2]
SCRIPT_WORKER = (str(Path(__file__).parent / "script_worker.py"),)


class Worker:
    """A process, and the lines that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._printed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def printed(self, text: str, within: float = 20.0) -> None:
        """Wait until the process has printed a line with this text."""
        try:
            async with asyncio.timeout(within), self._printed:
                await self._printed.wait_for(lambda: any(text in line for line in self.lines))
        except TimeoutError:
            raise AssertionError(f"no {text!r} within {within} s, but:\n" + self.output()) from None

    def output(self) -> str:
        return "\n".join(self.lines)

    async def end(self, number: signal.Signals, within: float) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return await self.ended(within)

    async def ended(self, within: float) -> int:
        """Wait for the end; returns the exit code."""
        try:
            async with asyncio.timeout(within):
                code = await self.process.wait()
                await self._reading
        except TimeoutError:
            raise AssertionError(f"still running after {within} s:\n" + self.output()) from None
        return code

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._printed:
                self.lines.append(line.decode().rstrip())
                self._printed.notify_all()


class Workers:
    """Starts worker processes and ends them all."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._workers: list[Worker] = []

    async def start(
        self, *options: str, program: Sequence[str] = SCRIPT_WORKER, ready: bool = True
    ) -> Worker:
        """Start one; returns when it has joined its group, if `ready`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            *("--bootstrap", self._bus.bootstrap, "--prefix", self._bus.prefix),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        worker = Worker(process)
        self._workers.append(worker)
        if ready:
            await worker.printed("ready")
        return worker

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close()


@asynccontextmanager
async def workers(bus: Bus) -> AsyncIterator[Workers]:
    made = Workers(bus)
    try:
        yield made
    finally:
        await made.close()


def scripted(reason: str, study: str = "1.2.3") -> ImageErased:
    """A record that makes the script worker do something. The same study means the same partition."""
    return ImageErased(
        meta=Meta.first(uuid4(), source="test", occurred_at=datetime.now(UTC)),
        study_instance_uid=study,
        sop_instance_uid=f"{study}.1",
        digest=str(uuid4()),
        reason=reason,
    )


async def records(bus: Bus, topic: Topic = DECISIONS, *, count: int, within: float = 20.0) -> list[Record]:
    """Wait until a topic has so many records; returns all of them."""
    found: list[Record] = []
    try:
        async with asyncio.timeout(within), bus.subscribe(topic, start=Start.BEGINNING) as batches:
            async for batch in batches:
                found.extend(batch)
                if len(found) >= count:
                    break
    except TimeoutError:
        raise AssertionError(f"{len(found)} of {count} records on {topic.name} after {within} s") from None
    return found


async def everything(bus: Bus, topic: Topic = DECISIONS) -> list[Record]:
    """All that a topic has now."""
    return [record async for batch in bus.replay(topic) for record in batch]
