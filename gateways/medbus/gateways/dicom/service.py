"""What the gateway does for a DICOM peer, whatever library carries the messages."""

from collections.abc import Sequence

from medbus.gateways.dicom.committing import Committing
from medbus.gateways.dicom.conversation import Conversation, open_conversation
from medbus.gateways.dicom.finding import Finding
from medbus.gateways.dicom.presentation import Proposal
from medbus.gateways.dicom.retrieving import Retrieving
from medbus.gateways.dicom.storing import Storing
from medbus.gateways.grants import Clock, Grants
from medbus.schemas.events import Evidence


class DicomService:
    """The handlers of all DIMSE services, and the door to them.

    A network adapter calls `open` for every association and one of the handlers for every request under it.
    All are coroutines of one event loop.

    Args:
        grants: asks for decisions.
        storing: C-STORE.
        finding: C-FIND.
        retrieving: C-GET and C-MOVE.
        committing: N-ACTION of storage commitment.
        source: names this gateway in events.
        clock: the time.
    """

    def __init__(
        self,
        *,
        grants: Grants,
        storing: Storing,
        finding: Finding,
        retrieving: Retrieving,
        committing: Committing,
        source: str,
        clock: Clock,
    ) -> None:
        self.storing = storing
        self.finding = finding
        self.retrieving = retrieving
        self.committing = committing
        self._grants = grants
        self._source = source
        self._clock = clock

    async def open(self, evidence: Evidence, proposals: Sequence[Proposal]) -> Conversation:
        """Begin a conversation.

        Raises:
            AssociationRefused: nothing is granted; it says what to answer.
        """
        return await open_conversation(
            self._grants, evidence, proposals, source=self._source, clock=self._clock
        )
