"""A conversation with a peer: who it is, which services it was granted, and under which grants it acts."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from uuid import uuid4

from medbus.gateways.dicom.presentation import Answer, Proposal, Service, negotiate, services
from medbus.gateways.dicom.status import Code, Refused
from medbus.gateways.grants import CANCELLED, Clock, Grant, Grants, Rejected, Undecided
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import (
    Evidence,
    Meta,
    QueryRequested,
    RegistrationRequested,
    RejectionReason,
    Request,
    VerificationRequested,
)

log = logging.getLogger(__name__)


class Rejection(IntEnum):
    """Result of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    PERMANENT = 1
    TRANSIENT = 2


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    source: int
    reason: int


NO_REASON = Diagnostic(1, 1)
CALLING_AE_TITLE_NOT_RECOGNIZED = Diagnostic(1, 3)
CALLED_AE_TITLE_NOT_RECOGNIZED = Diagnostic(1, 7)
TEMPORARY_CONGESTION = Diagnostic(3, 1)
LOCAL_LIMIT_EXCEEDED = Diagnostic(3, 2)


class AssociationRefused(MedbusError):
    """An association is not accepted; result and diagnostic go to the peer, the message to the log."""

    def __init__(self, result: Rejection, diagnostic: Diagnostic, message: str) -> None:
        super().__init__(message)
        self.result = result
        self.diagnostic = diagnostic


_ANSWER_TO: dict[RejectionReason, tuple[Rejection, Diagnostic]] = {
    RejectionReason.UNKNOWN_SUBSCRIBER: (Rejection.PERMANENT, CALLING_AE_TITLE_NOT_RECOGNIZED),
    RejectionReason.CONTRACT_CANCELLED: (Rejection.PERMANENT, CALLING_AE_TITLE_NOT_RECOGNIZED),
    RejectionReason.WRONG_NETWORK: (Rejection.PERMANENT, CALLING_AE_TITLE_NOT_RECOGNIZED),
    RejectionReason.WRONG_CREDENTIAL: (Rejection.PERMANENT, CALLING_AE_TITLE_NOT_RECOGNIZED),
    # Both pass: once there is room again, and once there was a payment.
    RejectionReason.NO_CAPACITY_LEFT: (Rejection.TRANSIENT, LOCAL_LIMIT_EXCEEDED),
    RejectionReason.PAYMENT_REQUIRED: (Rejection.TRANSIENT, LOCAL_LIMIT_EXCEEDED),
    RejectionReason.UNDECIDABLE: (Rejection.TRANSIENT, TEMPORARY_CONGESTION),
}


_IN_WORDS: dict[Diagnostic, str] = {
    CALLING_AE_TITLE_NOT_RECOGNIZED: "calling AE title not recognized",
    CALLED_AE_TITLE_NOT_RECOGNIZED: "called AE title not recognized",
    TEMPORARY_CONGESTION: "temporary congestion",
    LOCAL_LIMIT_EXCEEDED: "local limit exceeded",
}


def rejection_in_words(result: int, source: int, reason: int) -> str:
    """What a peer did that answered with an A-ASSOCIATE-RJ, after its name."""
    how = "permanently" if result == Rejection.PERMANENT else "for now"
    why = _IN_WORDS.get(Diagnostic(source, reason), "no reason given")
    return f"rejected the association {how}: {why}"


def admit(called: str, own: str, *, stopping: bool, standing: int, maximum: int) -> None:
    """Let a peer in so far that the service is asked what it may do.

    Args:
        called: the AE title that it called.
        own: the gateway's.
        stopping: whether the gateway stops.
        standing: how many associations there are.
        maximum: how many there may be.

    Raises:
        AssociationRefused: it is not let in, whatever it may do.
    """
    if called != own:
        raise AssociationRefused(
            Rejection.PERMANENT, CALLED_AE_TITLE_NOT_RECOGNIZED, f"called AE title {called!r}"
        )
    if stopping:
        raise AssociationRefused(Rejection.TRANSIENT, TEMPORARY_CONGESTION, "the gateway stops")
    if standing >= maximum:
        raise AssociationRefused(Rejection.TRANSIENT, LOCAL_LIMIT_EXCEEDED, "too many associations")


