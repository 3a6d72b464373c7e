"""One broker at a time on one home."""

import asyncio
import contextlib
import fcntl
import os
import time
from pathlib import Path

from medbus.compose.kafka.errors import HomeInUse

POLL_SECONDS = 0.05


class HomeLock:
    """Two locks of the operating system, which it lets go of when their holders are gone, even by SIGKILL.

    The *owner* lock is held by this process alone: whoever finds it taken is a second instance. The *broker*
    lock's descriptor is inherited by the guard and the Java machine, so it is held until the last of them has
    ended: whoever finds only that one taken follows an owner that has died, and waits for its broker to end.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._owner: int | None = None
        self._broker: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object has the home."""
        return self._broker is not None

    @property
    def broker_fd(self) -> int:
        """The descriptor that the broker's process has to inherit."""
        if self._broker is None:
            raise RuntimeError("the home is not locked")
        return self._broker

    async def acquire(self, patience: float) -> None:
        """Take the home.

        Args:
            patience: seconds to wait for the broker of an owner that has died.

        Raises:
            HomeInUse: another process has it, or the broker of an earlier one does not end.
        """
        try:
            self._take_owner()
            await self._take_broker(patience)
        except BaseException:
            self.release()
            raise

    def _take_owner(self) -> None:
        self._owner = self._open("owner.lock")
        if not lock(self._owner):
            raise HomeInUse(
                f"Another medbus process{read_pid(self._owner)} already runs a Kafka broker in {self._root}.",
                "Use that one, stop it, or choose another home folder.",
            )
        self.write_pid(os.getpid())

    async def _take_broker(self, patience: float) -> None:
        self._broker = self._open("broker.lock")
        deadline = time.monotonic() + patience
        while not lock(self._broker):
            if time.monotonic() > deadline:
                holder = read_pid(self._broker)
                raise HomeInUse(
                    f"The Kafka broker{holder} of an earlier medbus still works in {self._root}.",
                    "Wait until it has ended, or end that process.",
                )
            await asyncio.sleep(POLL_SECONDS)

    def write_pid(self, pid: int, *, broker: bool = False) -> None:
        """Leave a process id in the owner's or the broker's lock file, for the messages of others."""
        fd = self._broker if broker else self._owner
        if fd is not None:
            os.truncate(fd, 0)
            os.pwrite(fd, f"{pid}\n".encode(), 0)

    def release(self) -> None:
        """Let the home go, as far as this process is concerned."""
        for fd in (self._broker, self._owner):
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._broker = self._owner = None

    def _open(self, name: str) -> int:
        return os.open(self._root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def lock(fd: int) -> bool:
    """Try to lock an open file (flock(2)); whether that was possible."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_pid(fd: int) -> str:
    """The process id that the holder has left: `` (process 12)``, or nothing."""
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(os.pread(fd, 32, 0))})"
    return ""
