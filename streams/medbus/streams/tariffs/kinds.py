"""What can be charged: how each kind of fee is counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from medbus.schemas.events import FeeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How a kind of fee is counted.

    Attributes:
        unit: what a price is for.
        counted: what a fee counts; a fraction of the unit where that is finer.
        fraction: how many of `counted` make a unit.
        whole: whether things are counted one by one, so that a price must be one that can be paid.
        items: whether processing types or software can have prices of their own.
        when: when it is charged, in words.
    """

    unit: str
    counted: str
    fraction: int = 1
    whole: bool = True
    items: bool = False
    when: str


def _each(unit: str, when: str, *, items: bool = False) -> Counting:
    return Counting(unit=unit, counted=unit, items=items, when=when)


def _amount(unit: str, when: str, *, items: bool = False) -> Counting:
    return Counting(unit=unit, counted=unit, whole=False, items=items, when=when)


_PROCESSED = "when a processing request is done"

COUNTING: Mapping[FeeKind, Counting] = MappingProxyType(
    {
        FeeKind.SUBSCRIPTION: _each("contract", "when the contract is made"),
        FeeKind.MANAGEMENT: _each("period", "for each period in which the contract is in force"),
        FeeKind.MANAGEMENT_PRORATED: Counting(
            unit="period",
            counted="millisecond",
            whole=False,
            when="for the part of each period in which the contract is in force",
        ),
        FeeKind.REGISTRATION_ALLOCATED: _amount(
            "byte-day", "for the capacity of the contract, at the end of a period"
        ),
        FeeKind.REGISTRATION_IN_USE: _amount("byte-day", "for what is registered, at the end of a period"),
        FeeKind.DELIVERY: _each("image", "when an image has been delivered"),
        FeeKind.CONNECTION: _each(
            "conversation", "for each conversation that is granted something, but not to see the account"
        ),
        FeeKind.PROCESSING_FIXED: _each(
            "request", "when a processing request is done and something came of it", items=True
        ),
        FeeKind.PROCESSING_IMAGE: _each("image", _PROCESSED, items=True),
        FeeKind.PROCESSING_BYTE: _amount("byte", _PROCESSED, items=True),
        FeeKind.PROCESSING_SESSION: _each("session", _PROCESSED, items=True),
        FeeKind.PROCESSING_SECOND: Counting(
            unit="second", counted="millisecond", fraction=1000, whole=False, items=True, when=_PROCESSED
        ),
        FeeKind.SOFTWARE_RUN: _each("run", "when software has run", items=True),
        FeeKind.SOFTWARE_PERIOD: _each(
            "month", "once in each calendar month in which software runs", items=True
        ),
    }
)
"""Every kind that there is."""
