"""Listens for associations."""

import asyncio
import hashlib
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any, Self

from pynetdicom import AE
from pynetdicom.transport import AddressInformation, RequestHandler, ThreadedAssociationServer

from medbus.gateways.dicom.limits import (
    ABORT_SECONDS,
    ACSE_TIMEOUT,
    CONNECTIONS_PER_ASSOCIATION,
    MAXIMUM_ASSOCIATIONS,
)
from medbus.gateways.dicom.pynetdicom import MAXIMUM_PDU
from medbus.gateways.dicom.pynetdicom.association import ServedAssociation
from medbus.gateways.dicom.pynetdicom.bridge import Bridge
from medbus.gateways.dicom.pynetdicom.serving import Serving
from medbus.gateways.dicom.pynetdicom.transport import Transport
from medbus.gateways.dicom.service import DicomService
from medbus.schemas.errors import MedbusError

log = logging.getLogger(__name__)


class Acceptor:
    """A DICOM port; an asynchronous context manager.

    Args:
        service: what is done for peers.
        executor: threads for sending to peers.
        host: the address to listen at.
        port: the port; 0 for any free one.
        ae_title: this side's AE title, the only one that may be called.
        tls: for encrypted connections only.
        acse_timeout: seconds for a peer to ask for an association once it is connected.
        network_timeout: seconds of silence after which an association is ended.
        dimse_timeout: seconds for a response of a peer.
        maximum_associations: how many at once.
        grace: seconds for running associations when it stops.

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
    ) -> None:
        ae = AE(ae_title)
        ae.require_called_aet = True
        ae.maximum_associations = maximum_associations
        ae.acse_timeout = acse_timeout
        ae.network_timeout = network_timeout
        ae.dimse_timeout = dimse_timeout
        ae.maximum_pdu_size = MAXIMUM_PDU
        self.ae = ae
        self._service = service
        self._executor = executor
        self._address = (host, port)
        self._tls = tls
        self._grace = grace
        self._server: Server
        self._serving: Serving
        self._thread: threading.Thread

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    async def __aenter__(self) -> Self:
        self._serving = Serving(
            self._service,
            Bridge(asyncio.get_running_loop()),
            self._executor,
            ae_title=self.ae.ae_title,
            maximum_associations=self.ae.maximum_associations,
            dimse_timeout=self.ae.dimse_timeout or 60.0,
        )
        try:
            self._server = Server(
                self.ae,
                self._address,
                self.ae.ae_title,
                [],
                self._tls,
                request_handler=Handler,
                serving=self._serving,
            )
            self.ae._servers.append(self._server)  # where shutdown looks for it
        except OSError as error:
            host, port = self._address
            raise MedbusError(
                f"Port {port} at {host} can't be listened at: {error}.", "Choose another with --port."
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="dicom-listener"
        )
        self._thread.daemon = True
        self._thread.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop listening; running associations may finish for a while, then they are aborted."""
        self._serving.stopping = True
        await asyncio.to_thread(self._server.shutdown)
        end = time.monotonic() + self._grace
        while self._serving.associations and time.monotonic() < end:  # noqa: ASYNC110 - threads end it
            await asyncio.sleep(0.05)
        if left := self._serving.abort():
            log.warning("%d associations were cut off after %g s", left, self._grace)
        end = time.monotonic() + ABORT_SECONDS
        while self._serving.associations and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Server(ThreadedAssociationServer):
    """Accepts connections; a thread of its own for each, so that none waits for another's TLS handshake."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any, serving: Serving, **options: Any) -> None:
        self.serving = serving
        super().__init__(*args, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = socket.socket.accept(self.socket)  # type: ignore[arg-type]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self.ae.acse_timeout)
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to take a connection."""
        return self.serving.connections < CONNECTIONS_PER_ASSOCIATION * self.ae.maximum_associations

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("connection from %s failed", client_address[0], exc_info=True)


class Handler(RequestHandler):
    """Makes an association of a connection."""

    server: Server

    def handle(self) -> None:
        with self.server.serving.connecting():
            if isinstance(self.request, ssl.SSLSocket):
                try:
                    self.request.do_handshake()
                except OSError as error:
                    log.info("no TLS with %s: %s", self.client_address[0], error)
                    self.server.shutdown_request(self.request)
                    return
            association = self._create_association()
            self.server.serving.connected(association)
            association.start()

    def _create_association(self) -> ServedAssociation:
        association = ServedAssociation(self.ae, self.server.serving)
        association._server = self.server
        association.name = f"AcceptorThread@{datetime.now(UTC):%Y%m%d%H%M%S}"
        if isinstance(self.request, ssl.SSLSocket):
            certificate = self.request.getpeercert(binary_form=True)
            association.certificate = hashlib.sha256(certificate).hexdigest() if certificate else None
        association.set_socket(Transport(association, client_socket=self.request))
        association.acceptor.maximum_length = self.ae.maximum_pdu_size
        association.acceptor.ae_title = self.server.ae_title
        association.acceptor.address_info = self.local
        association.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        association.acceptor.implementation_version_name = self.ae.implementation_version_name
        association.requestor.address_info = AddressInformation.from_tuple(self.client_address)
        return association
