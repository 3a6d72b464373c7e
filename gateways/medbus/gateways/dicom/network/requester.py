"""Associations that this side opens: for sub-operations of C-MOVE, and for reports."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Collection
from concurrent.futures import Executor
from types import TracebackType
from typing import Final, Self

from medbus.gateways.dicom import dimse
from medbus.gateways.dicom.command import Command, Field, MalformedCommand
from medbus.gateways.dicom.conversation import rejection_in_words
from medbus.gateways.dicom.network import negotiation
from medbus.gateways.dicom.network.association import Association, Message
from medbus.gateways.dicom.network.connection import Connection
from medbus.gateways.dicom.network.provider import Ended, Provider
from medbus.gateways.dicom.outgoing import Address, Contexts, NothingAccepted, Outgoing, Unreachable
from medbus.gateways.dicom.status import Code, Outcome
from medbus.gateways.dicom.upper.pdu import AssociateAccept, AssociateReject, ReleaseRequest
from medbus.gateways.dicom.upper.states import Event

log = logging.getLogger(__name__)

_FAREWELL: Final = 5.0
"""Seconds for the peer to agree to the release, or to close the connection."""


class Requester:
    """One association as its requestor; an asynchronous context manager.

    Args:
        calling: this side's AE title.
        address: the peer.
        contexts: what to propose; at most 128.
        receiving: SOP classes for which this side takes the SCP role.
        timeout: seconds for a connection, an answer, or a response.
        tls: for an encrypted connection.
        executor: threads to read large images in.

    Raises:
        Unreachable: on entering, if there is no association.
    """

    def __init__(
        self,
        calling: str,
        address: Address,
        contexts: Contexts,
        *,
        receiving: Collection[str] = (),
        timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._calling = calling
        self._contexts = contexts
        self._receiving = receiving
        self._tls = tls
        self._executor = executor
        self._connection: Connection
        self._provider: Provider
        self._association: Association
        self._reading: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self.timeout):
                self._connection = await self._connect()
        except OSError as error:
            raise Unreachable("does not answer") from error
        try:
            self._association = await self._associate()
        except BaseException:
            self._connection.close()
            raise
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        provider = self._provider
        try:
            if error is not None:
                provider.abort()
            elif not provider.over:
                with contextlib.suppress(Ended):
                    await provider.say(Event.EVT11, ReleaseRequest())
            provider.start_artim(_FAREWELL)
            await asyncio.wait((self._reading,))
        finally:
            self._reading.cancel()
            self._connection.close()
            await asyncio.gather(self._reading, return_exceptions=True)

    def accepted(self, sop_class_uid: str) -> Collection[str]:
        """The transfer syntaxes that the peer takes for a SOP class."""
        return self._association.accepted(sop_class_uid).keys()

    async def store(self, image: Outgoing) -> Outcome:
        """C-STORE, in the image's transfer syntax.

        Raises:
            Unreachable: the peer is gone, or does not respond.
        """
        if image.transfer_syntax_uid not in self.accepted(image.sop_class_uid):
            return Outcome.refused(Code.SOP_CLASS_NOT_SUPPORTED, "no presentation context for it")
        return await self._association.store(image, self.timeout)

    def context(self, sop_class_uid: str) -> tuple[int, str]:
        """Id and transfer syntax of a context that the peer accepted, in whatever role.

        Raises:
            Unreachable: it accepted none.
        """
        for context in self._association.contexts.values():
            if context.abstract_syntax == sop_class_uid:
                return context.context_id, context.transfer_syntax
        raise Unreachable(f"does not offer {sop_class_uid}")

    async def ask(self, context_id: int, request: Command, data: bytes | None = None) -> Outcome:
        """Send a request, which gets its message id here, and wait for the response.

        Raises:
            Unreachable: the peer is gone, or does not respond.
        """
        response = await self._association.ask(context_id, request, data, self.timeout)
        return dimse.outcome_of(response.command)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        host, port = self.address.host, self.address.port
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(f"{host} has no address: {error}") from error
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            connected = socket.socket(family, kind, protocol)
            connected.setblocking(False)
            try:
                await loop.sock_connect(connected, address)
                return await self._secured(connected)
            except OSError as error:
                connected.close()
                failure = error
            except BaseException:
                connected.close()
                raise
        raise failure or OSError("there is no address")

    async def _secured(self, connected: socket.socket) -> Connection:
        if self._tls is not None:
            connected = self._tls.wrap_socket(
                connected, server_hostname=self.address.host, do_handshake_on_connect=False
            )
        connection = Connection(connected)
        try:
            await connection.handshake()
        except BaseException:
            connection.close()
            raise
        return connection

    async def _associate(self) -> Association:
        provider = self._provider = Provider(
            self._connection, requestor=True, artim=self.timeout, silence=self.timeout
        )
        provider.busy = lambda: True  # it is this side that says when it has nothing more to ask
        proposed = negotiation.request(
            self._calling, self.address.ae_title, self._contexts, receiving=self._receiving
        )
        provider.start_artim()
        try:
            await provider.say(Event.EVT2, proposed)
            answer = await provider.next()
        except Ended as error:
            raise Unreachable(str(error)) from error
        provider.stop_artim()
        if isinstance(answer, AssociateReject):
            raise Unreachable(rejection_in_words(answer.result, answer.source, answer.reason))
        if not isinstance(answer, AssociateAccept):  # which the states do not let happen
            raise TypeError(f"{answer!r} where an A-ASSOCIATE-AC was to come")
        agreed = negotiation.outcome(proposed, answer)
        if not agreed.contexts:
            provider.abort()
            raise NothingAccepted("accepted none of the presentation contexts")
        return Association(
            provider,
            agreed.contexts,
            maximum=agreed.maximum,
            window=agreed.window_out,
            executor=self._executor,
        )

    async def _read(self) -> None:
        try:
            await self._association.run(self._refuse, _nothing)
        except Ended as error:
            log.debug("%s %s", self.address.ae_title, error)
        except MalformedCommand as error:
            log.info("undecodable message from %s: %s", self.address.ae_title, error)
            await self._provider.linger()
        except Exception:
            log.exception("the association with %s failed", self.address.ae_title)
            self._connection.close()

    async def _refuse(self, message: Message) -> None:
        """Nothing is done for a peer under an association of this side's asking."""
        command = message.command
        if command.field == Field.C_CANCEL:
            return
        await message.data.drain()
        refused = dimse.response(command, Outcome(Code.UNRECOGNIZED_OPERATION))
        await self._association.send(message.context.context_id, refused)


async def _nothing() -> None:
    """Nothing is under way that a release would have to wait for."""
