"""The elements of a complete encoded data set, level by level, without copying values (PS3.5 7)."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from medbus.gateways.dicom.encoding import BULK_VRS, LONG_VRS, SHORT_VRS, UNDEFINED, Encoding, vr_of
from medbus.gateways.dicom.errors import MalformedDataSet

DEPTH: Final = 64
"""Sequences one in another, at most."""

_ITEM: Final = 0xFFFEE000
_ITEM_DELIMITATION: Final = 0xFFFEE00D
_SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD


class Element(NamedTuple):
    """One element.

    Args:
        tag: group << 16 | element.
        vr: as encoded, or by the dictionary in implicit VR.
        value: the bytes of the value; of a sequence or of fragments, the items, no delimiter.
        encoding: of what stands within.
        undefined: whether the length was not stated: a sequence, or fragments.
    """

    tag: int
    vr: bytes
    value: memoryview
    encoding: Encoding
    undefined: bool

    @property
    def is_sequence(self) -> bool:
        """Whether the value consists of items that hold elements."""
        return self.vr == b"SQ" or (self.undefined and not self.is_fragments)

    @property
    def is_fragments(self) -> bool:
        """Whether the value is encapsulated (PS3.5 A.4)."""
        return self.undefined and self.vr in BULK_VRS and self.vr != b"UN"


class _Head(NamedTuple):
    tag: int
    vr: bytes
    length: int
    start: int


def elements(view: memoryview, encoding: Encoding) -> Iterator[Element]:
    """The elements of a data set or an item, in order.

    Raises:
        MalformedDataSet: they do not add up; `offset` counts from the start of the view.
    """
    position = 0
    while position < len(view):
        head = _head(view, position, encoding)
        if head.tag == 0:
            if bytes(view[position:]).strip(b"\0"):
                raise MalformedDataSet(position, "an element was expected")
            return
        if head.tag >> 16 == 0xFFFE:  # a delimiter too many does no harm
            position = head.start
            continue
        inner = _within(head, encoding)
        if head.length == UNDEFINED:
            end, position = _end(view, head.start, inner, fragments=_is_fragments(head), depth=0)
        else:
            end = position = head.start + head.length
            if end > len(view):
                raise MalformedDataSet(head.start, "a value is longer than what holds it")
        yield Element(head.tag, head.vr, view[head.start : end], inner, head.length == UNDEFINED)


def items(view: memoryview, encoding: Encoding) -> Iterator[memoryview]:
    """The contents of the items of a sequence, or the fragments of encapsulated pixel data.

    Raises:
        MalformedDataSet: as `elements`.
    """
    position = 0
    while position < len(view):
        head = _head(view, position, encoding)
        if head.tag != _ITEM:
            raise MalformedDataSet(position, "an item was expected")
        if head.length == UNDEFINED:
            end, position = _end_of_item(view, head.start, encoding, depth=0)
        else:
            end = position = head.start + head.length
            if end > len(view):
                raise MalformedDataSet(head.start, "an item is longer than its sequence")
        yield view[head.start : end]


def _head(view: memoryview, position: int, encoding: Encoding) -> _Head:
    order = ">" if encoding.big_endian else "<"
    if len(view) - position < 8:
        if bytes(view[position:]).strip(b"\0"):
            raise MalformedDataSet(position, "it ends inside an element")
        return _Head(0, b"", 0, len(view))
    group, element, length = struct.unpack_from(order + "HHL", view, position)
    tag = group << 16 | element
    if encoding.implicit or group == 0xFFFE:
        return _Head(tag, vr_of(tag), length, position + 8)
    vr = bytes(view[position + 4 : position + 6])
    if vr in LONG_VRS:
        if len(view) - position < 12:
            raise MalformedDataSet(position, "it ends inside an element")
        return _Head(tag, vr, struct.unpack_from(order + "L", view, position + 8)[0], position + 12)
    if vr in SHORT_VRS or vr.isalpha():
        return _Head(tag, vr, struct.unpack_from(order + "H", view, position + 6)[0], position + 8)
    return _Head(tag, vr_of(tag), length, position + 8)


def _within(head: _Head, encoding: Encoding) -> Encoding:
    return Encoding(implicit=True) if head.vr == b"UN" and head.length == UNDEFINED else encoding


def _is_fragments(head: _Head) -> bool:
    return head.length == UNDEFINED and head.vr in BULK_VRS and head.vr != b"UN"


def _end(
    view: memoryview, position: int, encoding: Encoding, *, fragments: bool, depth: int
) -> tuple[int, int]:
    """Where a sequence or fragments without stated length end: before and after the delimiter."""
    if depth > DEPTH:
        raise MalformedDataSet(position, f"sequences are nested more than {DEPTH} deep")
    while position < len(view):
        head = _head(view, position, encoding)
        if head.tag == _SEQUENCE_DELIMITATION:
            return position, head.start
        if head.tag != _ITEM or (fragments and head.length == UNDEFINED):
            raise MalformedDataSet(position, "an item was expected")
        if head.length == UNDEFINED:
            _, position = _end_of_item(view, head.start, encoding, depth=depth)
        else:
            position = head.start + head.length
    raise MalformedDataSet(position, "a sequence does not end")


def _end_of_item(view: memoryview, position: int, encoding: Encoding, *, depth: int) -> tuple[int, int]:
    while position < len(view):
        head = _head(view, position, encoding)
        if head.tag == _ITEM_DELIMITATION:
            return position, head.start
        if head.length == UNDEFINED:
            inner = _within(head, encoding)
            _, position = _end(view, head.start, inner, fragments=_is_fragments(head), depth=depth + 1)
        else:
            position = head.start + head.length
    raise MalformedDataSet(position, "an item does not end")
