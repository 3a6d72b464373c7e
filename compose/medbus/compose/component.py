"""The parts that a service is made of, as its supervisor sees them."""

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Protocol

import msgspec

from medbus.schemas.errors import MedbusError

LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 3


class StartFailed(MedbusError):
    """A component did not come up."""


class Component(Protocol):
    """Something that is started, watched and stopped."""

    @property
    def name(self) -> str:
        """How it is called on the screen and in file names."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes while it runs."""
        ...

    async def start(self) -> str:
        """Bring it up and say where it can be reached. Raises MedbusError if it does not come up."""
        ...

    async def wait(self) -> str:
        """Return when it has died, and say how."""
        ...

    async def stop(self) -> None:
        """End it, in good order if it lets itself."""
        ...


class ProcessComponent:
    """A component that is a Python process of its own, with a log file of its own.

    Args:
        name: its name; the log is `logs/NAME.log`.
        arguments: what follows the Python interpreter.
        environment: asked at every start for what it finds in its environment beside ours.
        ready_file: where it writes a JSON object when it is ready; `address` in it is shown.
        logs: folder of the log files.
        inherited: asked at every start for the descriptors that it shares with us.
        start_seconds: how long it may take to be ready.
        stop_seconds: how long it may take to end.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        *,
        environment: Callable[[], Mapping[str, str]],
        ready_file: Path,
        logs: Path,
        inherited: Callable[[], Sequence[int]] = tuple,
        start_seconds: float = 60.0,
        stop_seconds: float = 15.0,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.environment = environment
        self.ready_file = ready_file
        self.inherited = inherited
        self.log_file = logs / f"{name}.log"
        self.start_seconds = start_seconds
        self.stop_seconds = stop_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._copy: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=15)

    @property
    def pids(self) -> tuple[int, ...]:
        process = self._process
        return (process.pid,) if process is not None and process.returncode is None else ()

    async def start(self) -> str:
        self.ready_file.unlink(missing_ok=True)
        self._last.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self.arguments,
            stdin=asyncio.subprocess.PIPE,  # the lifeline
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self.environment()},
            pass_fds=self.inherited(),
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops its children in order
        )
        self._copy = asyncio.create_task(self._copy_log(self._process))
        try:
            async with asyncio.timeout(self.start_seconds):
                return await self._ready(self._process)
        except TimeoutError:
            await self.stop()
            raise StartFailed(
                f"{self.name} was not ready after {self.start_seconds:.0f} s.{self._tail()}",
                f"See {self.log_file}.",
            ) from None

    async def wait(self) -> str:
        assert self._process is not None  # noqa: S101
        code = await self._process.wait()
        if self._copy is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._copy), timeout=2)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{how}{self._tail()}"

    async def stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), timeout=self.stop_seconds)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._copy is not None:
            await self._copy
        self.ready_file.unlink(missing_ok=True)

    async def _ready(self, process: asyncio.subprocess.Process) -> str:
        while True:
            if process.returncode is not None:
                raise StartFailed(f"{self.name} {await self.wait()}", f"See {self.log_file}.")
            if self.ready_file.exists():
                fields = msgspec.json.decode(self.ready_file.read_bytes(), type=dict[str, object])
                return str(fields.get("address", ""))
            await asyncio.sleep(0.02)

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        handler = RotatingFileHandler(self.log_file, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
        handler.setFormatter(logging.Formatter("%(message)s"))
        assert process.stdout is not None  # noqa: S101
        try:
            while line := await self._line(process.stdout):
                text = line.decode(errors="replace").rstrip()
                self._last.append(text)
                handler.emit(logging.makeLogRecord({"msg": text}))
        finally:
            handler.close()

    @staticmethod
    async def _line(stream: asyncio.StreamReader) -> bytes:
        try:
            return await stream.readline()
        except ValueError:  # longer than the reader's limit
            return await stream.read(65536)

    def _tail(self) -> str:
        return "; it said:\n  " + "\n  ".join(self._last) if self._last else ""
