"""Amounts of money: whole minor units of a currency (ISO 4217), never a binary fraction.

A price is a decimal number in the major unit, as a text ("0.0025"); it may be finer than the minor unit. An
amount is rounded once, by a policy that is stored beside it.
"""

import re
from decimal import Decimal
from fractions import Fraction
from functools import cache

from iso4217 import Currency

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Money

MAX_DECIMALS = 12
"""Of a price."""

_PRICE = re.compile(r"\d{1,15}(\.\d+)?", re.ASCII)
_AMOUNT = re.compile(r"[+-]?\d{1,15}(\.\d+)?", re.ASCII)
_POLICY = re.compile(r"half-up-(\d)")
_LONG = 1 << 63


class InvalidMoney(MedbusError):
    """A text is no amount, no price or no currency."""


@cache
def decimals(currency: str) -> int:
    """How many decimals the major unit of a currency has (ISO 4217): 2 for EUR, 0 for JPY, 3 for BHD.

    Raises:
        InvalidMoney: it is no currency that is paid with.
    """
    try:
        found = Currency(currency).exponent
    except ValueError:
        found = None
    if found is None:
        raise InvalidMoney(
            f"{currency[:16]!r} is no currency.", "Give the three letters of ISO 4217, as EUR, JPY or BHD."
        )
    return int(found)


def policy(currency: str) -> str:
    """The policy by which amounts in a currency are rounded: to its minor unit, half up.

    Raises:
        InvalidMoney: it is no currency that is paid with.
    """
    return f"half-up-{decimals(currency)}"


def price(text: str) -> str:
    """A price in the form in which it is recorded: no sign, no superfluous zeros.

    Raises:
        InvalidMoney: it is less than nothing, no decimal number, or has more than MAX_DECIMALS decimals.
    """
    plain = text.strip()
    if not _PRICE.fullmatch(plain):
        raise InvalidMoney(f"{text[:32]!r} is no price.", "Write it as 12, 0.05 or 0.0025.")
    number = Decimal(plain)
    shown = f"{number.normalize():f}" if number else "0"
    if len(shown.partition(".")[2]) > MAX_DECIMALS:
        raise InvalidMoney(
            f"The price {text[:32]} has more than {MAX_DECIMALS} decimals.", "Give it for more units at once."
        )
    return shown


def amount(text: str, currency: str) -> Money:
    """An amount from a decimal number in the major unit.

    Raises:
        InvalidMoney: it is none, it is finer than the minor unit, or the currency is none.
    """
    places = decimals(currency)
    plain = text.strip()
    if not _AMOUNT.fullmatch(plain):
        example = number_of(Money(minor_units=1250, currency=currency))
        raise InvalidMoney(f"{text[:32]!r} is no amount.", f"Write it as {example}.")
    minor = Fraction(plain) * 10**places
    if minor.denominator != 1:
        raise InvalidMoney(
            f"{text[:32]} is finer than the minor unit of {currency}, which has {places} decimals.",
            "Round it yourself: an amount that was paid is not rounded here.",
        )
    return Money(minor_units=int(minor), currency=currency)


def rounded(quantity: int, price: str, per: int, policy: str, currency: str) -> Money:
    """What so many units cost: quantity times price by per, rounded by the policy.

    Args:
        quantity: how many units.
        price: of `per` units, as `price` gives it.
        per: how many units the price is for; at least 1.
        policy: `half-up-N`: to N decimals of the major unit, a half goes away from zero.
        currency: of the price.

    Raises:
        InvalidMoney: the policy is not known, or the amount is beyond all measure.
    """
    match = _POLICY.fullmatch(policy)
    if match is None:
        raise InvalidMoney(f"{policy[:32]!r} is no way to round.", "This version knows half-up-N.")
    whole, _, fraction = price.partition(".")
    # In whole numbers, because no decimal precision is enough for all quantities.
    above = abs(quantity) * int(whole + fraction) * 10 ** int(match[1])
    below = per * 10 ** len(fraction)
    minor = (2 * above + below) // (2 * below)
    if minor >= _LONG:
        raise InvalidMoney(f"{quantity} units at {price} by {per} are beyond all measure.")
    return Money(minor_units=minor if quantity >= 0 else -minor, currency=currency)


def total(amounts: list[Money], currency: str) -> Money:
    """The sum of amounts.

    Raises:
        InvalidMoney: they are not all of this currency.
    """
    for each in amounts:
        if each.currency != currency:
            raise InvalidMoney(f"{each.currency} and {currency} can't be added.")
    return Money(minor_units=sum(each.minor_units for each in amounts), currency=currency)


def decimal(money: Money) -> Decimal:
    """An amount in the major unit, with all its decimals."""
    return Decimal(money.minor_units).scaleb(-decimals(money.currency))


def text_of(money: Money) -> str:
    """An amount as a decimal number in the major unit with all its decimals, and the currency."""
    return f"{number_of(money)} {money.currency}"


def number_of(money: Money) -> str:
    """An amount as a decimal number in the major unit with all its decimals."""
    return f"{decimal(money):f}"
