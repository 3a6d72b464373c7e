"""How prices are written: KIND[:ITEM]=PRICE[/UNITS] in an argument, or in a table of a TOML file. Pure."""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from fractions import Fraction
from typing import Any

from medbus.compose.cli.options import instant
from medbus.schemas import money
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import FeeKind, Price, Value
from medbus.streams.tariffs.kinds import COUNTING

_PREFIXES = ("", "k", "m", "g", "t", "p")
_BYTES = {f"{prefix}b": 1000**power for power, prefix in enumerate(_PREFIXES)} | {
    f"{prefix}ib": 1024**power for power, prefix in enumerate(_PREFIXES) if prefix
}
_SECONDS = {"s": 1, "min": 60, "h": 3600}

UNITS: Mapping[str, Mapping[str, int]] = {
    "byte": _BYTES,
    "byte-day": _BYTES | {f"{name}-day": number for name, number in _BYTES.items()},
    "second": _SECONDS,
}
"""What many units of a thing are called, in small letters, and how many those are."""

_SHOWN = {
    "byte": [("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 1000)],
    "millisecond": [("day", 86_400_000), ("second", 1000)],
}
_SHOWN["byte-day"] = [(f"{name}-day", number) for name, number in _SHOWN["byte"]]


class PriceFile(Value):
    """What a TOML file with a price list says; what it does not say is None."""

    currency: str | None
    valid_from: datetime | None
    prices: tuple[Price, ...]


def fee_kind(text: str) -> FeeKind:
    """The kind of a fee, however written: delivery, registration-in-use, PROCESSING_IMAGE.

    Raises:
        SettingsError: there is none.
    """
    name = text.strip().upper().replace("-", "_")
    if name not in {each.value for each in COUNTING}:
        raise SettingsError(
            f"There is no kind of fee {text[:64]!r}.",
            f"Choose among {', '.join(each.lower() for each in COUNTING)}.",
        )
    return FeeKind(name)


def price(text: str) -> Price:
    """A price from KIND[:ITEM]=PRICE[/UNITS].

    Raises:
        SettingsError: it is not written so. InvalidMoney: its price is none.
    """
    what, equals, cost = text.rpartition("=")
    if not equals:
        raise SettingsError(
            f"{text[:64]!r} is no price of anything.",
            "Write KIND=PRICE or KIND:ITEM=PRICE/UNITS, as delivery=0.05 or registration_in_use=0.002/GB.",
        )
    return priced(what, cost)


def priced(what: str, cost: str) -> Price:
    """A price from KIND[:ITEM] and PRICE[/UNITS].

    Raises:
        SettingsError: it is not written so. InvalidMoney: its price is none.
    """
    name, _, item = what.partition(":")
    kind = fee_kind(name)
    number, slash, units = cost.partition("/")
    return Price(
        kind=kind,
        item=item.strip(),
        price=money.price(number),
        per=_units(kind, units) if slash else 1,
    )


def unit_price(price: str, per: int, unit: str) -> str:
    """What so many units cost, for people: 0.002 per GB-day for 0.002, 10**9 and byte-day.

    Args:
        price: of `per` units.
        per: how many.
        unit: what they are, as fees and price lists name it.
    """
    for name, size in _SHOWN.get(unit, ()):
        if per % size == 0:
            count = per // size
            plural = "s" if count > 1 and name.islower() else ""
            return f"{price} per {f'{count} ' if count > 1 else ''}{name}{plural}"
    return f"{price} per {unit}" if per == 1 else f"{price} per {per} {unit}s"


def text_of(price: Price) -> tuple[str, str]:
    """A line of a price list for people: KIND[:ITEM], and what it costs, as 0.002 per GB-day."""
    what = price.kind.lower() + (f":{price.item}" if price.item else "")
    unit = COUNTING[price.kind].unit if price.kind in COUNTING else "unit"
    return what, unit_price(price.price, price.per, unit)


def read(text: str) -> PriceFile:
    """A price list from TOML: `currency`, perhaps `from`, and a table `prices`: KIND[:ITEM]="PRICE[/UNITS]".

    Raises:
        SettingsError: it is not written so; says where. InvalidMoney: a price is none.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The price list can't be read: {error}.", "Correct the file.") from error
    if unknown := sorted(set(found) - {"currency", "from", "prices"}):
        raise SettingsError(
            f"A price list has no {unknown[0]!r}.", "It has currency, from, and a table [prices]."
        )
    currency, prices = found.get("currency"), found.get("prices", {})
    if currency is not None and not isinstance(currency, str):
        raise SettingsError(f"The currency {currency!r} is no text.", 'Write currency = "EUR".')
    if not isinstance(prices, dict):
        raise SettingsError(
            "The prices of a price list are a table.", 'Write [prices] and below it delivery = "0.05".'
        )
    return PriceFile(
        currency=currency,
        valid_from=_moment(found.get("from")),
        prices=tuple(_entry(what, cost) for what, cost in prices.items()),
    )


def _entry(what: str, cost: Any) -> Price:
    if isinstance(cost, float):
        raise SettingsError(
            f"The price of {what} is a binary fraction, which most decimal prices are not equal to.",
            f'Put it into quotes, so that it is taken as it is written: "{what}" = "{cost}".',
        )
    if not isinstance(cost, str):
        raise SettingsError(f"The price of {what} is no text.", f'Write "{what}" = "0.05" with quotes.')
    return priced(what, cost)


def _moment(value: Any) -> datetime | None:
    match value:
        case None:
            return None
        case str():
            return instant(value)
        case datetime():
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        case date():
            return datetime.combine(value, time(), tzinfo=UTC)
    raise SettingsError(f"{value!r} is no time.", 'Write from = "2027-01-01" or from = 2027-01-01T00:00:00Z.')


_NUMBER = re.compile(r"(\d{1,19}(?:\.\d{1,18})?)?\s*([A-Za-z][A-Za-z-]*)?")


def _units(kind: FeeKind, text: str) -> int:
    """How many units a price is for, from 1000, GB, 10 GB or min."""
    unit = COUNTING[kind].unit
    names = UNITS.get(unit, {})
    wrong = SettingsError(
        f"{text[:32]!r} is no number of {unit}s.",
        "Write a whole number"
        + {
            "byte": ", or as in 10MB or GiB.",
            "byte-day": ", or as in GB or 100GiB.",
            "second": ", or min or h.",
        }.get(unit, ", as 1000."),
    )
    match = _NUMBER.fullmatch(text.strip())
    if match is None or not text.strip():
        raise wrong
    size = 1 if match[2] is None else names.get(match[2].lower())
    if size is None:
        raise wrong
    number = Fraction(match[1] or "1") * size
    if number.denominator != 1 or number < 1:
        raise wrong
    return int(number)
