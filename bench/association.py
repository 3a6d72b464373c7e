"""A DICOM association of a client, as cheap as it can be: blocking socket, TCP_NODELAY, one large buffer."""

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from bench import pdu
from bench.inflow import Inflow, PeerFailed
from bench.pdu import Context

SECONDS = 60.0
"""No answer for so long is a failure."""

MAX_LENGTH = 131072
"""Of the PDUs that we take, and of those that we send to a peer that takes longer ones: DCMTK's greatest."""


class Association:
    """An association; use with `with`.

    Args:
        port: where the server listens, on loopback.
        called: its AE title.
        calling: ours.
        contexts: what is proposed; all must be accepted.

    Attributes:
        limit: length of the longest P-DATA-TF to send.
        receive: gives type and body of the next PDU; the body is good until the next call.

    Raises:
        PeerFailed: the server does not accept.
    """

    def __init__(self, port: int, called: str, calling: str, contexts: Sequence[Context]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.receive = Inflow(self._socket).receive
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(pdu.associate_request(called, calling, contexts, MAX_LENGTH))
            kind, body = self.receive()
            self.limit = agreed(kind, bytes(body), contexts)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._socket:
            if error is None:
                self._socket.sendall(pdu.release_request())
                self.receive()

    def send(self, encoded: bytes) -> None:
        """Send PDUs that are encoded already."""
        self._socket.sendall(encoded)

    def response(self) -> dict[int, bytes]:
        """The command set of the response that comes next.

        Raises:
            PeerFailed: something else came.
        """
        kind, body = self.receive()
        if kind == pdu.P_DATA_TF:
            for fragment in pdu.fragments(body):
                if fragment.command and pdu.STATUS in (command := pdu.read_command(fragment.data)):
                    return command
        raise PeerFailed(f"Instead of a response came PDU {kind}: {bytes(body[:64]).hex()}.")

    def status(self) -> int:
        """The status of the response that comes next.

        Raises:
            PeerFailed: something else came.
        """
        return pdu.short(self.response()[pdu.STATUS])


def agreed(kind: int, body: bytes, contexts: Sequence[Context]) -> int:
    """Length of the longest P-DATA-TF to send, after the answer to a proposal of contexts.

    Raises:
        PeerFailed: the answer is not that all are accepted.
    """
    if kind != pdu.ASSOCIATE_AC:
        raise PeerFailed(f"The answer to A-ASSOCIATE-RQ was PDU {kind}: {body.hex()}.")
    limit, accepted = pdu.accepted(body)
    if refused := {context.number for context in contexts} - accepted:
        raise PeerFailed(f"Presentation contexts {sorted(refused)} were not accepted.")
    return min(limit or MAX_LENGTH, MAX_LENGTH)
