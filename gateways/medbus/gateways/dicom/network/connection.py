"""A TCP connection, plain or under TLS, on the event loop; bytes go in and out without being copied here."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final

Buffer = bytes | bytearray | memoryview

_BUFFERS_AT_ONCE: Final = 512
"""Buffers for one sendmsg; the kernel takes at most 1,024."""

_RECORD: Final = 64 * 1024
"""Bytes handed to TLS at once; it copies them anyway, and makes records of 16 KiB."""

_FAIR: Final = 4 * 1024 * 1024
"""Bytes after which other associations get their turn although more has come."""


class Connection:
    """One connection; one coroutine reads, and one at a time writes.

    Waiting costs no timer of its own: one alarm for each connection looks whether the reader waits too long.

    Args:
        connected: a connected socket; this object closes it.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._descriptor = connected.fileno()
        self._encrypted = isinstance(connected, ssl.SSLSocket)
        self._loop = asyncio.get_running_loop()
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._watched = False
        self._alarm: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._run = 0
        self.closed = False
        self.sending = False
        """Whether something is half on the wire."""

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate (DER), where it showed one."""
        if isinstance(self._socket, ssl.SSLSocket):
            return self._socket.getpeercert(binary_form=True)
        return None

    async def handshake(self) -> None:
        """Agree on TLS; nothing to do for a plain connection.

        Raises:
            OSError: it failed.
        """
        if not isinstance(self._socket, ssl.SSLSocket):
            return
        while True:
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                await self._readable(None)
            except ssl.SSLWantWriteError:
                await self._writable(None)
            else:
                return

    async def receive_into(self, view: memoryview, timeout: float | None) -> int:  # noqa: ASYNC109
        """Wait for bytes; how many came, 0 at the end.

        Args:
            view: where to put them.
            timeout: seconds.

        Raises:
            TimeoutError: nothing came.
            OSError: the connection broke.
        """
        while True:
            try:
                count = self._socket.recv_into(view)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._readable(timeout)
            except ssl.SSLWantWriteError:
                await self._writable(timeout)
            else:
                self._run += count
                if self._run > _FAIR:
                    self._run = 0
                    await asyncio.sleep(0)
                return count

    async def send(self, buffers: Sequence[Buffer], timeout: float | None) -> None:  # noqa: ASYNC109
        """Send all of it.

        Cancelled half-way, it closes the connection: what is on the wire can be completed by nobody else.

        Args:
            buffers: what to send; they must stay as they are until this returns.
            timeout: seconds without any progress.

        Raises:
            TimeoutError: the peer takes nothing.
            OSError: the connection broke.
        """
        self.sending = True
        try:
            if self._encrypted:
                for record in _records(buffers):
                    await self._send(record, timeout)
                return
            left = [*buffers]
            while left:
                try:
                    sent = self._socket.sendmsg(left[:_BUFFERS_AT_ONCE])
                except BlockingIOError:
                    await self._writable(timeout)
                else:
                    _drop(left, sent)
        except BaseException:
            self.close()
            raise
        finally:
            self.sending = False

    async def _send(self, record: Buffer, timeout: float | None) -> None:  # noqa: ASYNC109
        view = memoryview(record)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except ssl.SSLWantReadError:
                # The reader takes what comes; this looks again when there is room.
                await self._writable(timeout)
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._writable(timeout)

    def send_now(self, data: bytes) -> bool:
        """Send a few bytes if that is possible without waiting, and with nothing else half on the wire."""
        if self.sending or self.closed:
            return False
        try:
            return self._socket.send(data) == len(data)
        except OSError:
            return False

    def nudge(self) -> None:
        """Let the reader look at its clock: it gets a TimeoutError before its time."""
        if self._reading is not None:
            _give_up(self._reading)

    def close(self) -> None:
        """Close it; whoever waits for it is told. May be called again."""
        if self.closed:
            return
        self.closed = True
        if self._watched:
            self._loop.remove_reader(self._descriptor)
        if self._writing is not None:
            self._loop.remove_writer(self._descriptor)
        if self._alarm is not None:
            self._alarm.cancel()
        for waiting in (self._reading, self._writing):
            if waiting is not None and not waiting.done():
                waiting.set_exception(ConnectionAbortedError("the connection was closed"))
        with contextlib.suppress(OSError):
            self._socket.close()

    async def _readable(self, timeout: float | None) -> None:  # noqa: ASYNC109
        self._check()
        self._run = 0
        reading = self._reading = self._loop.create_future()
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._descriptor, self._on_readable)
        if timeout is not None:
            self._set_alarm(self._loop.time() + timeout)
        try:
            await reading
        finally:
            self._reading = None
            self._deadline = 0.0

    def _on_readable(self) -> None:
        reading = self._reading
        if reading is None:  # nobody reads now: ask again when somebody does
            self._watched = False
            self._loop.remove_reader(self._descriptor)
        elif not reading.done():
            reading.set_result(None)

    async def _writable(self, timeout: float | None) -> None:  # noqa: ASYNC109
        self._check()
        writing = self._writing = self._loop.create_future()
        self._loop.add_writer(self._descriptor, self._on_writable)
        alarm = None
        if timeout is not None:
            alarm = self._loop.call_later(timeout, _give_up, writing)
        try:
            await writing
        finally:
            if alarm is not None:
                alarm.cancel()
            if self._writing is writing:
                self._writing = None
                if not self.closed:
                    self._loop.remove_writer(self._descriptor)

    def _on_writable(self) -> None:
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)

    def _check(self) -> None:
        if self.closed:
            raise ConnectionAbortedError("the connection is closed")

    def _set_alarm(self, deadline: float) -> None:
        self._deadline = deadline
        if self._alarm is not None:
            if self._alarm.when() <= deadline:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if not self._deadline:
            return
        if self._loop.time() < self._deadline:
            self._set_alarm(self._deadline)
        elif self._reading is not None:
            _give_up(self._reading)


def _give_up(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError("the peer is silent"))


def _drop(buffers: list[Buffer], count: int) -> None:
    """Remove so many bytes from the front."""
    whole = 0
    for buffer in buffers:
        if count < len(buffer):
            break
        count -= len(buffer)
        whole += 1
    del buffers[:whole]
    if count:
        buffers[0] = memoryview(buffers[0])[count:]


def _records(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """The same bytes in fewer pieces: each that is handed to TLS becomes a record of its own."""
    collected: list[Buffer] = []
    size = 0
    for buffer in buffers:
        collected.append(buffer)
        size += len(buffer)
        if size >= _RECORD:
            yield b"".join(collected) if len(collected) > 1 else buffer
            collected, size = [], 0
    if collected:
        yield b"".join(collected)
