"""An association that a peer opened: negotiated by the service, served message by message."""

import contextlib
import logging
import queue
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from medbus.gateways.dicom.conversation import AssociationRefused
from medbus.gateways.dicom.presentation import Answer, Proposal, Result
from medbus.gateways.dicom.pynetdicom.messages import Message, Messages
from medbus.gateways.dicom.pynetdicom.transport import Provider, Transport

log = logging.getLogger(__name__)

_LOOK_AT_TIMERS = 0.5
"""Seconds between looks at the idle timer when nothing happens."""


class Served(Protocol):
    """What decides about an association and does what the peer asks; called in the association's thread."""

    @abstractmethod
    def open(self, association: "ServedAssociation") -> Sequence[Answer]:
        """The answers to the proposals. Raises AssociationRefused."""

    @abstractmethod
    def serve(self, association: "ServedAssociation", context: PresentationContext, message: Message) -> None:
        """Do what a DIMSE request asks, and respond."""

    @abstractmethod
    def closed(self, association: "ServedAssociation") -> None:
        """The association is over."""


class ServedAssociation(Association):
    """One thread that waits for requests and serves them, beside the provider's thread.

    Args:
        ae: the application entity.
        served: decides and serves.
    """

    def __init__(self, ae: ApplicationEntity, served: Served) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.dul = Provider(self)
        self.messages = Messages(self)
        self.dimse = self.messages
        self.acse = Negotiator(self, served)
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout
        self.certificate: str | None = None
        """SHA-256 of the peer's certificate, hexadecimal."""
        self._served = served

    @property
    def called_ae_title(self) -> str:
        """The AE title that the peer called."""
        request = self.requestor.primitive
        return "" if request is None else request.called_ae_title.strip()

    @property
    def alive(self) -> bool:
        """Whether the peer is there and has not asked to release."""
        return self.is_established and self.dul.is_alive() and self.dul.peek_next_pdu() is None

    def cut(self) -> None:
        """End the association, or the connection if there is none yet; any thread may call it."""
        if self.is_established:
            self.acse.send_abort(0x00)
        elif isinstance(self.dul.socket, Transport):
            self.dul.socket.hang_up()

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self.messages.cut_off()
            if isinstance(self.dul.socket, Transport):
                self.dul.socket.finish()
            self._served.closed(self)

    def _run_reactor(self) -> None:
        self._is_paused = True  # nothing but this thread takes messages
        while not self._kill:
            message: Message | None = None
            with contextlib.suppress(queue.Empty):
                item: Any = self.dimse.msg_queue.get(timeout=_LOOK_AT_TIMERS)
                message = item[1]
            if message is not None:
                self._serve(message)
                self.dul._idle_timer.restart()
            elif not self._goes_on():
                self.kill()

    def _goes_on(self) -> bool:
        if self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released = True
            self.is_established = False
            return False
        if self.acse.is_aborted():
            self.is_aborted = True
            self.is_established = False
            return False
        if not self.dul.is_alive():
            return False
        if self.dul.idle_timer_expired():
            log.info("%s was silent for %s s", self.requestor.ae_title, self.network_timeout)
            self.acse.send_abort(0x02)
            return False
        return True

    def _serve(self, message: Message) -> None:
        context = self._accepted_cx.get(message.context_id)
        try:
            if context is None:
                log.info("%s used a context that it was not given", self.requestor.ae_title)
                self.acse.send_abort(0x02)
                self.kill()
            else:
                self.messages.cancelled.clear()
                self._served.serve(self, context, message)
        except Exception:
            # Whatever happens here, the peer must not wait for an answer that never comes.
            log.exception("serving a %s failed", message.command.name)
            self.acse.send_abort(0x02)
            self.kill()
        finally:
            message.data.drop()


class Negotiator(ACSE):
    """Leaves the decision about an association to the service."""

    def __init__(self, assoc: ServedAssociation, served: Served) -> None:
        super().__init__(assoc)
        self._association = assoc
        self._served = served
        self._answers: Sequence[Answer] = ()

    def negotiate_association(self) -> None:
        association = self._association
        if association.requestor.primitive is not None:
            association.requestor.ae_title = association.requestor.primitive.calling_ae_title
        try:
            self._answers = self._served.open(association)
        except AssociationRefused as error:
            log.info("association of %s refused: %s", association.requestor.ae_title, error)
            self.send_reject(int(error.result), error.diagnostic.source, error.diagnostic.reason)
            evt.trigger(association, evt.EVT_REJECTED, {})
            association.kill()
            return
        super().negotiate_association()

    def send_accept(self) -> None:
        """Accept with the service's answers; those of pynetdicom's own negotiation are dropped."""
        contexts = [_context(answer) for answer in self._answers]
        self.assoc._accepted_cx = {cx.context_id: cx for cx in contexts if cx.result == 0 and cx.context_id}
        self.assoc._rejected_cx = [cx for cx in contexts if cx.result != 0]
        for item in list(self.acceptor.role_selection.values()):
            self.acceptor.remove_negotiation_item(item)
        for role in _roles(self._answers):
            self.acceptor.add_negotiation_item(role)
        super().send_accept()


def proposals(association: Association) -> list[Proposal]:
    """What the peer proposes."""
    roles = {
        uid: (bool(item.scu_role), bool(item.scp_role))
        for uid, item in association.requestor.role_selection.items()
    }
    found: list[Proposal] = []
    for context in association.requestor.requested_contexts:
        uid = context.abstract_syntax
        if context.context_id is None or uid is None:
            continue
        scu, scp = roles.get(uid, (True, False))
        found.append(
            Proposal(
                context_id=context.context_id,
                abstract_syntax=str(uid),
                transfer_syntaxes=tuple(map(str, context.transfer_syntax)),
                scu=scu,
                scp=scp,
                roles_proposed=uid in roles,
            )
        )
    return found


def _context(answer: Answer) -> PresentationContext:
    context = PresentationContext()
    context.context_id = answer.proposal.context_id
    context.abstract_syntax = UID(answer.proposal.abstract_syntax)
    context.transfer_syntax = [UID(answer.transfer_syntax)]
    context.result = int(answer.result)
    context._as_scp = answer.scu
    context._as_scu = answer.scp
    return context


def _roles(answers: Sequence[Answer]) -> list[SCP_SCU_RoleSelectionNegotiation]:
    agreed = {
        each.proposal.abstract_syntax: (each.scu, each.scp)
        for each in answers
        if each.result is Result.ACCEPTANCE and each.proposal.roles_proposed
    }
    items: list[SCP_SCU_RoleSelectionNegotiation] = []
    for uid, (scu, scp) in agreed.items():
        item = SCP_SCU_RoleSelectionNegotiation()
        item.sop_class_uid = UID(uid)
        item.scu_role = scu
        item.scp_role = scp
        items.append(item)
    return items
