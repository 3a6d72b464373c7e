"""One DIMSE request under way, and what its handler may use of the association that it came on."""

import asyncio
import itertools
from collections.abc import Collection
from concurrent.futures import Executor

from pydicom.dataset import Dataset
from pynetdicom.presentation import PresentationContext

from medbus.gateways.dicom import dimse, identifier
from medbus.gateways.dicom.command import Command
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.outgoing import Counts, Outgoing, Unreachable
from medbus.gateways.dicom.pynetdicom import messages
from medbus.gateways.dicom.pynetdicom.association import ServedAssociation
from medbus.gateways.dicom.pynetdicom.messages import Message
from medbus.gateways.dicom.status import Code, Outcome

_LOOK = 0.002
"""Seconds between looks at whether the peer has taken more."""


class Exchange:
    """A request and the way to its responses.

    Attributes:
        association: where it came from.
        conversation: that association to the service.
        context: the presentation context.
        message: the request.
    """

    def __init__(
        self,
        association: ServedAssociation,
        conversation: Conversation,
        context: PresentationContext,
        message: Message,
    ) -> None:
        self.association = association
        self.conversation = conversation
        self.context = context
        self.message = message

    @property
    def command(self) -> Command:
        return self.message.command

    @property
    def abstract_syntax(self) -> str:
        return str(self.context.abstract_syntax)

    @property
    def transfer_syntax(self) -> str:
        return str(self.context.transfer_syntax[0])

    def alive(self) -> bool:
        """Whether the peer is still there to be answered."""
        return self.association.alive

    def respond(
        self,
        outcome: Outcome,
        *,
        data: bytes | None = None,
        counts: Counts | None = None,
        remaining: bool = False,
    ) -> None:
        """Send a response.

        Args:
            outcome: status and Error Comment.
            data: the encoded identifier, where there is one.
            counts: of sub-operations, where there are some.
            remaining: whether the remaining sub-operations are told.
        """
        if not self.association.is_established:
            return
        answer = dimse.response(
            self.command, outcome, has_data=data is not None, counts=counts, remaining=remaining
        )
        messages.send(self.association, self.message.context_id, answer, data)

    # What a handler on the event loop uses while the request is under way:

    async def match(self, data: bytes, *, all_keys: bool) -> None:
        """Send one match of a query; waits while the peer does not keep up."""
        await self._room()
        code = Code.PENDING if all_keys else Code.PENDING_SOME_KEYS_NOT_SUPPORTED
        self.respond(Outcome(code), data=data)

    async def pending(self, counts: Counts) -> None:
        """Tell how far a retrieval has come."""
        await self._room()
        self.respond(Outcome(Code.PENDING), counts=counts, remaining=True)

    def cancelled(self) -> bool:
        """Whether the peer sent a C-CANCEL for this request, or is gone."""
        return self.command.message_id in self.association.messages.cancelled or not self.alive()

    async def report(self, event_type: int, information: Dataset) -> None:
        """Send a report of storage commitment back on this association.

        Raises:
            Unreachable: the peer has left.
        """
        if not self.alive():
            raise Unreachable("left before the report, and has no address")
        request = dimse.commitment_report(event_type, 1)
        data = identifier.encode(information, self.transfer_syntax)
        messages.send(self.association, self.message.context_id, request, data)

    async def _room(self) -> None:
        while self.alive() and not messages.has_room(self.association):  # noqa: ASYNC110 - a thread sends
            await asyncio.sleep(_LOOK)


class SameAssociation:
    """An outlet to the requester itself, under the association of its C-GET.

    Args:
        exchange: the C-GET.
        executor: threads to wait in.
        timeout: seconds for a response.
    """

    def __init__(self, exchange: Exchange, executor: Executor, timeout: float) -> None:
        self._association = exchange.association
        self._executor = executor
        self._timeout = timeout
        self._message_ids = itertools.count(1)
        self._contexts: dict[str, dict[str, int]] = {}
        for context in self._association.accepted_contexts:
            if context.as_scu and context.context_id is not None:
                found = self._contexts.setdefault(str(context.abstract_syntax), {})
                found.setdefault(str(context.transfer_syntax[0]), context.context_id)

    def accepts(self, sop_class_uid: str) -> Collection[str]:
        return self._contexts.get(sop_class_uid, {}).keys()

    async def store(self, image: Outgoing) -> Outcome:
        """Raises Unreachable."""
        if not self._association.alive:
            raise Unreachable("ended the association")
        return await asyncio.get_running_loop().run_in_executor(
            self._executor,
            messages.store,
            self._association,
            self._contexts[image.sop_class_uid][image.transfer_syntax_uid],
            next(self._message_ids) % 65536,
            image,
            self._timeout,
        )