class Conversation:
    """An accepted association. All its requests have one correlation id, which is the id of the first.

    Attributes:
        conversation_id: that id.
        evidence: what the peer showed of itself.
        answers: the answer to each presentation context that it proposed.
        granted: the services that it may use here.
    """

    def __init__(
        self,
        grants: Grants,
        evidence: Evidence,
        sop_classes: dict[Service, tuple[str, ...]],
        *,
        source: str,
        clock: Clock,
    ) -> None:
        self.conversation_id = uuid4()
        self.evidence = evidence
        self.answers: list[Answer] = []
        self._grants = grants
        self._sop_classes = sop_classes
        self._source = source
        self._clock = clock
        self._granted: dict[Service, Grant] = {}
        self._begun = False

    @property
    def peer(self) -> str:
        """The peer's AE title, or its address where it gave none."""
        return self.evidence.calling_ae_title or self.evidence.address

    @property
    def granted(self) -> frozenset[Service]:
        return frozenset(self._granted)

    def meta(self) -> Meta:
        """The head of a new request in this conversation."""
        request_id = uuid4() if self._begun else self.conversation_id
        self._begun = True
        return Meta.first(
            request_id,
            source=self._source,
            occurred_at=self._clock(),
            conversation=self.conversation_id,
        )

    async def ask(self, service: Service) -> Grant:
        """Ask for a service; remembers the grant.

        Raises:
            Rejected: the service was decided against.
            Undecided: nobody decided in time.
        """
        request: Request
        match service:
            case Service.VERIFICATION:
                request = VerificationRequested(meta=self.meta(), evidence=self.evidence)
            case Service.REGISTRATION:
                request = RegistrationRequested(
                    meta=self.meta(), evidence=self.evidence, sop_class_uids=self._sop_classes[service]
                )
            case Service.QUERY:
                request = QueryRequested(
                    meta=self.meta(), evidence=self.evidence, sop_class_uids=self._sop_classes[service]
                )
        grant = self._granted[service] = await self._grants.request(request)
        return grant

    async def grant(self, service: Service) -> Grant:
        """The grant for a service; one that has run out of time is asked for anew.

        Raises:
            Refused: the service is not, or no longer, granted (0124H); no capacity is left, or nobody
                decides now (A700H).
        """
        grant = self._granted.get(service)
        if grant is None:
            raise Refused(Code.NOT_AUTHORIZED, f"{service.value.lower()} was not granted to {self.peer}")
        check_live(grant)
        if not grant.expired(self._clock()):
            return grant
        try:
            return await self.ask(service)
        except Rejected as error:
            full = error.reason is RejectionReason.NO_CAPACITY_LEFT
            code = Code.OUT_OF_RESOURCES if full else Code.NOT_AUTHORIZED
            raise Refused(code, f"grant expired: {error.reason.value}") from error
        except Undecided as error:
            raise Refused(Code.OUT_OF_RESOURCES, "grant expired, no decision on a new one") from error


def check_live(grant: Grant) -> None:
    """Go on only under a contract in force.

    Raises:
        Refused: it was cancelled since the grant (0124H).
    """
    if grant.ended:
        raise Refused(Code.NOT_AUTHORIZED, CANCELLED)


async def open_conversation(
    grants: Grants,
    evidence: Evidence,
    proposals: Sequence[Proposal],
    *,
    source: str,
    clock: Clock,
) -> Conversation:
    """Ask for every service that the proposals need, all at once, and answer the proposals.

    Raises:
        AssociationRefused: nothing was granted, or nothing that was proposed is a service of ours.
    """
    needed = services(proposals)
    if not needed:
        raise AssociationRefused(Rejection.PERMANENT, NO_REASON, "no supported service was proposed")
    conversation = Conversation(grants, evidence, needed, source=source, clock=clock)
    outcomes = await asyncio.gather(*map(conversation.ask, needed), return_exceptions=True)
    refusals: list[Rejected] = []
    for service, outcome in zip(needed, outcomes, strict=True):
        if isinstance(outcome, Rejected):
            log.info("%s: %s not granted: %s", conversation.peer, service.value, outcome)
            refusals.append(outcome)
        elif isinstance(outcome, Undecided):
            log.warning("%s: %s undecided: %s", conversation.peer, service.value, outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    if not conversation.granted:
        raise _refusal(refusals, undecided=len(refusals) < len(needed))
    conversation.answers = negotiate(proposals, conversation.granted)
    return conversation


def _refusal(refusals: list[Rejected], *, undecided: bool) -> AssociationRefused:
    if undecided:
        return AssociationRefused(Rejection.TRANSIENT, TEMPORARY_CONGESTION, "there was no decision in time")
    first = refusals[0]
    result, diagnostic = _ANSWER_TO.get(first.reason, (Rejection.PERMANENT, NO_REASON))
    return AssociationRefused(result, diagnostic, first.message)
