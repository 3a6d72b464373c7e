"""`medbus credential`: how a subscriber proves who it is. Secrets are shown once and never kept."""

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

import typer

from medbus.compose.cli import certificate as certificates
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, KafkaOption, installation, instant
from medbus.compose.cli.subscriber import SOURCE, SubscriberArgument, carry_out
from medbus.schemas.events import CredentialKind
from medbus.streams.contracts import commands

app = typer.Typer(help="Credentials: issue and revoke tokens and certificates.", no_args_is_help=True)


@app.command()
def issue(
    subscriber: SubscriberArgument,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Accept this TLS client certificate (PEM). Without it: a new bearer token."
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="What the subscriber calls it.")] = "",
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it ends, ISO 8601, UTC; never by default.")
    ] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Issue a bearer token, or accept a client certificate.

    The token is printed alone on standard output, and nowhere else: the log holds only its hash.
    Once a subscriber has a certificate, its AE titles are good only with it.

    Examples:
        medbus credential issue A-hospital --label viewer > token
        medbus credential issue A-hospital --certificate ct1.pem --expires 2027-12-31
    """
    token = None if certificate else secrets.token_urlsafe(32)
    if certificate is None:
        digest = hashlib.sha256(str(token).encode()).hexdigest()
    else:
        digest = certificates.digest(certificate)
    credential_id = uuid4()
    command = commands.IssueCredential(
        command_id=uuid4(),
        at=datetime.now(UTC),
        source=SOURCE,
        subscriber=subscriber,
        credential_id=credential_id,
        kind=CredentialKind.BEARER_TOKEN if token else CredentialKind.CLIENT_CERTIFICATE,
        digest=digest,
        label=label or (certificate.name if certificate else "token"),
        expires_at=None if expires is None else instant(expires),
    )
    console.run(carry_out(installation(home, kafka), command))
    console.err.print(f"Credential {credential_id} of {subscriber} is good from now on.")
    if token:
        console.out.print(token, soft_wrap=True)


@app.command()
def revoke(
    subscriber: SubscriberArgument,
    credential: Annotated[UUID, typer.Argument(help="Its id, see `medbus subscriber show`.")],
    reason: Annotated[str, typer.Option(help="Why, in words.")] = "revoked by the manager",
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Make a credential worthless.

    Example:
        medbus credential revoke A-hospital 0d3c9b3e-8f0a-4e51-9a7e-0f7d5a1c2b11 --reason lost
    """
    command = commands.RevokeCredential(
        command_id=uuid4(),
        at=datetime.now(UTC),
        source=SOURCE,
        subscriber=subscriber,
        credential_id=credential,
        reason=reason,
    )
    console.run(carry_out(installation(home, kafka), command))
    console.out.print(f"Credential {credential} of {subscriber} is revoked.")
