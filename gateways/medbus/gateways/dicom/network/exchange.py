"""One DIMSE request under way, and what its handler may use of the association that it came on."""

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from pydicom.dataset import Dataset

from medbus.gateways.dicom import dimse, identifier
from medbus.gateways.dicom.command import Command
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.network.association import Association, Context
from medbus.gateways.dicom.network.provider import Ended
from medbus.gateways.dicom.outgoing import Counts, Outgoing, Unreachable
from medbus.gateways.dicom.status import Code, Outcome

log = logging.getLogger(__name__)

_FAIR: Final = 8
"""Matches after which others get their turn, also a C-CANCEL."""


class Exchange:
    """A request and the way to its responses.

    Attributes:
        association: where it came from.
        conversation: that association to the service.
        context: the presentation context.
        command: the request.
        identifier: its data set, where that is short.
        stopped: whether the peer sent a C-CANCEL for it.
        before: what has to end before this is answered; None if nothing has to.
    """

    def __init__(
        self,
        association: Association,
        conversation: Conversation,
        context: Context,
        command: Command,
    ) -> None:
        self.association = association
        self.conversation = conversation
        self.context = context
        self.command = command
        self.identifier = b""
        self.stopped = False
        self.before: asyncio.Task[None] | None = None
        self._matches = 0

    @property
    def abstract_syntax(self) -> str:
        return self.context.abstract_syntax

    @property
    def transfer_syntax(self) -> str:
        return self.context.transfer_syntax

    async def turn(self) -> None:
        """Wait for what was asked before, where the peer expects its answers in order."""
        if self.before is not None:
            if not self.before.done():
                await asyncio.wait((self.before,))
            self.before = None  # or the requests of an association would be a chain without end

    async def respond(
        self,
        outcome: Outcome,
        *,
        data: bytes | None = None,
        counts: Counts | None = None,
        remaining: bool = False,
    ) -> None:
        """Send a response; a peer that has left gets none.

        Args:
            outcome: status and Error Comment.
            data: the encoded identifier, where there is one.
            counts: of sub-operations, where there are some.
            remaining: whether the remaining sub-operations are told.
        """
        answer = dimse.response(
            self.command, outcome, has_data=data is not None, counts=counts, remaining=remaining
        )
        try:
            await self.association.send(self.context.context_id, answer, data)
        except Ended as error:
            log.debug("no response to %s: the peer %s", self.command.name, error)

    # What a handler uses while the request is under way:

    async def match(self, data: bytes, *, all_keys: bool) -> None:
        """Send one match of a query; waits while the peer does not keep up."""
        code = Code.PENDING if all_keys else Code.PENDING_SOME_KEYS_NOT_SUPPORTED
        await self.respond(Outcome(code), data=data)
        self._matches += 1
        if self._matches % _FAIR == 0:  # sending waits for nothing while the peer keeps up
            await asyncio.sleep(0)

    async def pending(self, counts: Counts) -> None:
        """Tell how far a retrieval has come."""
        await self.respond(Outcome(Code.PENDING), counts=counts, remaining=True)

    def cancelled(self) -> bool:
        """Whether the peer sent a C-CANCEL for this request, or is gone."""
        return self.stopped or not self.association.alive

    async def report(self, event_type: int, information: Dataset) -> None:
        """Send a report of storage commitment back on this association.

        Raises:
            Unreachable: the peer has left.
        """
        if not self.association.alive:
            raise Unreachable("left before the report, and has no address")
        request = dimse.commitment_report(event_type, self.association.next_message_id())
        data = identifier.encode(information, self.transfer_syntax)
        try:
            await self.association.send(self.context.context_id, request, data)
        except Ended as error:
            raise Unreachable(str(error)) from error


class SameAssociation:
    """An outlet to the requester itself, under the association of its C-GET.

    Args:
        association: that.
        timeout: seconds for a response.
    """

    def __init__(self, association: Association, timeout: float) -> None:
        self._association = association
        self._timeout = timeout

    def accepts(self, sop_class_uid: str) -> Collection[str]:
        return self._association.accepted(sop_class_uid).keys()

    async def store(self, image: Outgoing) -> Outcome:
        """Raises Unreachable."""
        return await self._association.store(image, self._timeout)
