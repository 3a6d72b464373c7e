"""Processes that do work items side by side, each of which may die without harm to the others."""

import asyncio
import logging
import multiprocessing
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Final, Self

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Blob, ItemPlanned
from medbus.streams.processing.serving import workshop
from medbus.streams.processing.serving.budget import Budget
from medbus.streams.processing.serving.outcome import Outcome, Trouble
from medbus.streams.processing.serving.workshop import READY, Task, Tools

log = logging.getLogger(__name__)

START_SECONDS: Final = 120.0
"""Of a process, on a machine that is busy."""

STOP_SECONDS: Final = 5.0
"""Of a process that was killed."""

RESULT: Final = 3
"""An input of 16 bits and its result of 32, in sizes of the input."""

EXPANSION: Final = 8
"""How much a compressed object may grow; where it grows more, arrays are spooled earlier."""

NATIVE: Final = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"))
"""Transfer syntaxes without compression."""

_context = multiprocessing.get_context("spawn")


class ItemFailed(MedbusError):
    """A work item can't be done."""


class StoreTrouble(MedbusError, OSError):
    """The blob store or the disk did not do its part; a moment later it may."""


class Died(Exception):
    """A process ended in the middle of an item.

    Args:
        code: its exit code; negative: the signal.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Overdue(Exception):
    """An item took longer than any may."""


class Again(Exception):
    """An item is to be tried once more, with nothing beside it."""


def always() -> bool:
    """An item is wanted whenever its turn comes."""
    return True


def need(item: ItemPlanned) -> int:
    """Bytes of arrays that an item needs, as far as its blobs tell."""

    def grown(blobs: Sequence[Blob]) -> int:
        return sum(each.size * (1 if each.transfer_syntax_uid in NATIVE else EXPANSION) for each in blobs)

    return grown(item.images) * RESULT + grown(item.masks)


class Pool:
    """Does work items, so many at once as there are processes, and as fit into the memory.

    Args:
        tools: of the processes; their memory is shared among all of them.
        processes: how many.
        seconds: after which an item is given up.
    """

    def __init__(self, tools: Tools, *, processes: int, seconds: float) -> None:
        self._seconds = seconds
        self._budget = Budget(tools.memory)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="pool")
        self._workers = [_Worker(tools) for _ in range(processes)]
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._running = 0

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(self._in_thread(each.start) for each in self._workers))
        except BaseException:
            await self.close()
            raise
        for each in self._workers:
            self._idle.put_nowait(each)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all processes, whatever they do: an item that is cut short is done again by whoever has it
        next."""
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in self._workers))
        await asyncio.to_thread(self._threads.shutdown)

    @property
    def busy(self) -> bool:
        """Whether an item is being done."""
        return self._running > 0

    @property
    def pids(self) -> list[int]:
        """The processes that are there."""
        return [each.pid for each in self._workers if each.pid is not None]

    async def run(self, item: ItemPlanned, wanted: Callable[[], bool] = always) -> Outcome | None:
        """Do an item; None if it was not wanted any more when its turn came.

        An item in whose middle a process dies, or that finds no memory, is done once more with nothing beside
        it: it may have been the victim of another one.

        Raises:
            ItemFailed: it can't be done.
            StoreTrouble: it may be done a moment later.
        """
        self._running += 1
        try:
            try:
                found = await self._tried(item, need(item), wanted)
            except Again:
                found = await self._tried(item, self._budget.total, wanted, last=True)
        finally:
            self._running -= 1
        if found is None or isinstance(found, Outcome):
            return found
        raise StoreTrouble(found.reason) if found.passing else ItemFailed(found.reason)

    async def _tried(
        self, item: ItemPlanned, memory: int, wanted: Callable[[], bool], *, last: bool = False
    ) -> Outcome | Trouble | None:
        async with self._budget.take(memory) as granted, self._worker() as worker:
            if not wanted():
                return None
            try:
                found: Outcome | Trouble = await self._in_thread(
                    worker.do, Task(item, granted), self._seconds
                )
            except Overdue:
                return Trouble(reason=f"It took longer than {self._seconds:g} s, and was given up.")
            except Died as error:
                log.warning(
                    "a process ended with %s doing item %d of %s", error.code, item.item, item.grant_id
                )
                if not last:
                    raise Again from None
                said = f"signal {-error.code}" if error.code is not None and error.code < 0 else error.code
                return Trouble(
                    reason=f"The process that did it died twice, with {said}. An image of it may be damaged, "
                    "or too large for the memory of this server."
                )
        if isinstance(found, Trouble) and found.memory:
            if not last:
                raise Again
            return Trouble(
                reason=f"It needs more than the {self._budget.total / 1024**2:.0f} MiB that this server has "
                "for pixels, and 1 GiB beside them. Process fewer images at once, or give the server more."
            )
        return found

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator["_Worker"]:
        worker = await self._idle.get()
        try:
            yield worker
        except asyncio.CancelledError:
            worker.kill()  # or its thread would wait for the end of the item
            raise
        finally:
            self._idle.put_nowait(worker)

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


class _Worker:
    """A process, started again when it is needed and not there. One thread at a time, but for `kill`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._current: tuple[SpawnProcess, Connection] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process; None if it is not there."""
        return None if self._current is None else self._current[0].pid

    def start(self) -> None:
        """Start the process, and wait until it can work.

        Raises:
            StoreTrouble: it can't.
        """
        ours, theirs = _context.Pipe()
        process = _context.Process(
            target=workshop.main, args=(theirs, self._tools), name="pixels", daemon=True
        )
        process.start()
        theirs.close()
        self._current = process, ours
        if self._closed:
            self.kill()
        try:
            said = self._received(process, ours, START_SECONDS)
        except (Died, Overdue):
            said = Trouble(reason="A process for image processing did not start.")
        if said != READY:
            self.kill()
            reason = said.reason if isinstance(said, Trouble) else f"A process said {said!r}."
            raise StoreTrouble(reason, "Look at what it wrote to standard error.")

    def do(self, task: Task, seconds: float) -> Outcome | Trouble:
        """Do an item.

        Raises:
            Died: the process did; the next item gets another one.
            Overdue: it took longer than so many seconds.
            StoreTrouble: there is no process, and none can be started.
        """
        for _ in range(2):
            if self._current is None:
                self.start()
            current = self._current
            if current is None:
                break  # closed meanwhile
            try:
                current[1].send(task)
            except OSError:
                # It died while it had nothing to do, which says nothing about this item.
                self._drop(current[0])
                continue
            found: Outcome | Trouble = self._received(*current, seconds)
            return found
        raise Died(None)

    def kill(self) -> None:
        """End the process; whoever waits for it hears of it."""
        current, self._current = self._current, None
        if current is not None:
            current[0].kill()

    def close(self) -> None:
        """End the process, and start no other one."""
        self._closed = True
        current = self._current
        self.kill()
        if current is not None:
            current[0].join(STOP_SECONDS)

    def _received(self, process: SpawnProcess, connection: Connection, seconds: float) -> Any:
        try:
            if connection.poll(seconds):
                return connection.recv()
        except (EOFError, OSError):
            process.join(STOP_SECONDS)
            self._drop(process)
            raise Died(process.exitcode) from None
        self._drop(process)
        raise Overdue

    def _drop(self, process: SpawnProcess) -> None:
        """End this process, and not one that was started since."""
        if self._current is not None and self._current[0] is process:
            self._current = None
        process.kill()
