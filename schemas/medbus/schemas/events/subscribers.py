"""Events of the contracts between the service and its subscribers."""

from enum import StrEnum
from uuid import UUID

from medbus.schemas.events.base import Event, Instant, Int, Long, Scope, Value


class Role(StrEnum):
    """What a contract entitles to."""

    UNSPECIFIED = "UNSPECIFIED"
    IMAGE_REGISTERING = "IMAGE_REGISTERING"
    IMAGE_RECEIVING = "IMAGE_RECEIVING"
    IMAGE_SENDING = "IMAGE_SENDING"
    SOFTWARE_EXECUTING = "SOFTWARE_EXECUTING"
    VENDOR = "VENDOR"
    HARD_COPY_DEVICE = "HARD_COPY_DEVICE"
    AUDITOR = "AUDITOR"
    MANAGER = "MANAGER"


class CredentialKind(StrEnum):
    """How a subscriber proves who it is, beside AE title and network address."""

    UNSPECIFIED = "UNSPECIFIED"
    BEARER_TOKEN = "BEARER_TOKEN"  # noqa: S105
    CLIENT_CERTIFICATE = "CLIENT_CERTIFICATE"


class PaymentCondition(StrEnum):
    """What must have been paid before a request is legitimate."""

    UNSPECIFIED = "UNSPECIFIED"
    PREPAID = "PREPAID"
    CONFIRMED = "CONFIRMED"


class Apparatus(Value):
    """A scanner, workstation, archive or printer; with host and port, images may be sent to it."""

    apparatus_id: str
    ae_title: str
    modality: str = ""
    host: str | None = None
    port: Int | None = None


class Retrieval(StrEnum):
    """How the service collects images from a subscriber that agreed to it."""

    UNSPECIFIED = "UNSPECIFIED"
    C_GET = "C_GET"
    C_MOVE = "C_MOVE"
    DICOMWEB = "DICOMWEB"
    FOLDER = "FOLDER"


class Collection(Value):
    """Where and how often the service asks a subscriber for new images."""

    retrieval: Retrieval
    apparatus_id: str
    address: str = ""
    every_seconds: Int


class Terms(Value):
    """What a contract says."""

    name: str
    roles: tuple[Role, ...] = ()
    apparatuses: tuple[Apparatus, ...] = ()
    networks: tuple[str, ...] = ()
    scope: Scope = Scope()
    capacity_bytes: Long | None = None
    tariff: str | None = None
    payment: PaymentCondition | None = None
    webhook: str | None = None
    collections: tuple[Collection, ...] = ()


class SubscriberContracted(Event):
    """A contract was made."""

    subscriber: str
    terms: Terms


class SubscriberActivated(Event):
    """The subscriber's program ran for the first time."""

    subscriber: str
    program: str


class ContractChanged(Event):
    """A contract has new terms, which replace the old ones as a whole."""

    subscriber: str
    terms: Terms


class ContractCancelled(Event):
    """A contract ended."""

    subscriber: str
    reason: str


class CredentialIssued(Event):
    """A subscriber has one more way to prove who it is; the digest is the SHA-256 of the secret."""

    subscriber: str
    credential_id: UUID
    kind: CredentialKind
    digest: str
    label: str
    expires_at: Instant | None = None


class CredentialRevoked(Event):
    """A credential is no longer good."""

    subscriber: str
    credential_id: UUID
    reason: str


SubscriberEvent = (
    SubscriberContracted
    | SubscriberActivated
    | ContractChanged
    | ContractCancelled
    | CredentialIssued
    | CredentialRevoked
)
