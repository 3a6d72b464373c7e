"""What can be asked of the contracts. Time and identity travel in the command."""

from uuid import UUID, uuid5

from medbus.schemas.events import CredentialKind, Instant, Meta, Terms, Value


class ContractCommand(Value):
    """What all commands have.

    Attributes:
        command_id: its identity; whoever repeats a command repeats the id, and nothing happens twice.
        at: when it is given, UTC.
        source: the component that gives it.
        subscriber: whose contract it is about.
        actor: on whose behalf, where that is a subscriber.
    """

    command_id: UUID
    at: Instant
    source: str
    subscriber: str
    actor: str | None = None

    @property
    def event_id(self) -> UUID:
        """Identity of the event that the command leads to."""
        return uuid5(self.command_id, type(self).__name__)

    def meta(self) -> Meta:
        """The head of the event that the command leads to."""
        return Meta.first(self.event_id, source=self.source, occurred_at=self.at, actor=self.actor)


class Contract(ContractCommand):
    """Make a contract."""

    terms: Terms


class Activate(ContractCommand):
    """The subscriber's program runs for the first time."""

    program: str


class Change(ContractCommand):
    """Replace the terms of a contract as a whole."""

    terms: Terms


class Cancel(ContractCommand):
    """End a contract."""

    reason: str


class IssueCredential(ContractCommand):
    """Let a subscriber prove who it is in one more way.

    Attributes:
        digest: SHA-256, in lower-case hexadecimal, of the token or of the certificate in DER.
    """

    credential_id: UUID
    kind: CredentialKind
    digest: str
    label: str
    expires_at: Instant | None = None


class RevokeCredential(ContractCommand):
    """Make a credential worthless."""

    credential_id: UUID
    reason: str


Command = Contract | Activate | Change | Cancel | IssueCredential | RevokeCredential
