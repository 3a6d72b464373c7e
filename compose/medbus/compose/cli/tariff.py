"""`medbus tariff`: price lists."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from medbus.bus import Bus
from medbus.compose.cli import console, price
from medbus.compose.cli.options import (
    HomeOption,
    JsonOption,
    KafkaOption,
    bootstrap,
    installation,
    instant,
)
from medbus.compose.cli.subscriber import SOURCE, shown
from medbus.compose.settings import Settings
from medbus.projections.accounts import AccountReader
from medbus.projections.database import Database
from medbus.schemas.errors import MedbusError, SettingsError
from medbus.schemas.events import TariffSet
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.kinds import COUNTING
from medbus.streams.tariffs.service import TariffService

app = typer.Typer(help="Tariffs: set and show price lists.", no_args_is_help=True)

TariffArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the price list.")]

_KINDS = "\n".join(
    f"  {kind.lower():<23}per {each.unit}{'*' if each.items else ''}, {each.when}"
    for kind, each in COUNTING.items()
)
_SET_HELP = f"""\
Set a price list, or its next version.

A version is good from now on, or from a later time on; what was charged before stays as it was. It replaces
the one before it as a whole: what has no price in it is free of charge. Prices are decimal numbers in the
currency's major unit. What is measured, as bytes and time, may have a price finer than the minor unit: each
fee is rounded half up when it is charged. What is counted one by one has a price that can be paid.

A price is KIND=PRICE, or KIND=PRICE/UNITS for so many units at once. UNITS is a number, or for bytes as kB,
MB, GB or GiB, for byte-days the same (a GB for a day), for seconds as min or h. Kinds, and what each is per;
one with a star can have a price for one processing type or software alone, as KIND:ITEM=PRICE:

\b
{_KINDS}

A file has the same in TOML; its prices have quotes, since a number without them is a binary fraction:

\b
  currency = "EUR"
  from = "2027-01-01"
  [prices]
  subscription = "100"
  registration_in_use = "0.002/GB"
  "processing_image:denoise" = "0.02"

Examples:
    medbus tariff set standard --currency EUR --price subscription=100 --price management=30 \\
        --price registration_in_use=0.002/GB --price delivery=0.05 --price connection=0.01
    medbus tariff set standard --currency EUR --from 2027-01-01 --price processing_byte=0.02/MB \\
        --price processing_second=0.10/60 --price processing_image:denoise=0.02
    medbus tariff set standard --file tariff.toml
"""


@app.command("set", help=_SET_HELP)
def set_(
    name: TariffArgument,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of all prices, ISO 4217, as EUR.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="From when it is good, ISO 8601, UTC; now by default."),
    ] = None,
    prices: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="KIND[:ITEM]=PRICE[/UNITS]", help="A price; repeatable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take them from this TOML file instead.")
    ] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Set a price list, or its next version."""
    if (file is None) == (prices is None):
        raise SettingsError(
            "Prices are given by --price or by --file, and by one of them only.",
            "See `medbus tariff set --help`.",
        )
    if file is None:
        listed = price.PriceFile(
            currency=None, valid_from=None, prices=tuple(price.price(text) for text in prices or ())
        )
    else:
        listed = price.read(_text(file))
    command = SetTariff(
        command_id=uuid4(),
        at=datetime.now(UTC),
        source=SOURCE,
        tariff=name,
        currency=_once("currency", currency, listed.currency),
        prices=listed.prices,
        valid_from=_at_most_once(None if since is None else instant(since), listed.valid_from),
    )
    for each in console.run(carry_out(installation(home, kafka), command)):
        console.out.print(
            f"Version {each.version} of {each.tariff} is good from {console.moment(each.valid_from)} UTC on."
        )


@app.command("list")
def list_(json: JsonOption = False, home: HomeOption = None, kafka: KafkaOption = None) -> None:
    """Show all price lists, one line for each version.

    Example:
        medbus tariff list
    """
    found = console.run(_tariffs(installation(home, kafka), None))
    if json:
        for each in found:
            console.as_json(each)
        return
    good = _good(found, datetime.now(UTC))
    console.table(
        "Tariffs",
        ("tariff", "version", "good from (UTC)", "", "currency", "rounding", "prices"),
        [
            (
                each.tariff,
                each.version,
                console.moment(each.valid_from),
                "in force" if good.get(each.tariff) == each.version else "",
                each.currency,
                each.policy,
                len(each.prices),
            )
            for each in found
        ],
    )


@app.command()
def show(
    name: TariffArgument,
    version: Annotated[int | None, typer.Option(min=1, help="Its version; the newest by default.")] = None,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show one price list in full.

    Examples:
        medbus tariff show standard
        medbus tariff show standard --version 1 --json
    """
    found = console.run(_tariffs(installation(home, kafka), name))
    if not found:
        raise MedbusError(f"There is no tariff {name!r}.", "See `medbus tariff list`.")
    chosen = [each for each in found if version in (None, each.version)]
    if not chosen:
        raise MedbusError(f"{name} has no version {version}.", f"Its versions are 1 to {found[-1].version}.")
    if json:
        console.as_json(chosen[-1])
        return
    each = chosen[-1]
    state = " (in force)" if _good(found, datetime.now(UTC)).get(name) == each.version else ""
    console.table(
        f"{name}, version {each.version}{state}, good from {console.moment(each.valid_from)} (UTC), "
        f"{each.currency}, {each.policy}",
        ("fee", "price", "charged"),
        [
            (*price.text_of(line), COUNTING[line.kind].when if line.kind in COUNTING else "")
            for line in each.prices
        ],
    )


async def carry_out(settings: Settings, command: SetTariff) -> list[TariffSet]:
    """Set a price list, and wait until the catalog shows it.

    Raises:
        MedbusError: it can't be set so, or the catalog does not follow.
    """
    async with Bus(bootstrap(settings), client_id="medbus-command", prefix=settings.prefix) as bus:
        recorded = await TariffService(bus).handle(command)
    async with Database(settings.database_url) as database:
        await shown(database, (position for _, position in recorded))
    return [event for event, _ in recorded]


def _good(found: Sequence[TariffSet], at: datetime) -> dict[str, int]:
    """The version of each price list that is in force at a time: of those that are good the last to begin."""
    begun = sorted((each for each in found if each.valid_from <= at), key=lambda v: (v.valid_from, v.version))
    return {each.tariff: each.version for each in begun}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read: {error}.", "Give a TOML file.") from error


def _once(what: str, option: str | None, listed: str | None) -> str:
    if option is None and listed is None:
        raise SettingsError(f"No {what} is given.", f"Say it with --{what}, or in the file.")
    if option is not None and listed is not None and option.upper() != listed.upper():
        raise SettingsError(f"The {what} is {option} and, in the file, {listed}.", "Say it once.")
    return str(option or listed).upper()


def _at_most_once(option: datetime | None, listed: datetime | None) -> datetime | None:
    if option is not None and listed is not None and option != listed:
        raise SettingsError(
            f"It is to be good from {option.isoformat()} and, in the file, from {listed.isoformat()} on.",
            "Say it once.",
        )
    return option or listed


async def _tariffs(settings: Settings, name: str | None) -> list[TariffSet]:
    async with Database(settings.database_url) as database:
        return await AccountReader(database).tariffs(name)
