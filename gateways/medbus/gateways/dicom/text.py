"""Decoding of texts, whatever their character set says (PS3.5 6.1, PS3.3 C.12.1.1.2).

Nothing here raises: a character set that is missing, misspelt or false leads to the best guess, since the
bytes themselves are kept in the header.
"""

import codecs
import re
from functools import lru_cache
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

_DEFAULT: Final = ("ascii",)
_ALONE: Final = frozenset({"utf-8", "gb18030", "gbk"})
"""Python's names of the encodings that allow no code extensions."""
_TERM: Final = re.compile(r"ISO[ _-]*(2022[ _-]*)?IR[ _-]*(\d+)")
_PYTHON: Final = re.compile(
    r"(UTF-?8|GB18030|GBK|US-?ASCII|LATIN-?[1-9]|ISO[-_ ]?8859[-_]\d+|(WINDOWS-|CP)\d+|SHIFT[-_]JIS"
    r"|EUC[-_](JP|KR))"
)
_FRAGMENT: Final = re.compile(rb"[^\x1b]+|\x1b[^\x1b]*")
_CONTROL: Final = {code: None for code in (*range(32), 127) if code not in b"\t\n\f\r"}
_NAME_DELIMITERS: Final = re.compile(rb"[\^=\\\r\n\f\t]")
_TEXT_DELIMITERS: Final = re.compile(rb"[\\\r\n\f\t]")


@lru_cache(maxsize=256)
def encodings_of(specific_character_set: bytes) -> tuple[str, ...]:
    """Python's names of the encodings in a value of Specific Character Set (0008,0005).

    Misspelt terms (ISO-IR 100, ISO_2022_IR_87, utf-8) are understood, unknown ones left out.
    """
    terms = specific_character_set.decode("ascii", "ignore").replace("\0", "").split("\\")
    encodings = [encoding for term in terms if (encoding := _encoding(term.strip().upper())) is not None]
    if not encodings:
        return _DEFAULT
    if encodings[0] in _ALONE:
        return (encodings[0],)
    return tuple(encoding for encoding in encodings if encoding not in _ALONE)


def _encoding(term: str) -> str | None:
    match = _TERM.fullmatch(term)
    if match is not None:
        extended, number = match.groups()
        term = f"ISO 2022 IR {number}" if extended else f"ISO_IR {number}"
    if term in {"", "ISO_IR 6", "ISO 2022 IR 6"}:
        return "ascii"
    encoding = python_encoding.get(term)
    if encoding is None and _PYTHON.fullmatch(term):
        encoding = term.replace(" ", "-")
    try:
        return None if encoding is None else codecs.lookup(encoding).name
    except LookupError:
        return None


def decoded(data: bytes, encodings: tuple[str, ...] = _DEFAULT, *, name: bool = False) -> str:
    """The text of a value, without padding and control characters.

    Args:
        data: the value.
        encodings: from `encodings_of`.
        name: whether it is a person name (PN), where ^ and = end a code extension (PS3.5 6.1.2.5.3).
    """
    if data.isascii() and b"\x1b" not in data:
        text = data.decode("ascii")
    else:
        text = _decoded(data, encodings, _NAME_DELIMITERS if name else _TEXT_DELIMITERS)
    text = text.rstrip(" \0")
    return text if text.isprintable() else text.translate(_CONTROL)


def _decoded(data: bytes, encodings: tuple[str, ...], delimiters: re.Pattern[bytes]) -> str:
    if b"\x1b" in data:
        return "".join(_fragment(part, encodings[0], delimiters) for part in _FRAGMENT.findall(data))
    for encoding in (encodings[0], "utf-8"):
        try:
            return data.decode(encoding)
        except UnicodeError:
            continue
    return data.decode("latin-1")


def _fragment(part: bytes, first: str, delimiters: re.Pattern[bytes]) -> str:
    """Decode what follows one escape sequence, up to the next."""
    if not part.startswith(b"\x1b"):
        return part.decode(first, "replace")
    length = 4 if part[1:3] in (b"$(", b"$)") else 3
    encoding = CODES_TO_ENCODINGS.get(part[:length])
    if encoding is None:
        return part.decode(first, "replace")
    if encoding.startswith("iso2022"):  # Python's codec reads the escape sequence itself
        return part.decode(encoding, "replace")
    part = part[length:]
    delimiter = delimiters.search(part)
    end = delimiter.start() if delimiter else len(part)
    return part[:end].decode(encoding, "replace") + part[end:].decode(first, "replace")
