"""Whom the client talks to, and how its blocking work runs beside an event loop."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from medbus.gateways.dicom.outgoing import Address, Contexts, Unreachable
from medbus.gateways.dicom.presentation import UNCOMPRESSED, VERIFICATION
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.status import Outcome
from medbus.schemas.errors import MedbusError

T = TypeVar("T")
P = TypeVar("P")


class PeerUnreachable(MedbusError):
    """The peer does not answer, or lets nobody in under this AE title."""


class PeerRefused(MedbusError):
    """The peer answered a query or retrieval with a failure.

    Args:
        outcome: status and comment.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"The peer answered {outcome.code:04X}H {outcome.comment}".rstrip() + ".")
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An application entity to talk to.

    Attributes:
        host, port: where it is.
        ae_title: its AE title.
        calling: ours.
        timeout: seconds for a connection, an answer, or a response.
        tls: for an encrypted connection.
    """

    host: str
    port: int
    ae_title: str
    calling: str
    timeout: float = 30.0
    tls: ssl.SSLContext | None = None

    def requester(self, contexts: Contexts, *, receiving: Collection[str] = ()) -> Requester:
        """An association that is still to be opened."""
        address = Address(ae_title=self.ae_title, host=self.host, port=self.port)
        return Requester(
            self.calling, address, contexts, receiving=receiving, timeout=self.timeout, tls=self.tls
        )

    def unreachable(self, error: Unreachable) -> PeerUnreachable:
        """The same error for people."""
        return PeerUnreachable(
            f"{self.ae_title} at {self.host}:{self.port} {error}.",
            f"Is it running, and does a contract have the AE title {self.calling} and this network?",
        )


class Work(Generic[P]):
    """Lets blocking work in a thread tell how far it has come, and learn that it is to stop.

    Args:
        progress: called on the event loop with whatever is told.
    """

    def __init__(self, progress: Callable[[P], None] | None) -> None:
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self._stop.is_set()

    def tell(self, what: P) -> None:
        """Pass something on to `progress`."""
        if self._progress is not None and not self.stopped:
            self._loop.call_soon_threadsafe(self._progress, what)

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread. When cancelled, it is told to stop, and waited for."""
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.gather(task, return_exceptions=True)
            raise


async def verify(peer: Peer) -> Outcome:
    """C-ECHO.

    Raises:
        PeerUnreachable: there is no association with it.
    """

    def work() -> Outcome:
        try:
            with peer.requester([(VERIFICATION, UNCOMPRESSED)]) as requester:
                return requester.echo()
        except Unreachable as error:
            raise peer.unreachable(error) from error

    return await asyncio.to_thread(work)
