"""`medbus subscriber`: contracts."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import msgspec
import typer

from medbus.bus import Bus, Position
from medbus.compose.cli import certificate, console, terms
from medbus.compose.cli.contract import show_contract, show_contracts
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, bootstrap, installation
from medbus.compose.cli.terms import (
    ApparatusesOption,
    CapacityOption,
    CollectionsOption,
    ModalitiesOption,
    NetworksOption,
    NewRolesOption,
    PatientsOption,
    PaymentOption,
    RegistrantsOption,
    RolesOption,
    TariffOption,
    WebhookOption,
)
from medbus.compose.settings import Settings
from medbus.projections.database import Database
from medbus.projections.directory import Contract, DirectoryReader
from medbus.projections.images import ImageReader, Usage
from medbus.schemas.errors import MedbusError, SettingsError
from medbus.schemas.events import CredentialKind, Scope, SubscriberEvent, Terms
from medbus.streams.command import Recorded
from medbus.streams.contracts import commands
from medbus.streams.contracts.service import ContractService

SOURCE = "command-line"
VISIBLE_SECONDS = 10.0

app = typer.Typer(help="Subscribers: make, show and cancel contracts.", no_args_is_help=True)

SubscriberArgument = Annotated[str, typer.Argument(help="The subscriber's id, for example A-hospital.")]


@app.command()
def add(
    subscriber: SubscriberArgument,
    roles: RolesOption,
    name: Annotated[str, typer.Option(help="Its full name; the id by default.")] = "",
    apparatuses: ApparatusesOption = None,
    networks: NetworksOption = None,
    patients: PatientsOption = None,
    registrants: RegistrantsOption = None,
    modalities: ModalitiesOption = None,
    capacity: CapacityOption = None,
    tariff: TariffOption = None,
    payment: PaymentOption = None,
    webhook: WebhookOption = None,
    collections: CollectionsOption = None,
    certificates: Annotated[
        list[Path] | None,
        typer.Option("--certificate", metavar="FILE", help="Accept this TLS client certificate (PEM)."),
    ] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Make a contract. Options that say so may be given several times.

    Examples:
        medbus subscriber add A-hospital --role image_registering --role image_receiving \\
            --apparatus 'A_CT#1=A_CT1/CT' --apparatus 'A_WS#1=A_WS/@10.1.0.7:104' --network 10.1.0.0/16 \\
            --capacity 2TB --tariff standard --payment prepaid --certificate ct1.pem
        medbus subscriber add B-clinic --role image_registering --role image_receiving \\
            --apparatus 'B_CT#1=B_CT1/CT@10.2.0.7:104' --collect 'B_CT#1=c-get@300s' \\
            --webhook https://results.b-clinic.example/medbus
        medbus subscriber add jane --role image_receiving --apparatus 'PC=JANE' --patient 4711
    """
    agreed = Terms(
        name=name or subscriber,
        roles=tuple(terms.role(text) for text in roles),
        apparatuses=tuple(terms.apparatus(text) for text in apparatuses or ()),
        networks=tuple(networks or ("127.0.0.0/8", "::1/128")),
        scope=Scope(
            patients=tuple(patients or ()),
            registrants=tuple(registrants or ()),
            modalities=tuple(modalities or ()),
        ),
        capacity_bytes=None if capacity is None else terms.capacity(capacity),
        tariff=None if tariff is None else terms.tariff(tariff),
        payment=None if payment is None else terms.payment(payment),
        webhook=None if webhook is None else terms.webhook(webhook),
        collections=tuple(terms.collection(text) for text in terms.listed(collections or [])),
    )
    contract = commands.Contract(
        command_id=uuid4(), at=datetime.now(UTC), source=SOURCE, subscriber=subscriber, terms=agreed
    )
    accepted = [_accepted(subscriber, file) for file in certificates or ()]
    console.run(carry_out(installation(home, kafka), contract, *accepted))
    console.out.print(f"{subscriber} is contracted.")


