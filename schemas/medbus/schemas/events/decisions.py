"""Events that answer requests."""

from enum import StrEnum
from uuid import UUID

from medbus.schemas.events.base import Event, Instant, Long, Scope


class RejectionReason(StrEnum):
    """Why a request was refused."""

    UNSPECIFIED = "UNSPECIFIED"
    UNKNOWN_SUBSCRIBER = "UNKNOWN_SUBSCRIBER"
    CONTRACT_CANCELLED = "CONTRACT_CANCELLED"
    WRONG_ROLE = "WRONG_ROLE"
    WRONG_NETWORK = "WRONG_NETWORK"
    WRONG_CREDENTIAL = "WRONG_CREDENTIAL"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    NO_CAPACITY_LEFT = "NO_CAPACITY_LEFT"
    UNKNOWN_DESTINATION = "UNKNOWN_DESTINATION"
    PAYMENT_REQUIRED = "PAYMENT_REQUIRED"
    UNDECIDABLE = "UNDECIDABLE"


class RequestAuthorized(Event):
    """A request was found legitimate: this is the grant."""

    request_id: UUID
    request: str = ""
    subscriber: str
    apparatus_id: str | None = None
    scope: Scope
    max_bytes: Long | None = None
    used_bytes: Long | None = None
    max_images: Long | None = None
    expires_at: Instant


class RequestRejected(Event):
    """A request was refused."""

    request_id: UUID
    request: str = ""
    subscriber: str | None = None
    reason: RejectionReason
    detail: str


Decision = RequestAuthorized | RequestRejected
