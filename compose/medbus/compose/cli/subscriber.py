"""`medbus subscriber`: contracts."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from medbus.bus import Bus
from medbus.compose.cli import console
from medbus.compose.cli.options import (
    HomeOption,
    JsonOption,
    KafkaOption,
    bootstrap,
    installation,
    size,
)
from medbus.compose.settings import Settings
from medbus.projections.database import Database
from medbus.projections.directory import Contract, DirectoryReader
from medbus.schemas.errors import MedbusError, SettingsError
from medbus.schemas.events import Apparatus, Role, Scope, Terms
from medbus.streams.contracts import commands
from medbus.streams.contracts.service import ContractService, Recorded

SOURCE = "command-line"
VISIBLE_SECONDS = 10.0
ROLES = tuple(role for role in Role if role is not Role.UNSPECIFIED)

app = typer.Typer(help="Subscribers: make, show and cancel contracts.", no_args_is_help=True)

SubscriberArgument = Annotated[str, typer.Argument(help="The subscriber's id, for example A-hospital.")]


@app.command()
def add(
    subscriber: SubscriberArgument,
    roles: Annotated[
        list[str],
        typer.Option("--role", help="What it may do: " + ", ".join(r.value.lower() for r in ROLES) + "."),
    ],
    name: Annotated[str, typer.Option(help="Its full name; the id by default.")] = "",
    apparatuses: Annotated[
        list[str] | None,
        typer.Option(
            "--apparatus",
            metavar="ID=AET[/MODALITY][@HOST:PORT]",
            help="An apparatus; with host and port images may be sent to it.",
        ),
    ] = None,
    networks: Annotated[
        list[str] | None,
        typer.Option(
            "--network", metavar="CIDR", help="Where it may speak from without another credential; loopback."
        ),
    ] = None,
    patients: Annotated[
        list[str] | None, typer.Option("--patient", help="Only images of this patient id.")
    ] = None,
    registrants: Annotated[
        list[str] | None, typer.Option("--registrant", help="Only images that this subscriber registered.")
    ] = None,
    modalities: Annotated[
        list[str] | None, typer.Option("--modality", help="Only images of this modality.")
    ] = None,
    capacity: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The most that it may keep registered, as 500GB.")
    ] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Make a contract. Options that say so may be given several times.

    Examples:
        medbus subscriber add A-hospital --role image_registering --role image_receiving \\
            --apparatus 'A_CT#1=A_CT1/CT' --apparatus 'A_WS#1=A_WS/@10.1.0.7:104' --network 10.1.0.0/16
        medbus subscriber add jane --role image_receiving --apparatus 'PC=JANE' --patient 4711
    """
    terms = Terms(
        name=name or subscriber,
        roles=tuple(role(text) for text in roles),
        apparatuses=tuple(apparatus(text) for text in apparatuses or ()),
        networks=tuple(networks or ("127.0.0.0/8", "::1/128")),
        scope=Scope(
            patients=tuple(patients or ()),
            registrants=tuple(registrants or ()),
            modalities=tuple(modalities or ()),
        ),
        capacity_bytes=None if capacity is None else size(capacity),
    )
    command = commands.Contract(
        command_id=uuid4(), at=datetime.now(UTC), source=SOURCE, subscriber=subscriber, terms=terms
    )
    console.run(carry_out(installation(home, kafka), command))
    console.out.print(f"{subscriber} is contracted.")


