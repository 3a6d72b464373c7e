"""A contract between the service and a subscriber, as the sum of its events. Pure."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from medbus.schemas.events import (
    ContractCancelled,
    ContractChanged,
    CredentialIssued,
    CredentialKind,
    CredentialRevoked,
    SubscriberActivated,
    SubscriberContracted,
    SubscriberEvent,
    Terms,
    Value,
)


class Credential(Value):
    """A way for a subscriber to prove who it is; the digest is the SHA-256 of the secret, in hexadecimal."""

    credential_id: UUID
    kind: CredentialKind
    digest: str
    label: str
    issued_at: datetime
    expires_at: datetime | None = None
    revoked: bool = False


class Contract(Value):
    """A contract. Credentials are in the order in which they were issued."""

    subscriber: str
    terms: Terms
    contracted_at: datetime
    activated_at: datetime | None = None
    cancelled_at: datetime | None = None
    credentials: tuple[Credential, ...] = ()

    @property
    def live(self) -> bool:
        """Whether it is in force."""
        return self.cancelled_at is None


def evolve(contract: Contract | None, event: SubscriberEvent) -> Contract:
    """The contract after an event.

    A subscriber that comes back after a cancellation gets a new contract: the credentials of the old one stay
    worthless. An event about a contract that was never made leads to one that is not in force.
    """
    at = event.meta.occurred_at
    if isinstance(event, SubscriberContracted):
        return Contract(subscriber=event.subscriber, terms=event.terms, contracted_at=at)
    if contract is None:
        contract = Contract(
            subscriber=event.subscriber, terms=Terms(name=event.subscriber), contracted_at=at, cancelled_at=at
        )
    match event:
        case SubscriberActivated():
            return contract if contract.activated_at else replace(contract, activated_at=at)
        case ContractChanged():
            return replace(contract, terms=event.terms)
        case ContractCancelled():
            return contract if contract.cancelled_at else replace(contract, cancelled_at=at)
        case CredentialIssued():
            return replace(contract, credentials=_issued(contract.credentials, event))
        case CredentialRevoked():
            return replace(contract, credentials=_revoked(contract.credentials, event))


def _issued(credentials: tuple[Credential, ...], event: CredentialIssued) -> tuple[Credential, ...]:
    if any(each.credential_id == event.credential_id for each in credentials):
        return credentials
    new = Credential(
        credential_id=event.credential_id,
        kind=event.kind,
        digest=event.digest,
        label=event.label,
        issued_at=event.meta.occurred_at,
        expires_at=event.expires_at,
    )
    return (*credentials, new)


def _revoked(credentials: tuple[Credential, ...], event: CredentialRevoked) -> tuple[Credential, ...]:
    return tuple(
        replace(each, revoked=True) if each.credential_id == event.credential_id else each
        for each in credentials
    )
