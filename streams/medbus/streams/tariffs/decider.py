"""Price lists: `decide` and `fold`, both pure. A price that was once good for a time stays so for ever.

A version is good from its time on, which is never in the past when it is made, until that of another. Of two
that begin at the same time, the later one is good: a version that has not begun can be replaced.
"""

import re
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from medbus.schemas import money
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Price, TariffSet, Value
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.kinds import COUNTING

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONG = 1 << 63


class InvalidTariff(MedbusError):
    """A price list can't be like this."""


class State(Value):
    """All versions of all price lists, in the order of the log."""

    versions: Mapping[str, tuple[TariffSet, ...]] = {}


def fold(state: State, events: Iterable[TariffSet]) -> State:
    """The price lists after several events. An event that comes a second time changes nothing."""
    versions = dict(state.versions)
    for event in events:
        known = versions.get(event.tariff, ())
        if all(each.meta.event_id != event.meta.event_id for each in known):
            versions[event.tariff] = (*known, event)
    return State(versions=versions)


def decide(state: State, command: SetTariff) -> tuple[TariffSet, ...]:
    """What happens on a command: one event, or none where it has happened already.

    Raises:
        InvalidTariff, InvalidMoney: it can't be carried out; nothing happens.
    """
    if not _NAME.fullmatch(command.tariff):
        raise InvalidTariff(
            f"{command.tariff[:65]!r} can't be the name of a price list.",
            "Use 1 to 64 letters, digits, dots, hyphens and underscores, for example standard.",
        )
    known = state.versions.get(command.tariff, ())
    if any(each.meta.event_id == command.event_id for each in known):
        return ()
    policy = money.policy(command.currency)
    if known and known[-1].currency != command.currency:
        raise InvalidTariff(
            f"{command.tariff} is in {known[-1].currency}, and stays so.",
            f"Make another price list for {command.currency}.",
        )
    valid_from = command.at if command.valid_from is None else command.valid_from
    if valid_from < command.at:
        raise InvalidTariff(
            f"Prices can't be changed for the past: {valid_from:%Y-%m-%d %H:%M:%S} is over.",
            "Name a later time, or none for at once.",
        )
    return (
        TariffSet(
            meta=command.meta(),
            tariff=command.tariff,
            version=len(known) + 1,
            valid_from=valid_from,
            currency=command.currency,
            policy=policy,
            prices=checked(command.prices, command.currency),
        ),
    )


def checked(prices: Iterable[Price], currency: str) -> tuple[Price, ...]:
    """Prices in the form in which they are recorded.

    Raises:
        InvalidTariff, InvalidMoney: a price list can't have them.
    """
    found: dict[tuple[str, str], Price] = {}
    for each in prices:
        price = _checked(each, currency)
        if found.setdefault((price.kind, price.item), price) is not price:
            raise InvalidTariff(
                f"{_named(price)} has two prices.", "Give each kind one price, and each item one of its own."
            )
    return tuple(found.values())


def _checked(price: Price, currency: str) -> Price:
    counting = COUNTING.get(price.kind)
    if counting is None:
        raise InvalidTariff(
            f"{price.kind.value} is nothing that can be charged.",
            f"Kinds are {', '.join(kind.value for kind in COUNTING)}.",
        )
    if price.item and not counting.items:
        raise InvalidTariff(
            f"{price.kind.value} has one price for all, not one for {price.item[:64]!r}.",
            "Leave the item out.",
        )
    if len(price.item) > 64 or (not price.item.isprintable() and price.item):
        raise InvalidTariff(f"{price.item[:65]!r} is no item.", "Name a processing type or a software id.")
    if not 1 <= price.per < _LONG // 1_000_000:
        raise InvalidTariff(f"{price.per} {counting.unit}s have no price.", "Give the price of 1 or more.")
    if counting.unit == "period" and price.per != 1:
        raise InvalidTariff(f"{_named(price)} is by {price.per} periods.", "Give the price of one period.")
    shown = money.price(price.price)
    if counting.whole:
        places = money.decimals(currency)
        if price.per != 1 or len(shown.partition(".")[2]) > places:
            raise InvalidTariff(
                f"{_named(price)} at {shown} {currency} by {price.per} can't be paid: each {counting.unit} "
                f"is charged by itself, and {currency} has {places} decimals.",
                f"Give a price of one {counting.unit} in whole {currency} with at most {places} decimals.",
            )
    return replace(price, price=shown)


def _named(price: Price) -> str:
    return f"{price.kind.value}:{price.item}" if price.item else price.kind.value
