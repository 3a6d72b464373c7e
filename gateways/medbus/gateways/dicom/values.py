"""From encoded values to texts and numbers; nothing here raises for a bad value."""

import math
import re
import struct
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from medbus.gateways.dicom.text import decoded

_FORMATS: Final = {
    b"US": "H",
    b"SS": "h",
    b"UL": "L",
    b"SL": "l",
    b"UV": "Q",
    b"SV": "q",
    b"FL": "f",
    b"FD": "d",
}
_ONE_TEXT: Final = frozenset({b"LT", b"ST", b"UT", b"UR"})
"""VRs of one value, in which a backslash is a character and leading spaces count (PS3.5 6.2)."""

_INTEGER: Final = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_DATE: Final = re.compile(r"(\d{4})([.-]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])", re.ASCII)
_TIME: Final = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?", re.ASCII)


class RawValue(NamedTuple):
    """A value as encoded."""

    vr: bytes
    data: bytes
    big_endian: bool


_REMEMBERED_LENGTH: Final = 64
"""The text of a longer value (bytes) is not remembered."""


def text_of(raw: RawValue, encodings: tuple[str, ...]) -> str:
    """A value as DICOM writes it in text: decoded, without padding, several values separated by a backslash.

    Empty where a binary number is not finite or has a wrong length.
    """
    if len(raw.data) <= _REMEMBERED_LENGTH:
        return _short_text_of(raw, encodings)
    return _text_of(raw, encodings)


def _text_of(raw: RawValue, encodings: tuple[str, ...]) -> str:
    vr, data, _ = raw
    if vr in _FORMATS:
        return _numbers(raw)
    text = decoded(data, encodings, name=vr == b"PN")
    if vr in _ONE_TEXT:
        return text
    if "\\" in text:
        return "\\".join(value.strip(" \0") for value in text.split("\\"))
    return text.strip(" ")


_short_text_of = lru_cache(maxsize=4096)(_text_of)
"""Most values are the same in every image of a series."""


def _numbers(raw: RawValue) -> str:
    code = _FORMATS[raw.vr]
    size = struct.calcsize("=" + code)
    if len(raw.data) % size:
        return ""
    numbers = struct.unpack(f"{'>' if raw.big_endian else '<'}{len(raw.data) // size}{code}", raw.data)
    if code not in "fd":
        return "\\".join(map(str, numbers))
    if not all(map(math.isfinite, numbers)):
        return ""
    return "\\".join(_shortest(np.float32(number) if code == "f" else number) for number in numbers)


def _shortest(number: float | np.float32) -> str:
    """The fewest digits that give the same number of as many bits."""
    return str(number).removesuffix(".0")


def integer_of(text: str) -> int | None:
    """An integer of 32 bits; None if the text is none."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**31) <= number < 2**31 else None


def is_uid(text: str) -> bool:
    """Whether a text can identify something (PS3.5 9.1). Leading zeros are let pass: they do identify."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def date_of(text: str) -> str:
    """A date as YYYYMMDD, also from the older form YYYY.MM.DD (PS3.5 6.2); the text as it is if it's none."""
    match = _DATE.fullmatch(text)
    return "".join(match.group(1, 3, 4)) if match else text


def is_date(text: str) -> bool:
    """Whether a text is a date, YYYYMMDD."""
    return len(text) == 8 and _DATE.fullmatch(text) is not None


def time_of(text: str) -> str:
    """A time as HHMMSS.FFFFFF, or less of it, without the colons of the older form; as it is if it's none."""
    return text.replace(":", "") if _TIME.fullmatch(text) else text


def date_and_time_of(text: str) -> tuple[str, str]:
    """Date and time of a DT value, as written there: the offset from UTC is not applied (PS3.5 6.2)."""
    text = re.split(r"[+-]", text, maxsplit=1)[0]
    return text[:8], text[8:]
