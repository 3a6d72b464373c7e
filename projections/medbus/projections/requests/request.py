"""What the request catalog tells: who asked for what, and what was decided."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from medbus.bus import Position
from medbus.schemas.events import RejectionReason, Value


class Outcome(StrEnum):
    """What was decided on a request."""

    AUTHORIZED = "AUTHORIZED"
    REJECTED = "REJECTED"
    UNDECIDED = "UNDECIDED"


class LoggedRequest(Value):
    """A request with the decision on it, as far as there is one.

    Attributes:
        kind: the class of its event.
        asked_at: when it arrived in the log.
        position: of the request in the log.
        subscriber: who asked, as far as the decision says.
        reason: why it was refused; None if it was not.
        decided_at: when the decision arrived in the log.
        expires_at: when the grant ends; so are `max_bytes` and `used_bytes` the grant's.
    """

    request_id: UUID
    kind: str
    conversation: UUID
    asked_at: datetime
    calling_ae_title: str | None
    address: str
    position: Position
    subscriber: str | None = None
    outcome: Outcome = Outcome.UNDECIDED
    reason: RejectionReason | None = None
    detail: str = ""
    decided_at: datetime | None = None
    decision_position: Position | None = None
    expires_at: datetime | None = None
    max_bytes: int | None = None
    used_bytes: int | None = None
