"""What an operation can be told, and how the words of a person become numbers."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from medbus.streams.processing.pixels.errors import InvalidParameter

Vector = tuple[float, float, float]
Value = float | int | bool | str | Vector


class Kind(StrEnum):
    """What a parameter is."""

    NUMBER = "number"
    WHOLE = "whole number"
    CHOICE = "choice"
    FLAG = "flag"
    AXIS = "axis"
    ANGLE = "angle"
    VECTOR = "vector"


_EXAMPLES: Mapping[Kind, str] = {
    Kind.NUMBER: "a number such as 1.5",
    Kind.WHOLE: "a whole number such as 3",
    Kind.FLAG: "yes or no",
    Kind.AXIS: "x (along a row), y (down the rows) or z (across the slices)",
    Kind.ANGLE: "degrees such as 45",
    Kind.VECTOR: "three numbers x,y,z such as 0,0.6,0.8",
}
_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something an operation can be told.

    Attributes:
        name: lower case, words joined by hyphens.
        kind: what it is; a vector is x, y and z, separated by commas.
        unit: "mm", "pixel", "degree", "cycles/mm"; empty if it has none.
        default: what holds if it is not given, as it would be written; empty: then it has no value.
        required: whether it has to be given.
        least: the least number it can be.
        most: the greatest number it can be.
        choices: what a choice can be.
        text: what it means, in a sentence.
    """

    name: str
    kind: Kind
    unit: str = ""
    default: str = ""
    required: bool = False
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    text: str

    def read(self, words: str) -> Value:
        """The value that somebody wrote.

        Raises:
            InvalidParameter: it is not of this kind, or out of range.
        """
        word = words.strip()
        value = self._read(word)
        if value is None:
            raise InvalidParameter(
                f"{self.name} can't be {words.strip()!r}.", f"It is {self.expected()}: {self.text}"
            )
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(value, word)
        return value

    def _read(self, word: str) -> Value | None:
        match self.kind:
            case Kind.NUMBER | Kind.ANGLE:
                return _finite(word)
            case Kind.WHOLE:
                return int(word) if _WHOLE.fullmatch(word) else None
            case Kind.FLAG:
                return _FLAGS.get(word.lower())
            case Kind.AXIS | Kind.CHOICE:
                choices = ("x", "y", "z") if self.kind is Kind.AXIS else self.choices
                return word.lower() if word.lower() in choices else None
            case Kind.VECTOR:
                return _vector(word)

    def _check_range(self, value: float, word: str) -> None:
        unit = f" {self.unit}" if self.unit else ""
        if self.least is not None and value < self.least:
            raise InvalidParameter(
                f"{self.name} can't be {word}{unit}.", f"The least is {self.least:g}{unit}."
            )
        if self.most is not None and value > self.most:
            raise InvalidParameter(f"{self.name} can't be {word}{unit}.", f"The most is {self.most:g}{unit}.")

    def expected(self) -> str:
        """What can be written, in words."""
        return f"one of {', '.join(self.choices)}" if self.kind is Kind.CHOICE else _EXAMPLES[self.kind]

    def write(self, value: Value) -> str:
        """The one way to write a value: reading it gives the value again."""
        match value:
            case bool():
                return "yes" if value else "no"
            case tuple():
                return ",".join(_plain(each) for each in value)
            case float():
                return _plain(value)
            case _:
                return str(value)


def _finite(word: str) -> float | None:
    """A number as people write it; None if it is none, or beyond all measure."""
    value = float(word) if _NUMBER.fullmatch(word) else math.inf
    return value if math.isfinite(value) else None


def _vector(word: str) -> Vector | None:
    match [_finite(part.strip()) for part in word.split(",")]:
        case [float(x), float(y), float(z)]:
            return x, y, z
    return None


def _plain(value: float) -> str:
    """2 for 2.0 and -0.0 as 0: equal values are equal words."""
    return repr(value + 0.0).removesuffix(".0")


class Settings(Mapping[str, Value]):
    """Values of an operation's parameters, defaults filled in; those that were not given and have none are
    absent.

    Each method raises KeyError for an absent one, and TypeError if it has another kind: a fault of ours.
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Settings({self._values})"

    def number(self, name: str) -> float:
        """A number or an angle."""
        value = self._values[name]
        if isinstance(value, (str, tuple)):
            raise TypeError(f"{name} is no number")
        return float(value)

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._values[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} is no whole number")
        return value

    def word(self, name: str) -> str:
        """A choice or an axis."""
        value = self._values[name]
        if not isinstance(value, str):
            raise TypeError(f"{name} is no word")
        return value

    def vector(self, name: str) -> Vector:
        """Three numbers: x, y, z."""
        value = self._values[name]
        if not isinstance(value, tuple):
            raise TypeError(f"{name} is no vector")
        return value
