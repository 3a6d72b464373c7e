"""pynetdicom's socket and upper layer provider, without their waits.

pynetdicom sleeps 1 ms between looks at its queues and reads 4,096 bytes at a time. Here the provider's
thread sleeps in one poll of socket and wake-up pipe, and reads a PDU in as few calls as it takes. Reading and
writing have deadlines, so that a peer that stops in the middle of a PDU does not keep two threads for ever.
"""

import contextlib
import logging
import queue
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AddressInformation, AssociationSocket

log = logging.getLogger(__name__)

LONGEST_PDU = 16 * 1024 * 1024
LONGEST_ACSE_PDU = 1024 * 1024
"""Bytes: a longer one is no PDU of a peer that means well. The second holds until an association stands."""

_POLL_MS = 250
"""How often timers are looked at when nothing happens."""


class Transport(AssociationSocket):
    """A connection to a peer.

    Args:
        assoc: the association that it carries.
        client_socket: the accepted socket; for an acceptor.
        address: the local address to bind to; for a requestor.
    """

    def __init__(
        self,
        assoc: Association,
        client_socket: socket.socket | None = None,
        address: AddressInformation | None = None,
    ) -> None:
        super().__init__(assoc, client_socket=client_socket, address=address)
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._poll: select.poll | None = None

    def _create_socket(self, *arguments: Any) -> socket.socket:
        created: socket.socket = super()._create_socket(*arguments)
        # A message is several small writes, and each is waited for.
        created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return created

    def wake(self) -> None:
        """Let the provider's thread look at its queues now; any thread may call it."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody is left to wake
            self._wake_out.send(b"\0")

    def hang_up(self) -> None:
        """Close the connection for both sides; the provider's thread notices."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Give the wake-up pipe back; the association is over."""
        self._wake_out.close()
        self._wake_in.close()

    @property
    def ready(self) -> bool:
        """Whether there is something to read. Waits a little if not, until there is or `wake` is called."""
        connection = self.socket
        if connection is None or not self._is_connected:
            time.sleep(0.001)
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        try:
            if self._poll is None:
                self._poll = select.poll()
                self._poll.register(connection, select.POLLIN)
                self._poll.register(self._wake_in, select.POLLIN)
            wait = _POLL_MS if self.event_queue.empty() else 0
            readable = {fd for fd, _ in self._poll.poll(wait)}
            if self._wake_in.fileno() in readable:
                self._wake_in.recv(4096)
            if connection.fileno() >= 0:
                return connection.fileno() in readable
        except (OSError, ValueError) as error:
            log.debug("the connection can't be polled: %s", error)
        # Another thread closed it.
        self.event_queue.put("Evt17")
        return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read that many bytes, or fewer if the peer closes the connection.

        Raises:
            OSError: the peer took too long, or the PDU is longer than any real one.
        """
        established = self.assoc.is_established
        if nr_bytes > (LONGEST_PDU if established else LONGEST_ACSE_PDU):
            raise OSError(f"a PDU of {nr_bytes} bytes was announced")
        patience = self.assoc.network_timeout if established else self.assoc.acse_timeout
        end = None if patience is None else time.monotonic() + patience
        buffer = bytearray(nr_bytes)
        received = 0
        with memoryview(buffer) as view:
            while received < nr_bytes:
                count = self._connection(end).recv_into(view[received:])
                if not count:
                    break
                received += count
        del buffer[received:]
        return buffer

    def send(self, bytestream: bytes) -> None:
        """Write all of it; a peer that does not read for the network timeout is given up."""
        patience = self.assoc.network_timeout
        try:
            self._connection(None if patience is None else time.monotonic() + patience).sendall(bytestream)
        except OSError as error:
            log.info("sending failed: %s", error)
            self.event_queue.put("Evt17")

    def _connection(self, end: float | None) -> socket.socket:
        """The socket, with a timeout that ends then."""
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("the peer stopped in the middle of a PDU")
        connection.settimeout(left)
        return connection


class Notices(queue.Queue[Any]):
    """Primitives for the association's user; tells when one has come that ends the association."""

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self._notify = notify

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        if not isinstance(item, A_ASSOCIATE):
            self._notify()


class Provider(DULServiceProvider):
    """The upper layer service provider: one thread that waits in the transport's poll, and never spins."""

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self._run_loop_delay = 0
        # A release or abort ends the user's wait for the next message at once.
        self.to_user_queue = Notices(lambda: assoc.dimse.msg_queue.put((None, None)))
        self.daemon = True

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception as error:  # an event that the state machine does not have
            log.info("the association broke off: %r", error)
        finally:
            nothing: Any = None
            self.to_user_queue.put(nothing)  # whoever waits for more need not

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        if isinstance(self.socket, Transport):
            self.socket.wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        if isinstance(self.socket, Transport):
            self.socket.wake()
