"""A data set on its way in: bounded in memory, whatever its size."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from medbus.schemas.errors import MedbusError

WINDOW = 8 * 1024 * 1024
"""Bytes that may wait to be taken; while there are more, nothing is read from the network."""

EARLY = 1024 * 1024
"""Bytes after which the handler is called although more is to come; smaller data sets are given whole."""


class CutShort(MedbusError):
    """The peer left in the middle of a data set."""


class Inflow:
    """Chunks of one data set, from the thread that reads the network to whoever takes them.

    Args:
        alive: whether the peer is still there.
        patience: seconds for the taker to take something; after that the data set is cut short.
    """

    def __init__(self, alive: Callable[[], bool], patience: float) -> None:
        self._alive = alive
        self._patience = patience
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._notify: Callable[[], None] | None = None
        self._complete = False
        self._dropped = False
        self.size = 0
        """Bytes that have come."""

    def put(self, chunk: bytes) -> None:
        """Add a chunk; waits while there are too many bytes.

        Raises:
            CutShort: nobody takes them.
        """
        with self._changed:
            end = time.monotonic() + self._patience
            while self._waiting > WINDOW and not self._dropped:
                if not self._changed.wait(1.0) and time.monotonic() > end:
                    raise CutShort("Nothing takes the data set.")
            self.size += len(chunk)
            if not self._dropped:
                self._chunks.append(chunk)
                self._waiting += len(chunk)
                self._tell()

    def finish(self) -> None:
        """The last chunk has come."""
        with self._changed:
            self._complete = True
            self._tell()

    @property
    def complete(self) -> bool:
        """Whether the last chunk has come."""
        return self._complete

    def drain(self) -> None:
        """Let the rest come and be forgotten: a response must not stand before the end of its request."""
        with self._changed:
            self._dropped = True
            self._chunks.clear()
            self._waiting = 0
            self._changed.notify_all()
            while not self._complete and self._alive():
                self._changed.wait(0.5)

    def drop(self) -> None:
        """Take no more: what still comes is thrown away."""
        with self._changed:
            self._dropped = True
            self._chunks.clear()
            self._waiting = 0
            self._tell()

    def __iter__(self) -> Iterator[bytes]:
        """The chunks, for a thread.

        Raises:
            CutShort: the peer left before the last one.
        """
        while True:
            with self._changed:
                while not self._chunks and not self._complete:
                    if not self._changed.wait(0.5) and not self._alive():
                        raise CutShort("The peer left in the middle of a data set.")
                chunks, done = self._take()
            yield from chunks
            if done:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, for a coroutine.

        Raises:
            CutShort: the peer left before the last one.
        """
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def notify() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._notify = notify
        while True:
            with self._changed:
                changed.clear()
                chunks, done = self._take()
            if chunks:
                yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if done:
                return
            if not chunks:
                try:
                    await asyncio.wait_for(changed.wait(), 0.5)
                except TimeoutError:
                    if not self._alive():
                        raise CutShort("The peer left in the middle of a data set.") from None

    def _take(self) -> tuple[list[bytes], bool]:
        chunks = list(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        self._changed.notify_all()
        return chunks, self._complete

    def _tell(self) -> None:
        self._changed.notify_all()
        if self._notify is not None:
            self._notify()
