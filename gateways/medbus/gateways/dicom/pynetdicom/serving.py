"""DIMSE requests to the service, its outcomes to responses."""

import logging
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from pynetdicom.presentation import PresentationContext

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.command import Field
from medbus.gateways.dicom.conversation import (
    NO_REASON,
    AssociationRefused,
    Conversation,
    Rejection,
    admit,
)
from medbus.gateways.dicom.limits import OPENING_TIMEOUT
from medbus.gateways.dicom.outgoing import Retrieved
from medbus.gateways.dicom.presentation import (
    QUERY_RETRIEVE,
    STORAGE_COMMITMENT,
    VERIFICATION,
    Answer,
    Operation,
    is_storage,
)
from medbus.gateways.dicom.pynetdicom.association import ServedAssociation, proposals
from medbus.gateways.dicom.pynetdicom.bridge import Bridge, Gone
from medbus.gateways.dicom.pynetdicom.exchange import Exchange, SameAssociation
from medbus.gateways.dicom.pynetdicom.messages import Message
from medbus.gateways.dicom.service import DicomService
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Unanswerable
from medbus.gateways.dicom.storing import StoreRequest
from medbus.schemas.events import Evidence

log = logging.getLogger(__name__)


class Serving:
    """Serves associations with the service; its methods are called in the associations' threads.

    Args:
        service: what is done.
        bridge: to the service's event loop.
        executor: threads for sending under C-GET.
        ae_title: the only called AE title that is answered.
        maximum_associations: how many at once.
        dimse_timeout: seconds for a peer's response to a sub-operation.
    """

    def __init__(
        self,
        service: DicomService,
        bridge: Bridge,
        executor: Executor,
        *,
        ae_title: str,
        maximum_associations: int,
        dimse_timeout: float,
    ) -> None:
        self._service = service
        self._bridge = bridge
        self._executor = executor
        self._ae_title = ae_title
        self._maximum = maximum_associations
        self._dimse_timeout = dimse_timeout
        self._conversations: dict[ServedAssociation, Conversation] = {}
        self._connected: set[ServedAssociation] = set()
        self._connecting = 0
        self._lock = threading.Lock()
        self.stopping = False

    @property
    def associations(self) -> int:
        """How many associations stand."""
        return len(self._conversations)

    @property
    def connections(self) -> int:
        """How many connections there are, with those that have asked for nothing yet."""
        return len(self._connected) + self._connecting

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """While a connection is not an association's yet."""
        with self._lock:
            self._connecting += 1
        try:
            yield
        finally:
            with self._lock:
                self._connecting -= 1

    def connected(self, association: ServedAssociation) -> None:
        """A peer has connected."""
        self._connected.add(association)

    def abort(self) -> int:
        """End every connection; returns how many associations stood."""
        standing = self.associations
        for association in list(self._connected):
            association.cut()
        return standing

    def open(self, association: ServedAssociation) -> Sequence[Answer]:
        calling = association.requestor.ae_title.strip()
        called = association.called_ae_title
        admit(
            called,
            self._ae_title,
            stopping=self.stopping,
            standing=len(self._conversations),
            maximum=self._maximum,
        )
        evidence = Evidence(
            calling_ae_title=calling,
            called_ae_title=called,
            address=association.requestor.address,
            certificate=association.certificate,
        )
        try:
            conversation = self._bridge.call(
                self._service.open(evidence, proposals(association)),
                alive=association.dul.is_alive,
                timeout=OPENING_TIMEOUT,
            )
        except AssociationRefused:
            raise
        except Exception as error:  # an error must never let a peer in
            log.exception("deciding about %s failed", calling)
            raise AssociationRefused(Rejection.TRANSIENT, NO_REASON, f"internal error: {error!r}") from error
        self._conversations[association] = conversation
        services = ", ".join(sorted(conversation.granted)).lower()
        log.info("%s at %s may use %s", calling, evidence.address, services)
        return conversation.answers

    def closed(self, association: ServedAssociation) -> None:
        self._connected.discard(association)
        if self._conversations.pop(association, None) is not None:
            how = "released" if association.is_released else "gone"
            log.info("%s %s", association.requestor.ae_title, how)

    def serve(self, association: ServedAssociation, context: PresentationContext, message: Message) -> None:
        if message.command.response:
            log.debug("%s from %s", message.command.name, association.requestor.ae_title)
            return
        exchange = Exchange(association, self._conversations[association], context, message)
        try:
            self._dispatch(exchange)
        except Gone:
            log.info("%s left during a %s", association.requestor.ae_title, message.command.name)
        except Unanswerable as error:
            log.error("%s of %s: %s", message.command.name, association.requestor.ae_title, error)  # noqa: TRY400
            association.acse.send_abort(0x00)
            association.kill()
        except Exception:
            log.exception("%s of %s failed", message.command.name, association.requestor.ae_title)
            exchange.respond(Outcome.refused(Code.PROCESSING_FAILURE, "internal error"))

    def _dispatch(self, exchange: Exchange) -> None:
        abstract, field = exchange.abstract_syntax, exchange.command.field
        operation = QUERY_RETRIEVE[abstract][1] if abstract in QUERY_RETRIEVE else None
        if abstract == VERIFICATION and field == Field.C_ECHO:
            exchange.respond(SUCCESS)
        elif is_storage(abstract) and field == Field.C_STORE and exchange.context.as_scp:
            self._store(exchange)
        elif operation is Operation.FIND and field == Field.C_FIND:
            self._find(exchange)
        elif operation is Operation.GET and field == Field.C_GET:
            self._get(exchange)
        elif operation is Operation.MOVE and field == Field.C_MOVE:
            self._move(exchange)
        elif abstract == STORAGE_COMMITMENT and field == Field.N_ACTION:
            self._commit(exchange)
        else:
            comment = f"no {exchange.command.name} under this presentation context"
            exchange.message.data.drain()
            exchange.respond(Outcome.refused(Code.SOP_CLASS_NOT_SUPPORTED, comment))

    def _store(self, exchange: Exchange) -> None:
        command, data = exchange.command, exchange.message.data
        request = StoreRequest(
            sop_class_uid=command.affected_class,
            sop_instance_uid=command.affected_instance,
            transfer_syntax_uid=exchange.transfer_syntax,
        )
        work = self._service.storing.store(exchange.conversation, request, aiter(data))
        outcome = self._bridge.call(work, alive=exchange.alive)
        data.drain()
        exchange.respond(outcome)

    def _find(self, exchange: Exchange) -> None:
        work = self._service.finding.find(exchange.conversation, _keys(exchange), exchange)
        exchange.respond(self._bridge.call(work, alive=exchange.alive))

    def _get(self, exchange: Exchange) -> None:
        outlet = SameAssociation(exchange, self._executor, self._dimse_timeout)
        work = self._service.retrieving.get(exchange.conversation, _keys(exchange), exchange, outlet)
        self._retrieve(exchange, work)

    def _move(self, exchange: Exchange) -> None:
        work = self._service.retrieving.move(
            exchange.conversation,
            _keys(exchange),
            exchange,
            destination=exchange.command.move_destination,
            message_id=exchange.command.message_id or 0,
        )
        self._retrieve(exchange, work)

    def _retrieve(self, exchange: Exchange, work: Coroutine[Any, Any, Retrieved]) -> None:
        retrieved = self._bridge.call(work, alive=exchange.alive)
        exchange.respond(
            retrieved.outcome,
            data=identifier.failed(retrieved.failed, exchange.transfer_syntax) or None,
            counts=retrieved.counts,
            remaining=retrieved.outcome.code == Code.CANCEL,
        )

    def _commit(self, exchange: Exchange) -> None:
        work = self._service.committing.request(
            exchange.conversation,
            identifier.Encoded(exchange.message.identifier(), exchange.transfer_syntax),
            exchange,
            action_type=exchange.command.action_type or 0,
            sop_instance_uid=exchange.command.requested_instance,
        )
        exchange.respond(self._bridge.call(work, alive=exchange.alive))


def _keys(exchange: Exchange) -> identifier.Identifier:
    root, _ = QUERY_RETRIEVE[exchange.abstract_syntax]
    return identifier.Identifier(root, exchange.message.identifier(), exchange.transfer_syntax)
