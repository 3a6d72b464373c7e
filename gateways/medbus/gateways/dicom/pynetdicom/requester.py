"""Associations that this side opens: for C-MOVE sub-operations, for reports, and for the client.

Everything here blocks; it is called in worker threads.
"""

import logging
import ssl
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Self

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context
from pynetdicom.transport import AddressInformation

from medbus.gateways.dicom import dimse
from medbus.gateways.dicom.command import MEDIUM_PRIORITY, Command, Field
from medbus.gateways.dicom.conversation import rejection_in_words
from medbus.gateways.dicom.outgoing import Address, Contexts, Outgoing, Unreachable
from medbus.gateways.dicom.presentation import VERIFICATION
from medbus.gateways.dicom.pynetdicom import MAXIMUM_PDU, messages
from medbus.gateways.dicom.pynetdicom.messages import Message, Messages
from medbus.gateways.dicom.pynetdicom.transport import Provider, Transport
from medbus.gateways.dicom.status import Code, Outcome, is_pending

log = logging.getLogger(__name__)


class Requester:
    """One association as its requestor; a context manager.

    Args:
        calling: this side's AE title.
        address: the peer.
        contexts: what to propose; at most 128.
        receiving: SOP classes for which this side takes the SCP role (C-GET).
        timeout: seconds for a connection, an answer, or a response.
        tls: for an encrypted connection.

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
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._calling = calling
        self._contexts = contexts
        self._receiving = receiving
        self._tls = tls
        self._message_id = 0
        self._association: Association

    def __enter__(self) -> Self:
        association = self._build()
        self._association = association
        association.request()
        if not association.is_established:
            raise Unreachable(self._refusal())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        association = self._association
        if association.is_established and association.dul.is_alive():
            if error is None:
                association.acse.negotiate_release()
            else:
                association.acse.send_abort(0x00)
        association.kill()
        if isinstance(association.dul.socket, Transport):
            association.dul.socket.finish()

    def accepted(self, sop_class_uid: str) -> dict[str, int]:
        """The transfer syntaxes that the peer takes for a SOP class, each with its context id."""
        return {
            str(context.transfer_syntax[0]): context.context_id
            for context in self._association.accepted_contexts
            if context.abstract_syntax == sop_class_uid and context.context_id is not None
        }

    def echo(self) -> Outcome:
        """C-ECHO."""
        request = Command(field=Field.C_ECHO, message_id=self._next_id(), affected_class=VERIFICATION)
        return dimse.outcome_of(self._ask(VERIFICATION, request).command)

    def store(self, image: Outgoing) -> Outcome:
        """C-STORE, in the image's transfer syntax.

        Raises:
            Unreachable: the peer is gone, or does not respond.
        """
        context_id = self.accepted(image.sop_class_uid).get(image.transfer_syntax_uid)
        if context_id is None:
            return Outcome.refused(Code.SOP_CLASS_NOT_SUPPORTED, "no presentation context for it")
        return messages.store(self._association, context_id, self._next_id(), image, self.timeout)

    def find(self, sop_class_uid: str, identifier: bytes) -> Iterator[tuple[Outcome, bytes]]:
        """C-FIND: every response with its identifier, which is empty in the last."""
        for message in self._query(Field.C_FIND, sop_class_uid, identifier):
            yield dimse.outcome_of(message.command), message.identifier()

    def get(self, sop_class_uid: str, identifier: bytes) -> Iterator[Message]:
        """C-GET: the images that come, each to be answered with `answer`, and the responses."""
        yield from self._query(Field.C_GET, sop_class_uid, identifier)

    def move(self, sop_class_uid: str, destination: str, identifier: bytes) -> Iterator[Message]:
        """C-MOVE: the responses."""
        yield from self._query(Field.C_MOVE, sop_class_uid, identifier, destination)

    def answer(self, image: Message, outcome: Outcome) -> None:
        """Answer an image that came in a C-GET; what was not read of it is passed over."""
        image.data.drain()
        messages.send(self._association, image.context_id, dimse.response(image.command, outcome))

    def transfer_syntax(self, context_id: int) -> str:
        """The transfer syntax of an accepted context."""
        return str(self._association._accepted_cx[context_id].transfer_syntax[0])

    def cancel(self, sop_class_uid: str) -> None:
        """C-CANCEL of the last request."""
        request = Command(field=Field.C_CANCEL, responds_to=self._message_id)
        messages.send(self._association, self._context(sop_class_uid), request)

    def action(self, sop_class_uid: str, sop_instance_uid: str, action_type: int, data: bytes) -> Outcome:
        """N-ACTION."""
        request = Command(
            field=Field.N_ACTION,
            has_data=True,
            message_id=self._next_id(),
            requested_class=sop_class_uid,
            requested_instance=sop_instance_uid,
            action_type=action_type,
        )
        return dimse.outcome_of(self._ask(sop_class_uid, request, data).command)

    def report(self, sop_class_uid: str, sop_instance_uid: str, event_type: int, data: bytes) -> Outcome:
        """N-EVENT-REPORT."""
        request = Command(
            field=Field.N_EVENT_REPORT,
            has_data=True,
            message_id=self._next_id(),
            affected_class=sop_class_uid,
            affected_instance=sop_instance_uid,
            event_type=event_type,
        )
        return dimse.outcome_of(self._ask(sop_class_uid, request, data).command)

    def _query(
        self, field: Field, sop_class_uid: str, identifier: bytes, destination: str = ""
    ) -> Iterator[Message]:
        request = Command(
            field=field,
            has_data=True,
            message_id=self._next_id(),
            priority=MEDIUM_PRIORITY,
            affected_class=sop_class_uid,
            move_destination=destination,
        )
        message = self._ask(sop_class_uid, request, identifier)
        while True:
            yield message
            command = message.command
            if command.response and command.field == field and not is_pending(command.status):
                return
            message = messages.receive(self._association, self.timeout)

    def _ask(self, sop_class_uid: str, request: Command, data: bytes | None = None) -> Message:
        messages.send(self._association, self._context(sop_class_uid), request, data)
        return messages.receive(self._association, self.timeout)

    def _next_id(self) -> int:
        self._message_id = dimse.next_message_id(self._message_id)
        return self._message_id

    def _context(self, sop_class_uid: str) -> int:
        for context_id in self.accepted(sop_class_uid).values():
            return context_id
        raise Unreachable(f"does not offer {UID(sop_class_uid).name}")

    def _build(self) -> Association:
        ae = AE(self._calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = self.timeout
        association = Association(ae, MODE_REQUESTOR)
        association.dul = Provider(association)
        association.dimse = Messages(association)
        association.acse_timeout = association.network_timeout = self.timeout
        try:
            remote = AddressInformation(self.address.host, self.address.port)
            local = AddressInformation("0.0.0.0" if remote.is_ipv4 else "::", 0)  # noqa: S104
        except OSError as error:
            raise Unreachable(f"{self.address.host} has no address: {error}") from error
        transport = Transport(association, address=local)
        if self._tls is not None:
            transport.tls_args = (self._tls, self.address.host)
        association.set_socket(transport)
        association.acceptor.ae_title = self.address.ae_title
        association.acceptor.address_info = remote
        association.requestor.address_info = local
        association.requestor.ae_title = self._calling
        association.requestor.maximum_length = MAXIMUM_PDU
        association.requestor.implementation_class_uid = ae.implementation_class_uid
        association.requestor.implementation_version_name = ae.implementation_version_name
        for uid in self._receiving:
            role = SCP_SCU_RoleSelectionNegotiation()
            role.sop_class_uid = UID(uid)
            role.scu_role = False
            role.scp_role = True
            association.requestor.add_negotiation_item(role)
        contexts = [build_context(uid, list(syntaxes)) for uid, syntaxes in self._contexts]
        for index, context in enumerate(contexts):
            context.context_id = 2 * index + 1
        association.requestor.requested_contexts = contexts
        return association

    def _refusal(self) -> str:
        association = self._association
        if association.is_rejected and association.acceptor.primitive is not None:
            answer = association.acceptor.primitive
            return rejection_in_words(answer.result or 0, answer.result_source or 0, answer.diagnostic or 0)
        if association.is_aborted and association.accepted_contexts == []:
            return "does not answer, or accepted none of the presentation contexts"
        return "does not answer"
