"""A process under the guard's watch, seen from the parent."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from medbus.compose.kafka import guard
from medbus.compose.kafka.errors import BrokerError

GUARD_SECONDS = 20.0
"""More than the guard itself takes to start its command, and to end after it."""


class GuardedProcess:
    """A command that ends with its parent, however that ends (see :mod:`medbus.compose.kafka.guard`).

    It runs in a session of its own: a Ctrl-C at the terminal reaches the parent alone, which may need it yet.
    """

    def __init__(self, guardian: asyncio.subprocess.Process, pid: int, grace: float) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._guard = guardian
        self._grace = grace
        self._dead = asyncio.Event()
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)
        self._watcher = asyncio.create_task(self._watch())

    @classmethod
    async def start(
        cls,
        command: Sequence[str | Path],
        *,
        output: Path,
        grace: float,
        keep_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "GuardedProcess":
        """Run a command.

        Args:
            command: program and arguments.
            output: file that gets what the command prints; what was in it is lost.
            grace: seconds between the request to end and the kill.
            keep_fds: file descriptors that stay open in the command and its guard.
            environment: the command's environment; this process's if not given.

        Raises:
            BrokerError: the program can't be run.
        """
        with output.open("wb") as stream:
            guardian = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__),
                *(str(os.getpid()), str(grace), ",".join(map(str, keep_fds)) or "-"),
                *map(str, command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stream,
                start_new_session=True,
                pass_fds=tuple(keep_fds),
                env=environment,
            )
        try:
            pid = await read_pid(guardian)
        except BaseException:
            await dismiss(guardian, grace + GUARD_SECONDS)
            raise
        return cls(guardian, pid, grace)

    async def wait(self) -> int:
        """Wait for the end of the command; its exit code, negative for a signal."""
        await self._dead.wait()
        assert self.returncode is not None  # noqa: S101  set before the event
        return self.returncode

    async def stop(self) -> int:
        """Ask the command to end, and kill it if it has not within the grace."""
        stdin = self._guard.stdin
        assert stdin is not None  # noqa: S101  asked for at the start
        if self.returncode is None:
            with contextlib.suppress(ConnectionError):
                stdin.write(b"stop\n")
                await stdin.drain()
            try:
                await asyncio.wait_for(self.wait(), self._grace + GUARD_SECONDS)
            except TimeoutError:
                # The guard itself hangs. The watcher sees its end, and to the command.
                with contextlib.suppress(ProcessLookupError):
                    self._guard.kill()
        return await self.wait()

    async def _watch(self) -> None:
        assert self._guard.stdout is not None  # noqa: S101  asked for at the start
        word, _, rest = (await self._guard.stdout.readline()).partition(b" ")
        if word == b"exit":
            code = int(rest)
        else:
            await self._end_orphan()
            code = -9
        await bury(self._guard)
        self.returncode = code
        self._dead.set()

    async def _end_orphan(self) -> None:
        """The guard was killed. Linux has killed the command with it; elsewhere it is for us to do."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        # A process that nobody has buried yet (in a container without an init) holds nothing any more.
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def dismiss(guardian: asyncio.subprocess.Process, seconds: float) -> None:
    """Have a guard end its command, if it runs yet, and then itself; kill it if it takes too long."""
    if guardian.stdin:
        guardian.stdin.close()
    try:
        await asyncio.wait_for(guardian.wait(), seconds)
    except TimeoutError:
        guardian.kill()
    await bury(guardian)


async def bury(guardian: asyncio.subprocess.Process) -> None:
    """Wait for the end of a guard that is ending, and close our end of its input."""
    await guardian.wait()
    if guardian.stdin:
        guardian.stdin.close()
        with contextlib.suppress(ConnectionError):
            await guardian.stdin.wait_closed()


async def read_pid(guardian: asyncio.subprocess.Process) -> int:
    """The process id of the command, as its guard says it.

    Raises:
        BrokerError: the guard could not run the command, or does not say so in time.
    """
    assert guardian.stdout is not None  # noqa: S101  asked for at the start
    line = b""
    with contextlib.suppress(TimeoutError):
        line = await asyncio.wait_for(guardian.stdout.readline(), GUARD_SECONDS)
    word, _, rest = line.partition(b" ")
    if word != b"pid":
        reason = rest.decode(errors="replace").strip() or "its guard says nothing"
        raise BrokerError(f"The broker's Java can't be run: {reason}.", "Install medbus[server] again.")
    return int(rest)
