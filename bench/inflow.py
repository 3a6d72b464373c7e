"""PDUs as they come out of a socket, as cheap as it can be: one large buffer, few system calls, no copies."""

import socket
import struct

from medbus.schemas.errors import MedbusError

SIZE = 1 << 20
"""Of the buffer: many PDUs come in at one call."""


class PeerFailed(MedbusError):
    """A server refused, closed the connection, or answered what it must not."""


class Inflow:
    """Everything that a connection brings.

    Args:
        connection: a blocking socket; its timeout is that of every wait.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(SIZE))
        self._start = 0
        self._end = 0

    def receive(self) -> tuple[int, memoryview]:
        """Type and body of the next PDU; the body is good until the next call.

        Raises:
            PeerFailed: the connection was closed.
        """
        needed = 6
        while True:
            if self._end - self._start >= needed:
                kind, length = struct.unpack_from(">BxI", self._buffer, self._start)
                needed = 6 + length
                if self._end - self._start >= needed:
                    body = self._buffer[self._start + 6 : self._start + needed]
                    self._start += needed
                    return kind, body
            self._fill(needed)

    def _fill(self, needed: int) -> None:
        waiting = self._end - self._start
        if not waiting:
            self._start = self._end = 0
        if self._start + needed > len(self._buffer):
            roomier = self._buffer if needed <= SIZE else memoryview(bytearray(needed))
            roomier[:waiting] = self._buffer[self._start : self._end]
            self._buffer, self._start, self._end = roomier, 0, waiting
        count = self._connection.recv_into(self._buffer[self._end :])
        if not count:
            raise PeerFailed("The peer closed the connection.")
        self._end += count