@app.command()
def cancel(
    subscriber: SubscriberArgument,
    reason: Annotated[str, typer.Option(help="Why, in words.")] = "cancelled by the manager",
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """End a contract. What was registered under it stays.

    Example:
        medbus subscriber cancel A-hospital --reason 'closed'
    """
    command = commands.Cancel(
        command_id=uuid4(), at=datetime.now(UTC), source=SOURCE, subscriber=subscriber, reason=reason
    )
    console.run(carry_out(installation(home, kafka), command))
    console.out.print(f"The contract of {subscriber} is cancelled.")


@app.command("list")
def list_(json: JsonOption = False, home: HomeOption = None, kafka: KafkaOption = None) -> None:
    """Show all contracts.

    Example:
        medbus subscriber list --json
    """
    show_contracts(console.run(_contracts(installation(home, kafka))), json)


@app.command()
def show(
    subscriber: SubscriberArgument,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show one contract in full.

    Example:
        medbus subscriber show A-hospital
    """
    contract = console.run(_contract(installation(home, kafka), subscriber))
    if json:
        console.as_json(contract)
        return
    terms = contract.terms
    console.table(
        subscriber,
        ("term", "value"),
        [
            ("name", terms.name),
            ("state", state(contract)),
            ("contracted", console.moment(contract.contracted_at)),
            ("activated", console.moment(contract.activated_at)),
            ("cancelled", console.moment(contract.cancelled_at)),
            ("roles", ", ".join(role.lower() for role in terms.roles)),
            ("networks", ", ".join(terms.networks)),
            ("patients", ", ".join(terms.scope.patients) or "all"),
            ("registrants", ", ".join(terms.scope.registrants) or "all"),
            ("modalities", ", ".join(terms.scope.modalities) or "all"),
            (
                "capacity",
                "no limit" if terms.capacity_bytes is None else console.bytes_text(terms.capacity_bytes),
            ),
        ],
    )
    console.table(
        "Apparatuses",
        ("id", "AE title", "modality", "address"),
        [(a.apparatus_id, a.ae_title, a.modality, address(a)) for a in terms.apparatuses],
    )
    if contract.credentials:
        console.table(
            "Credentials",
            ("id", "kind", "label", "issued", "expires", "revoked"),
            [
                (
                    each.credential_id,
                    each.kind.lower(),
                    each.label,
                    console.moment(each.issued_at),
                    console.moment(each.expires_at),
                    "yes" if each.revoked else "",
                )
                for each in contract.credentials
            ],
        )


def role(text: str) -> Role:
    """The role of this name, however written: image-receiving, IMAGE_RECEIVING.

    Raises:
        SettingsError: there is none.
    """
    name = text.strip().upper().replace("-", "_")
    if name not in {each.value for each in ROLES}:
        raise SettingsError(
            f"There is no role {text!r}.", f"Choose among {', '.join(r.lower() for r in ROLES)}."
        )
    return Role(name)


_APPARATUS = re.compile(
    r"(?P<id>[^=]+)=(?P<aet>[^/@]+)(?:/(?P<modality>[^@]*))?(?:@(?P<host>.+):(?P<port>\d+))?"
)


def apparatus(text: str) -> Apparatus:
    """An apparatus from ID=AET[/MODALITY][@HOST:PORT].

    Raises:
        SettingsError: it is not written so.
    """
    match = _APPARATUS.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"{text!r} does not describe an apparatus.",
            "Write ID=AET, ID=AET/MODALITY or ID=AET/MODALITY@HOST:PORT, as 'A_CT#1=A_CT1/CT@10.0.0.7:104'.",
        )
    return Apparatus(
        apparatus_id=match["id"].strip(),
        ae_title=match["aet"].strip(),
        modality=(match["modality"] or "").strip(),
        host=match["host"],
        port=None if match["port"] is None else int(match["port"]),
    )


def address(apparatus: Apparatus) -> str:
    """Where an apparatus listens; empty if it does not."""
    return "" if apparatus.host is None else f"{apparatus.host}:{apparatus.port}"


def state(contract: Contract) -> str:
    """How far a contract is in its life."""
    if not contract.live:
        return "cancelled"
    return "active" if contract.activated_at else "contracted"


def show_contracts(contracts: Sequence[Contract], json: bool) -> None:
    """Print contracts, one a line."""
    if json:
        for contract in contracts:
            console.as_json(contract)
        return
    console.table(
        "Subscribers",
        ("subscriber", "name", "state", "roles", "apparatuses", "since (UTC)"),
        [
            (
                contract.subscriber,
                contract.terms.name,
                state(contract),
                ", ".join(role.lower() for role in contract.terms.roles),
                ", ".join(f"{a.apparatus_id} ({a.ae_title})" for a in contract.terms.apparatuses),
                console.moment(contract.contracted_at),
            )
            for contract in contracts
        ],
    )


async def carry_out(settings: Settings, command: commands.Command) -> tuple[Recorded, ...]:
    """Carry out a command about a contract, and wait until the catalog shows what came of it.

    Raises:
        MedbusError: it can't be carried out, or the catalog does not follow.
    """
    async with Bus(bootstrap(settings), client_id="medbus-command", prefix=settings.prefix) as bus:
        recorded = await ContractService(bus).handle(command)
    async with Database(settings.database_url) as database:
        for _, position in recorded:
            if not await database.reached(position, timeout=VISIBLE_SECONDS):
                raise MedbusError(
                    f"It is in the log ({position}), but the catalog does not show it yet.",
                    "See `medbus status`: does the projector run?",
                )
    return recorded


async def _contracts(settings: Settings) -> list[Contract]:
    async with Database(settings.database_url) as database:
        return await DirectoryReader(database).contracts()


async def _contract(settings: Settings, subscriber: str) -> Contract:
    async with Database(settings.database_url) as database:
        contract = await DirectoryReader(database).contract(subscriber)
    if contract is None:
        raise MedbusError(f"There is no subscriber {subscriber!r}.", "See `medbus subscriber list`.")
    return contract
