"""Which font writes which characters of an invoice: runs of text, their width, and lines of a width.

Names are in whatever script a subscriber writes. Vera has the letters of Western Europe and is embedded;
accented letters that it has not are put together of a letter and its accents. For Japanese, Chinese and
Korean the PDF names fonts that readers of PDF know. What no font has is written as its code point: nothing
vanishes.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import reportlab
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "Vera", "VeraBd"

# In this order; the codec tells which characters the font has.
_EASTERN = (("HeiseiMin-W3", "cp932"), ("STSong-Light", "gbk"), ("HYSMyeongJo-Medium", "cp949"))

# Combining marks, and the characters of Vera that look like them when they stand alone.
_MARKS = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0326\u0327\u0328",
        "\u0060\u00b4\u02c6\u02dc\u00af\u02d8\u02d9\u00a8\u02da\u02dd\u02c7\u00b8\u00b8\u02db",
        strict=True,
    )
)
BELOW = "\u00b8\u02db"
"""The marks that stand below their letter."""

_GROUPS = "\N{NO-BREAK SPACE}"


class Run(NamedTuple):
    """Characters in one font; with marks it is one character, and they are written over it."""

    font: str
    text: str
    marks: str = ""


class Line(NamedTuple):
    """Runs beside one another, and the width of all in points."""

    runs: tuple[Run, ...]
    width: float


@cache
def register() -> None:
    """Make the fonts known to reportlab."""
    folder = Path(reportlab.__file__).parent / "fonts"
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    for name, _ in _EASTERN:
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def runs(text: str, font: str = REGULAR) -> list[Run]:
    """A text as runs of characters that one font has. A control character or a line break becomes a blank.

    Args:
        text: whatever is to be written.
        font: for Latin: REGULAR or BOLD.
    """
    register()
    found: list[Run] = []
    foreign = ""
    for character in _plain(text):
        if composed := _composed(character, font):
            found += [*_eastern(foreign, font), composed]
            foreign = ""
        else:
            foreign += character
    return _joined([*found, *_eastern(foreign, font)])


def width(run: Run, size: float) -> float:
    """How wide a run is, in points."""
    return float(pdfmetrics.stringWidth(run.text, run.font, size))


def wrap(text: str, size: float, room: float, font: str = REGULAR) -> list[Line]:
    """A text as lines that are no wider than the room; at least one.

    Breaks at blanks where there are any; a word that is too long by itself is broken where the room ends.

    Args:
        text: whatever is to be written.
        size: of the font, in points.
        room: the width, in points; a character that is wider than this stands alone.
        font: for Latin: REGULAR or BOLD.
    """
    lines: list[list[Run]] = [[]]
    used = 0.0
    for word in _words(runs(text, font)):
        length = sum(width(run, size) for run in word)
        blank = width(Run(font, " "), size) if lines[-1] else 0.0
        if used + blank + length <= room:
            lines[-1] += [Run(font, " ")] * bool(lines[-1]) + word
            used += blank + length
            continue
        for piece in _pieces(word, size, room):
            if lines[-1]:
                lines.append([])
            lines[-1] += piece
            used = sum(width(run, size) for run in piece)
    return [_line(each, size) for each in lines]


def _line(found: list[Run], size: float) -> Line:
    joined = tuple(_joined(found))
    return Line(joined, sum(width(run, size) for run in joined))


def _words(found: list[Run]) -> Iterator[list[Run]]:
    """Runs between blanks. Between two Eastern characters a line may break as it may at a blank, but none is
    there to see: they are kept together here, and broken as words that are too long are."""
    word: list[Run] = []
    for run in found:
        for index, part in enumerate(run.text.split(" ")):
            if index and word:
                yield word
                word = []
            if part:
                word.append(Run(run.font, part, run.marks))
    if word:
        yield word


def _pieces(word: list[Run], size: float, room: float) -> Iterator[list[Run]]:
    """Parts of a word that fit, broken rather between groups of digits than within one."""
    piece: list[Run] = []
    used = 0.0
    for run in word:
        for character in run.text:
            one = Run(run.font, character, run.marks)
            if piece and used + width(one, size) > room:
                groups = [i for i, each in enumerate(piece) if each.text == _GROUPS]
                keep = groups[-1] + 1 if groups else len(piece)
                yield piece[:keep]
                piece = piece[keep:]
                used = sum(width(each, size) for each in piece)
            piece.append(one)
            used += width(one, size)
    if piece:
        yield piece


def _eastern(text: str, font: str) -> Iterator[Run]:
    """Runs of text that Vera has not: in one font, if one has all of it, so that a word looks like one."""
    whole = _font(text)
    if not text or whole:
        yield from [Run(whole or font, text)] * bool(text)
        return
    for character in text:
        own = _font(character)
        yield Run(own, character) if own else Run(font, _coded(character))


def _font(text: str) -> str | None:
    return next((name for name, codec in _EASTERN if _encodable(text, codec)), None)


def _encodable(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return all(ord(character) < 0x10000 for character in text)  # the fonts are addressed by UCS-2


def _plain(text: str) -> Iterator[str]:
    """Characters as they are to be written; a letter and its marks are made one where there is one."""
    for character in unicodedata.normalize("NFC", text):
        if character.isprintable() or character == _GROUPS:
            yield character
        elif character.isspace():
            yield " "
        else:
            yield from _coded(character)


def _composed(character: str, font: str) -> Run | None:
    """A character of Vera, or a letter of any font with marks; None if it is neither."""
    if _latin(character):
        return Run(font, character)
    parts = unicodedata.normalize("NFD", character)
    letter, marks = parts[0], parts[1:]
    if not marks or not all(mark in _MARKS for mark in marks) or _encodable(character, "cp932"):
        return None
    own = font if _latin(letter) else _font(letter)
    dotless = letter.replace("i", "\N{LATIN SMALL LETTER DOTLESS I}") if own == font else letter
    return None if own is None else Run(own, dotless, "".join(_MARKS[mark] for mark in marks))


def _latin(character: str) -> bool:
    return ord(character) in pdfmetrics.getFont(REGULAR).face.charToGlyph


def _coded(character: str) -> str:
    return f"[U+{ord(character):04X}]"


def _joined(found: list[Run]) -> list[Run]:
    joined: list[Run] = []
    for run in found:
        if joined and joined[-1].font == run.font and not joined[-1].marks and not run.marks:
            joined[-1] = Run(run.font, joined[-1].text + run.text)
        else:
            joined.append(run)
    return joined
