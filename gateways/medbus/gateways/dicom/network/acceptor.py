"""Listens for associations."""

import asyncio
import contextlib
import hashlib
import logging
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final, Self

from medbus.gateways.dicom.command import MalformedCommand
from medbus.gateways.dicom.conversation import (
    NO_REASON,
    AssociationRefused,
    Conversation,
    Rejection,
    admit,
)
from medbus.gateways.dicom.limits import (
    ABORT_SECONDS,
    ACSE_TIMEOUT,
    CONNECTIONS_PER_ASSOCIATION,
    MAXIMUM_ASSOCIATIONS,
    OPENING_TIMEOUT,
)
from medbus.gateways.dicom.network import negotiation
from medbus.gateways.dicom.network.association import Association
from medbus.gateways.dicom.network.connection import Connection
from medbus.gateways.dicom.network.listening import listen
from medbus.gateways.dicom.network.provider import Ended, Provider
from medbus.gateways.dicom.network.serving import Served
from medbus.gateways.dicom.network.turns import YIELD, Turns
from medbus.gateways.dicom.service import DicomService
from medbus.gateways.dicom.upper.pdu import AssociateReject, AssociateRequest
from medbus.gateways.dicom.upper.states import Event
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Evidence

log = logging.getLogger(__name__)

_BREATHER: Final = 0.2
"""Seconds without a look at the listener when the process has no descriptor left."""


