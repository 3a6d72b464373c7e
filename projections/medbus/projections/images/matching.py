"""Values as they are compared (PS3.4 C.2.2.2, PS3.5 6.2). Pure; what is malformed compares with nothing."""

import re
import unicodedata
from datetime import date
from typing import NamedTuple

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE


class Span(NamedTuple):
    """The first and the last microsecond of the day that a time, as precise as it is given, stands for."""

    first: int
    last: int


def day(text: str) -> str | None:
    """A DA value as YYYYMMDD; also the old form YYYY.MM.DD. None where it is no date."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return match[1] + match[2] + match[3]


def span(text: str) -> Span | None:
    """A TM value, of whatever precision; also the old form HH:MM:SS. None where it is no time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    # 60 is a leap second.
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        return None
    first = int(hour) * _HOUR + int(minute or 0) * _MINUTE + int(second or 0) * _SECOND
    if minute is None:
        return Span(first, first + _HOUR - 1)
    if second is None:
        return Span(first, first + _MINUTE - 1)
    if fraction is None:
        return Span(first, first + _SECOND - 1)
    first += int(fraction.ljust(6, "0"))
    return Span(first, first + 10 ** (6 - len(fraction)) - 1)


def moment(text: str) -> int | None:
    """The first microsecond of the day that a TM value stands for; None where it is no time."""
    found = span(text)
    return None if found is None else found.first


def folded(text: str) -> str:
    """A text without differences of case; accents stay (PS3.4 C.2.2.2.1)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def name_groups(name: str) -> tuple[str, str, str]:
    """The alphabetic, ideographic and phonetic component group of a PN value, folded (PS3.5 6.2.1).

    Empty components at the end of a group don't count.
    """
    groups = [_group(each) for each in name.split("=", 2)]
    alphabetic, ideographic, phonetic = groups + [""] * (3 - len(groups))
    return alphabetic, ideographic, phonetic


def _group(text: str) -> str:
    return folded("^".join(part.strip() for part in text.split("^")).rstrip("^"))
