"""C-STORE over a hundred associations at once, from one process: each has its next image sent when the one
before was answered."""

import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import blast, pdu
from bench.association import MAX_LENGTH, SECONDS, agreed
from bench.blast import CALLING, Run, Stored
from bench.inflow import Inflow, PeerFailed
from bench.slice import Slice


@dataclass
class _Member:
    """An association of the crowd."""

    connection: socket.socket
    inflow: Inflow
    slices: Sequence[Slice]
    messages: Sequence[bytes] = ()
    rest: memoryview = field(default_factory=lambda: memoryview(b""))
    sent: float = 0.0
    stored: list[Stored] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return len(self.stored) == len(self.slices)

    def begin(self) -> None:
        """Send the next image as far as the connection takes it now."""
        self.sent = time.monotonic()
        self.rest = memoryview(self.messages[len(self.stored)])
        self.go_on()

    def go_on(self) -> None:
        """Send more of it."""
        while self.rest:
            try:
                self.rest = self.rest[self.connection.send(self.rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                return

    def answered(self) -> None:
        """Take the response."""
        kind, body = self.inflow.receive()
        for fragment in pdu.fragments(body) if kind == pdu.P_DATA_TF else ():
            if pdu.short(pdu.read_command(fragment.data)[pdu.STATUS]) == 0:
                self.stored.append(
                    Stored(self.slices[len(self.stored)].sop_instance_uid, self.sent, time.monotonic())
                )
                return
        raise PeerFailed(f"An image of many associations was answered with PDU {kind}: {bytes(body).hex()}.")


def crowd(port: int, called: str, slices: Sequence[Slice], associations: int) -> Run:
    """Send images over many associations, all of which are open before the first image is sent.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        slices: what to send; dealt out over the associations.
        associations: how many.

    Raises:
        PeerFailed: the server does not accept them all, does not answer, or not with success.
    """
    with ExitStack() as stack:
        members: list[_Member] = []
        for number in range(associations):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            members.append(_Member(connection, Inflow(connection), slices[number::associations]))
        contexts = blast.storage(slices)
        for member in members:
            member.connection.sendall(pdu.associate_request(called, CALLING, contexts, MAX_LENGTH))
        for member in members:
            kind, body = member.inflow.receive()
            limit = agreed(kind, bytes(body), contexts)
            data_sets = [each.data_set() for each in member.slices]
            member.messages = blast.encoded(member.slices, data_sets, limit)
        start = time.monotonic()
        _send(members)
        seconds = time.monotonic() - start
        for member in members:
            member.connection.sendall(pdu.release_request())
        for member in members:
            member.inflow.receive()
    images = [image for member in members for image in member.stored]
    return Run(images, seconds, sum(each.size for each in slices))


def _send(members: Sequence[_Member]) -> None:
    busy = len(members)
    with selectors.DefaultSelector() as selector:
        for member in members:
            selector.register(member.connection, selectors.EVENT_READ | selectors.EVENT_WRITE, member)
            member.begin()
        while busy:
            ready = selector.select(SECONDS)
            if not ready:
                raise PeerFailed(f"{busy} of {len(members)} associations got no answer in {SECONDS:.0f} s.")
            for key, events in ready:
                member = key.data
                if events & selectors.EVENT_READ:
                    member.answered()
                    if member.done:
                        selector.unregister(member.connection)
                        busy -= 1
                        continue
                    member.begin()
                elif member.rest:
                    member.go_on()
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.rest else 0)
                if wanted != key.events:
                    selector.modify(member.connection, wanted, member)
