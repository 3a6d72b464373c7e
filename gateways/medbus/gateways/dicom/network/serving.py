"""DIMSE requests to the service, its outcomes to responses."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.command import Field, MalformedCommand
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.network.association import Association, Message
from medbus.gateways.dicom.network.exchange import Exchange, SameAssociation
from medbus.gateways.dicom.network.provider import Ended
from medbus.gateways.dicom.outgoing import Retrieved
from medbus.gateways.dicom.presentation import (
    QUERY_RETRIEVE,
    STORAGE_COMMITMENT,
    VERIFICATION,
    Operation,
    is_storage,
)
from medbus.gateways.dicom.service import DicomService
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Refused, Unanswerable
from medbus.gateways.dicom.storing import Received, StoreRequest

log = logging.getLogger(__name__)

WAITING_REQUESTS: Final = 16
"""How many requests may wait; more than one come only from peers that do not wait for responses."""

WAITING_IMAGES: Final = 8
"""How many images that have come whole may wait to be durable, if the peer negotiated nothing else."""

LINGER: Final = 10.0
"""Seconds for what is under way, once the peer has left: what went out or came in has to get on the log."""

_Work = Callable[[Exchange], Awaitable[None]]


class Served:
    """One association of a peer, while it is served.

    Args:
        service: what is done.
        association: the peer's.
        conversation: the same to the service.
        window: operations that the peer may have under way at once, as negotiated; 1: none was.
        dimse_timeout: seconds for a peer's response to a sub-operation.
    """

    def __init__(
        self,
        service: DicomService,
        association: Association,
        conversation: Conversation,
        *,
        window: int,
        dimse_timeout: float,
    ) -> None:
        self._service = service
        self._association = association
        self._conversation = conversation
        self._in_order = window == 1
        self._most = max(WAITING_REQUESTS, window)
        self._images = asyncio.Semaphore(WAITING_IMAGES if window == 1 else window)
        self._outlet = SameAssociation(association, dimse_timeout)
        self._exchanges: dict[Exchange, asyncio.Task[None]] = {}
        self._last: asyncio.Task[None] | None = None
        self._last_image: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._exchanges)

    async def run(self) -> None:
        """Serve until the association is over, and everything that was asked under it.

        Raises:
            Ended: always.
            MalformedCommand: the peer sent what is no message.
        """
        try:
            await self._association.run(self._serve, self.settle)
        finally:
            await self.settle()

    async def settle(self) -> None:
        """Wait for what is under way: not for long, the peer wants no more of it."""
        tasks = set(self._exchanges.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LINGER)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _serve(self, message: Message) -> None:
        command = message.command
        if command.field == Field.C_CANCEL:
            for each in self._exchanges:
                if each.command.message_id == command.responds_to:
                    each.stopped = True
            return
        exchange = Exchange(self._association, self._conversation, message.context, command)
        if command.field == Field.C_STORE:
            await self._store(exchange, message)
            return
        if len(self._exchanges) > self._most:
            raise MalformedCommand("Too many requests at once.")
        exchange.identifier = await message.data.read()
        exchange.before = self._last if self._in_order else None
        self._last = self._begin(exchange, self._in_turn)

    async def _store(self, exchange: Exchange, message: Message) -> None:
        """Take an image; it is made durable while the next one comes, if the peer sends one already."""
        command, context, data = exchange.command, message.context, message.data
        if not (is_storage(context.abstract_syntax) and context.scp):
            await data.drain()
            self._begin(exchange, self._unsupported)
            return
        request = StoreRequest(
            sop_class_uid=command.affected_class,
            sop_instance_uid=command.affected_instance,
            transfer_syntax_uid=context.transfer_syntax,
        )
        await self._images.acquire()
        storing, conversation = self._service.storing, self._conversation
        received: Received | Outcome
        try:
            received = await storing.receive(conversation, request, data)
        except Refused as error:
            received = storing.refused(conversation, request, error)
            await data.drain()
        except (Ended, MalformedCommand):
            self._images.release()
            raise
        except Exception:
            log.exception("C-STORE of %s failed", conversation.peer)
            received = Outcome.refused(Code.PROCESSING_FAILURE, "internal error")
            await data.drain()

        async def complete(exchange: Exchange) -> None:
            outcome = SUCCESS
            try:
                if isinstance(received, Outcome):
                    outcome = received
                else:
                    await storing.complete(received)
            except Refused as error:
                outcome = storing.refused(conversation, request, error)
            finally:
                self._images.release()
            await exchange.turn()
            await exchange.respond(outcome)

        exchange.before = self._last_image if self._in_order else None
        self._last_image = self._begin(exchange, complete)

    def _begin(self, exchange: Exchange, work: _Work) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(exchange, work))
        self._exchanges[exchange] = task
        return task

    async def _guarded(self, exchange: Exchange, work: _Work) -> None:
        peer, name = self._conversation.peer, exchange.command.name
        try:
            await work(exchange)
        except Ended:
            log.info("%s left during a %s", peer, name)
        except Unanswerable as error:
            log.error("%s of %s: %s", name, peer, error)  # noqa: TRY400
            self._association.abort()
        except Exception:
            # Whatever happens here, the peer must not wait for an answer that never comes.
            log.exception("%s of %s failed", name, peer)
            await exchange.respond(Outcome.refused(Code.PROCESSING_FAILURE, "internal error"))
        finally:
            del self._exchanges[exchange]

    async def _in_turn(self, exchange: Exchange) -> None:
        await exchange.turn()
        await self._dispatch(exchange)

    async def _dispatch(self, exchange: Exchange) -> None:
        abstract, field = exchange.abstract_syntax, exchange.command.field
        operation = QUERY_RETRIEVE[abstract][1] if abstract in QUERY_RETRIEVE else None
        if abstract == VERIFICATION and field == Field.C_ECHO:
            await exchange.respond(SUCCESS)
        elif operation is Operation.FIND and field == Field.C_FIND:
            await self._find(exchange)
        elif operation is Operation.GET and field == Field.C_GET:
            await self._get(exchange)
        elif operation is Operation.MOVE and field == Field.C_MOVE:
            await self._move(exchange)
        elif abstract == STORAGE_COMMITMENT and field == Field.N_ACTION:
            await self._commit(exchange)
        else:
            await self._unsupported(exchange)

    async def _unsupported(self, exchange: Exchange) -> None:
        comment = f"no {exchange.command.name} under this presentation context"
        await exchange.respond(Outcome.refused(Code.SOP_CLASS_NOT_SUPPORTED, comment))

    async def _find(self, exchange: Exchange) -> None:
        outcome = await self._service.finding.find(self._conversation, _keys(exchange), exchange)
        await exchange.respond(outcome)

    async def _get(self, exchange: Exchange) -> None:
        await self._retrieved(
            exchange,
            await self._service.retrieving.get(self._conversation, _keys(exchange), exchange, self._outlet),
        )

    async def _move(self, exchange: Exchange) -> None:
        await self._retrieved(
            exchange,
            await self._service.retrieving.move(
                self._conversation,
                _keys(exchange),
                exchange,
                destination=exchange.command.move_destination,
                message_id=exchange.command.message_id or 0,
            ),
        )

    async def _retrieved(self, exchange: Exchange, retrieved: Retrieved) -> None:
        await exchange.respond(
            retrieved.outcome,
            data=identifier.failed(retrieved.failed, exchange.transfer_syntax) or None,
            counts=retrieved.counts,
            remaining=retrieved.outcome.code == Code.CANCEL,
        )

    async def _commit(self, exchange: Exchange) -> None:
        outcome = await self._service.committing.request(
            self._conversation,
            identifier.Encoded(exchange.identifier, exchange.transfer_syntax),
            exchange,
            action_type=exchange.command.action_type or 0,
            sop_instance_uid=exchange.command.requested_instance,
        )
        await exchange.respond(outcome)


def _keys(exchange: Exchange) -> identifier.Identifier:
    root, _ = QUERY_RETRIEVE[exchange.abstract_syntax]
    return identifier.Identifier(root, exchange.identifier, exchange.transfer_syntax)
