"""What can be asked of the contracts."""

from uuid import UUID

from medbus.schemas.events import CredentialKind, Instant, Terms
from medbus.streams import command


class ContractCommand(command.Command):
    """What all commands have.

    Attributes:
        subscriber: whose contract it is about.
    """

    subscriber: str


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