@app.command()
def change(
    subscriber: SubscriberArgument,
    roles: NewRolesOption = None,
    name: Annotated[str | None, typer.Option(help="Its full name.")] = None,
    apparatuses: ApparatusesOption = None,
    networks: NetworksOption = None,
    patients: PatientsOption = None,
    registrants: RegistrantsOption = None,
    modalities: ModalitiesOption = None,
    capacity: CapacityOption = None,
    tariff: TariffOption = None,
    payment: PaymentOption = None,
    webhook: WebhookOption = None,
    collections: CollectionsOption = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Change what a contract says; what is not named stays as it is.

    An option that may be given several times replaces all that it said before: give --apparatus for each one
    that is to be there afterwards, --patient '' for no restriction, and --collect '' to collect nothing more.
    --capacity none is no limit, --webhook none ends the announcements.

    Examples:
        medbus subscriber change A-hospital --tariff standard-2027 --capacity 4TB
        medbus subscriber change A-hospital --payment none --patient ''
        medbus subscriber change A-hospital --collect 'A_CT#1=c-get@5m' --collect 'A_US#1=/var/spool/us1@30s'
    """
    changes: dict[str, object] = {}
    if roles is not None:
        changes["roles"] = tuple(terms.role(text) for text in terms.listed(roles))
    if name is not None:
        changes["name"] = name or subscriber
    if apparatuses is not None:
        changes["apparatuses"] = tuple(terms.apparatus(text) for text in terms.listed(apparatuses))
    if networks is not None:
        changes["networks"] = terms.listed(networks)
    if capacity is not None:
        changes["capacity_bytes"] = terms.capacity(capacity)
    if tariff is not None:
        changes["tariff"] = terms.tariff(tariff)
    if payment is not None:
        changes["payment"] = terms.payment(payment)
    if webhook is not None:
        changes["webhook"] = terms.webhook(webhook)
    if collections is not None:
        changes["collections"] = tuple(terms.collection(text) for text in terms.listed(collections))
    sides = {"patients": patients, "registrants": registrants, "modalities": modalities}
    scope = {side: terms.listed(texts) for side, texts in sides.items() if texts is not None}
    if not changes and not scope:
        raise SettingsError("Nothing is to be changed.", "See `medbus subscriber change --help`.")
    settings = installation(home, kafka)
    console.run(_change(settings, subscriber, changes, scope))
    console.out.print(f"The contract of {subscriber} is changed.")


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
    contract, usage = console.run(_contract(installation(home, kafka), subscriber))
    if json:
        console.as_json({**msgspec.structs.asdict(contract), "usage": usage})
        return
    show_contract(contract, usage)


async def carry_out(settings: Settings, *given: commands.Command) -> tuple[Recorded[SubscriberEvent], ...]:
    """Carry out commands about contracts, and wait until the catalog shows what came of them.

    Raises:
        MedbusError: it can't be carried out, or the catalog does not follow.
    """
    async with Bus(bootstrap(settings), client_id="medbus-command", prefix=settings.prefix) as bus:
        service = ContractService(bus)
        recorded = tuple([each for command in given for each in await service.handle(command)])
    async with Database(settings.database_url) as database:
        await shown(database, (position for _, position in recorded))
    return recorded


async def shown(database: Database, positions: Iterable[Position]) -> None:
    """Wait until the catalog shows what stands at these places in the log.

    Raises:
        MedbusError: it does not follow.
    """
    for position in positions:
        if not await database.reached(position, timeout=VISIBLE_SECONDS):
            raise MedbusError(
                f"It is in the log ({position}), but the catalog does not show it yet.",
                "See `medbus status`: does the projector run?",
            )


async def contract_of(database: Database, subscriber: str) -> Contract:
    """The contract of a subscriber, in whatever state.

    Raises:
        MedbusError: there is none.
    """
    contract = await DirectoryReader(database).contract(subscriber)
    if contract is None:
        raise MedbusError(f"There is no subscriber {subscriber!r}.", "See `medbus subscriber list`.")
    return contract


def _accepted(subscriber: str, file: Path) -> commands.IssueCredential:
    return commands.IssueCredential(
        command_id=uuid4(),
        at=datetime.now(UTC),
        source=SOURCE,
        subscriber=subscriber,
        credential_id=uuid4(),
        kind=CredentialKind.CLIENT_CERTIFICATE,
        digest=certificate.digest(file),
        label=file.name,
    )


async def _change(
    settings: Settings, subscriber: str, changes: dict[str, object], scope: dict[str, tuple[str, ...]]
) -> None:
    """Read the terms as the log has them now, and replace them by changed ones."""
    async with Bus(bootstrap(settings), client_id="medbus-command", prefix=settings.prefix) as bus:
        contract = (await ContractService(bus).state()).contracts.get(subscriber)
    if contract is None:
        raise MedbusError(f"There is no subscriber {subscriber!r}.", "See `medbus subscriber list`.")
    if scope:
        changes = {**changes, "scope": msgspec.structs.replace(contract.terms.scope, **scope)}
    changed = msgspec.structs.replace(contract.terms, **changes)
    command = commands.Change(
        command_id=uuid4(), at=datetime.now(UTC), source=SOURCE, subscriber=subscriber, terms=changed
    )
    await carry_out(settings, command)


async def _contracts(settings: Settings) -> list[Contract]:
    async with Database(settings.database_url) as database:
        return await DirectoryReader(database).contracts()


async def _contract(settings: Settings, subscriber: str) -> tuple[Contract, Usage]:
    async with Database(settings.database_url) as database:
        return await contract_of(database, subscriber), await ImageReader(database).usage(subscriber)