class Acceptor:
    """A DICOM port; an asynchronous context manager.

    Args:
        service: what is done for peers.
        executor: threads to read large images in.
        host: the address to listen at.
        port: the port; 0 for any free one.
        ae_title: this side's AE title, the only one that may be called.
        tls: for encrypted connections only.
        acse_timeout: seconds for a peer to ask for an association once it is connected.
        network_timeout: seconds of silence after which an association is ended.
        dimse_timeout: seconds for a response of a peer.
        maximum_associations: how many at once.
        grace: seconds for running associations when it stops.
        sock: a listening socket to take instead of host and port; it is closed in the end.
        turns: whose turn it is, where several processes share the socket.

    Raises:
        MedbusError: on entering, if the port can't be had.
    """

    def __init__(
        self,
        service: DicomService,
        executor: Executor,
        *,
        host: str,
        port: int,
        ae_title: str,
        tls: ssl.SSLContext | None = None,
        acse_timeout: float = ACSE_TIMEOUT,
        network_timeout: float = 60.0,
        dimse_timeout: float = 60.0,
        maximum_associations: int = MAXIMUM_ASSOCIATIONS,
        grace: float = 10.0,
        sock: socket.socket | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._service = service
        self._executor = executor
        self._address = (host, port)
        self._ae_title = ae_title
        self._tls = tls
        self._acse_timeout = acse_timeout
        self._network_timeout = network_timeout
        self._dimse_timeout = dimse_timeout
        self._maximum = maximum_associations
        self._grace = grace
        self._given = sock
        self._turns = turns
        self._listener: socket.socket
        self._listening: asyncio.Task[None]
        self._connections: dict[asyncio.Task[None], Provider | None] = {}
        self._standing = 0
        self._stopping = False
        self._changed = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._listener.getsockname()[1])

    @property
    def associations(self) -> int:
        """How many associations stand."""
        return self._standing

    @property
    def connections(self) -> int:
        """How many connections there are, with those that have asked for nothing yet."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        self._listener = self._given if self._given is not None else await asyncio.to_thread(self._listen)
        self._listener.setblocking(False)
        self._listening = asyncio.create_task(self._accept(), name="dicom-listener")
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop listening; running associations may finish for a while, then they are aborted."""
        self._stopping = True
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._listener.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                while self._standing:
                    self._changed.clear()
                    await self._changed.wait()
        if self._standing:
            log.warning("%d associations were cut off after %g s", self._standing, self._grace)
        for task, provider in self._connections.items():
            if provider is None:
                task.cancel()
            elif provider.over:
                provider.close()
            else:
                provider.abort()
        if self._connections:
            await asyncio.wait(self._connections, timeout=ABORT_SECONDS)
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    def _listen(self) -> socket.socket:
        host, port = self._address
        try:
            return listen(host, port)
        except OSError as error:
            raise MedbusError(
                f"Port {port} at {host} can't be listened at: {error}.", "Choose another with --port."
            ) from error

    async def _accept(self) -> None:
        while True:
            try:
                await _readable(self._listener)
                if self._turns is not None and not self._turns.mine():
                    await asyncio.sleep(YIELD)
                connected, address = self._listener.accept()
            except (BlockingIOError, ConnectionError):  # another process took it, or the peer is gone again
                continue
            except OSError as error:
                log.warning("a connection can't be accepted: %s", error)
                await asyncio.sleep(_BREATHER)
                continue
            if self.connections >= CONNECTIONS_PER_ASSOCIATION * self._maximum:
                connected.close()
                continue
            task = asyncio.create_task(self._connected(connected, str(address[0])), name="dicom-association")
            self._connections[task] = None
            task.add_done_callback(self._connections.pop)

    async def _connected(self, connected: socket.socket, address: str) -> None:
        """One connection, from beginning to end. Raises nothing."""
        address = address.removeprefix("::ffff:")
        try:
            if self._tls is not None:
                connected.setblocking(False)
                connected = self._tls.wrap_socket(connected, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            log.info("no TLS with %s: %s", address, error)
            connected.close()
            return
        connection = Connection(connected)
        try:
            await self._handshaken(connection, address)
        except Ended as error:
            log.info("%s %s", address, error)
        except Exception:
            log.exception("the connection of %s failed", address)
        finally:
            connection.close()

    async def _handshaken(self, connection: Connection, address: str) -> None:
        try:
            async with asyncio.timeout(self._acse_timeout):
                await connection.handshake()
        except OSError as error:
            log.info("no TLS with %s: %s", address, error or "it took too long")
            return
        provider = Provider(
            connection, requestor=False, artim=self._acse_timeout, silence=self._network_timeout
        )
        self._connections[_current_task()] = provider
        request = await provider.next()
        if not isinstance(request, AssociateRequest):  # which the states do not let happen
            raise TypeError(f"{request!r} where an A-ASSOCIATE-RQ was to come")
        certificate = connection.certificate
        evidence = Evidence(
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            address=address,
            certificate=hashlib.sha256(certificate).hexdigest() if certificate else None,
        )
        try:
            with self._place(request):
                await self._served(provider, request, evidence)
        except AssociationRefused as error:
            log.info("association of %s refused: %s", evidence.calling_ae_title, error)
            reject = AssociateReject(
                result=int(error.result), source=error.diagnostic.source, reason=error.diagnostic.reason
            )
            await provider.say(Event.EVT8, reject)
        await provider.linger()

    @contextlib.contextmanager
    def _place(self, request: AssociateRequest) -> Iterator[None]:
        """While an association stands, or is asked for.

        Raises:
            AssociationRefused: it can't be let in, whatever it may do.
        """
        admit(
            request.called_ae_title,
            self._ae_title,
            stopping=self._stopping,
            standing=self._standing,
            maximum=self._maximum,
        )
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._standing += change
        self._changed.set()
        if self._turns is not None:
            self._turns.has(self._standing)

    async def _served(self, provider: Provider, request: AssociateRequest, evidence: Evidence) -> None:
        """Negotiate and serve. Raises Ended in the end, or AssociationRefused."""
        conversation = await self._open(provider, request, evidence)
        agreed = negotiation.agree(request, conversation.answers)
        await provider.say(Event.EVT7, agreed.accept)
        association = Association(
            provider,
            agreed.contexts,
            maximum=agreed.maximum,
            window=agreed.window_out,
            executor=self._executor,
        )
        served = Served(
            self._service,
            association,
            conversation,
            window=agreed.window_in,
            dimse_timeout=self._dimse_timeout,
        )
        provider.busy = lambda: served.busy
        services = ", ".join(sorted(conversation.granted)).lower()
        log.info("%s at %s may use %s", evidence.calling_ae_title, evidence.address, services)
        try:
            await served.run()
        except MalformedCommand as error:
            log.info("undecodable message from %s: %s", evidence.calling_ae_title, error)
        finally:
            log.info("%s %s", evidence.calling_ae_title, "released" if provider.released else "gone")

    async def _open(self, provider: Provider, request: AssociateRequest, evidence: Evidence) -> Conversation:
        """Ask the service; a peer that leaves meanwhile ends that."""
        proposals = negotiation.proposals(request)
        opening = asyncio.create_task(self._service.open(evidence, proposals))
        reading = provider.read_ahead()
        try:
            await asyncio.wait(
                (opening, reading), timeout=OPENING_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
            if opening.done():
                return opening.result()
            if reading.done():
                reading.result()
            raise TimeoutError("the service did not answer")  # noqa: TRY301
        except (AssociationRefused, Ended):
            raise
        except Exception as error:  # an error must never let a peer in
            log.exception("deciding about %s failed", evidence.calling_ae_title)
            raise AssociationRefused(Rejection.TRANSIENT, NO_REASON, f"internal error: {error!r}") from error
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait((opening,))


def _current_task() -> "asyncio.Task[None]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("no task runs")
    return task


async def _readable(listener: socket.socket) -> None:
    """Wait until a connection can be accepted."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()
    descriptor = listener.fileno()

    def ready() -> None:
        if not waiting.done():
            waiting.set_result(None)

    loop.add_reader(descriptor, ready)
    try:
        await waiting
    finally:
        loop.remove_reader(descriptor)
