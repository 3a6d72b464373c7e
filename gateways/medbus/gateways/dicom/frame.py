"""What holds elements while they are walked over: the data set, sequences, items, encapsulated pixel data."""

from enum import Enum, auto
from typing import Final

from medbus.gateways.dicom.encoding import UNDEFINED

NEVER: Final = 1 << 62
"""A position that no data set reaches."""


class Kind(Enum):
    ELEMENTS = auto()  # the data set itself, or an item
    ITEMS = auto()  # a sequence
    FRAGMENTS = auto()  # encapsulated pixel data


class Frame:
    """Something that holds others: the data set, a sequence, an item, or encapsulated pixel data."""

    __slots__ = (
        "big_endian",
        "end",
        "implicit",
        "items",
        "kind",
        "length",
        "length_at",
        "limit",
        "out",
        "tag",
        "wanted",
    )

    def __init__(
        self,
        kind: Kind,
        *,
        tag: int,
        implicit: bool,
        big_endian: bool,
        wanted: frozenset[int],
        end: int,
        limit: int,
    ) -> None:
        self.kind = kind
        self.tag = tag
        self.implicit = implicit
        self.big_endian = big_endian
        self.wanted = wanted
        self.end = end  # position after the last byte, if the length is defined; else NEVER
        self.limit = limit  # position that nothing within may cross
        self.items = 0
        self.length = UNDEFINED  # as stated
        self.length_at = 0  # where the length stands in the header
        self.out = 0  # where it begins in the header
