"""Periods: years, months, days, hours and minutes of the calendar in UTC, written as in ISO 8601."""

import re
from datetime import UTC, datetime, timedelta

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Instant, Value

_NAME = re.compile(r"([1-9]\d{3})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d))?)?)?)?Z?", re.ASCII)
_FORMATS = ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M")
_STEPS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))

UNITS = ("year", "month", "day", "hour", "minute")


class InvalidPeriod(MedbusError):
    """A text names no period."""


class Period(Value):
    """A period of the calendar.

    Attributes:
        name: as 2026, 2026-10, 2026-10-31, 2026-10-31T09 or 2026-10-31T09:05.
        start: its first instant, UTC.
        end: the first instant that is no longer in it.
    """

    name: str
    start: Instant
    end: Instant


def named(name: str) -> Period:
    """The period of a name.

    Raises:
        InvalidPeriod: it is none.
    """
    match = _NAME.fullmatch(name.strip())
    advice = "Write a month as 2026-10, or a day as 2026-10-31; UTC."
    if match is None:
        raise InvalidPeriod(f"{name[:32]!r} is no period.", advice)
    depth = sum(each is not None for each in match.groups()) - 1
    try:
        start = datetime.strptime(match[0].rstrip("Z"), _FORMATS[depth]).replace(tzinfo=UTC)
        return _starting(start, depth)
    except (ValueError, OverflowError) as error:
        raise InvalidPeriod(f"{name[:32]!r} is no period: {error}.", advice) from error


def containing(at: datetime, unit: str) -> Period:
    """The period that an instant is in.

    Args:
        at: the instant.
        unit: how long: one of UNITS.
    """
    depth = UNITS.index(unit)
    return named(at.astimezone(UTC).strftime(_FORMATS[depth]))


def before(period: Period) -> Period:
    """The one before, of the same length in the calendar."""
    return containing(period.start - timedelta(microseconds=1), unit(period))


def unit(period: Period) -> str:
    """How long it is: one of UNITS."""
    return UNITS[len(re.findall(r"\d+", period.name)) - 1]


def _starting(start: datetime, depth: int) -> Period:
    if depth == 0:
        end = start.replace(year=start.year + 1)
    elif depth == 1:
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    else:
        end = start + _STEPS[depth - 2]
    return Period(name=start.strftime(_FORMATS[depth]), start=start, end=end)
