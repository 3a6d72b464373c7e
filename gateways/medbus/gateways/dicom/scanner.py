"""Walks over the elements of an encoded data set while its bytes arrive (PS3.5 7).

One pass does three things: it checks that the lengths add up, it copies everything but bulk data (the
header), and it keeps the values that are asked for. Nothing is allocated by a length that the data state, and
sequences need no recursion.
"""

import struct
from collections.abc import Set
from functools import lru_cache
from typing import Final

from medbus.gateways.dicom.encoding import (
    BULK_VRS,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED,
    Encoding,
    is_known,
    recognised,
    vr_of,
)
from medbus.gateways.dicom.errors import MalformedDataSet, OversizedDataSet, TruncatedDataSet
from medbus.gateways.dicom.frame import NEVER, Frame, Kind
from medbus.gateways.dicom.values import RawValue

BULK_LENGTH: Final = 1024
"""Values of OB, OW, UN and their like that are longer (bytes) are bulk data and not in the header.

A private sequence of stated length in implicit VR is such a value: nothing says that it is a sequence.
"""

VALUE_LENGTH: Final = 64 * 1024
"""Values that are asked for and are longer (bytes) are not kept."""

NESTING: Final = 64
"""Sequences and items, one in another, at most."""

_BULK_TAGS: Final = frozenset(
    {
        0x7FE00008,  # Float Pixel Data
        0x7FE00009,  # Double Float Pixel Data
        0x7FE00010,  # Pixel Data
        0x56000020,  # Spectroscopy Data
        0x54001010,  # Waveform Data
        0x00420011,  # Encapsulated Document
    }
)
_PIXEL_DATA: Final = 0x7FE00010
_ITEM: Final = 0xFFFEE000
_ITEM_DELIMITATION: Final = 0xFFFEE00D
_SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
_IMPLICIT_IN_EXPLICIT: Final = 1 << 20
"""Longest value (bytes) of an element that has no VR although its neighbours have one."""

_IMPLICIT = (struct.Struct("<HHL").unpack_from, struct.Struct(">HHL").unpack_from)
_EXPLICIT = (struct.Struct("<HH2sH").unpack_from, struct.Struct(">HH2sH").unpack_from)
_LONG = (struct.Struct("<L").unpack_from, struct.Struct(">L").unpack_from)
_IMPLICIT_HEAD: Final = struct.Struct("<4sL").unpack_from
_EXPLICIT_HEAD: Final = struct.Struct("<6sH").unpack_from

_PLAIN_HEADS: Final = 8192
"""So many heads of elements are known at once, at most."""

_Plan = dict[bytes, tuple[int, bytes] | bool]
"""What is to be done with an element, by the bytes of its tag and VR, in implicit VR of its tag.

Tag and VR if its value is wanted; True if it is passed over; False if it is not plain: it is looked at.
"""


class _Fault(Exception):
    """Elements don't add up at a position in the present view."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(what)
        self.position = position
        self.what = what


@lru_cache(maxsize=16)
def _plan(wanted: frozenset[int], implicit: bool) -> _Plan:
    """What is known of the elements of frames of one kind, little endian; filled as they come."""
    return {}


def _planned(head: bytes, wanted: Set[int], implicit: bool) -> tuple[int, bytes] | bool:
    """What is to be done with an element; it is plain if only its length can still make it special."""
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    tag = group << 16 | element
    vr = vr_of(tag) if implicit else head[4:]
    plain = vr != b"SQ" if implicit else vr in SHORT_VRS
    if (
        not plain
        or group in {0x7FE0, 0xFFFE}
        or element == 0
        or tag in _BULK_TAGS
        or tag & 0xFF01FFFF == 0x60003000
    ):
        return False
    return (tag, vr) if tag in wanted else True


class Scanner:
    """Takes the bytes of one data set in order.

    A sequence of defined length whose inside can't be read is left out of the header and skipped: what it
    holds does not identify the image. Everything else that does not add up is an error.

    Args:
        encoding: what the transfer syntax prescribes (deflated data: after inflation).
        wanted: tags whose values are kept if they stand in the data set itself.
        wanted_within: tags whose values are kept if they stand in the first item of a sequence of `searched`,
            or at any depth below it, there too in first items only.
        searched: tags of sequences.
        header_limit: most bytes of header.
    """

    def __init__(
        self,
        encoding: Encoding,
        *,
        wanted: Set[int] = frozenset(),
        wanted_within: Set[int] = frozenset(),
        searched: Set[int] = frozenset(),
        header_limit: int = 256 * 1024 * 1024,
    ) -> None:
        self.values: dict[int, RawValue] = {}
        self.values_within: dict[int, RawValue] = {}
        self.header = bytearray()
        self.encoding = encoding
        self.position = 0  # bytes that are done with
        self.pixels_reached = False
        self.encapsulated = False
        self._wanted = frozenset(wanted)
        self._wanted_within = frozenset(wanted_within)
        self._searched = searched
        self._header_limit = header_limit
        self._carry = b""  # the beginning of an element that has not come whole
        self._left = 0  # bytes of a long value that are to come
        self._keeping = False  # whether they go to the header
        self._run = 0  # where in the present view what goes to the header begins; -1 where nothing does
        self._padding = False
        self._frames: list[Frame] = []

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes.

        Raises:
            MalformedDataSet: they do not add up.
            OversizedDataSet: there is too much header.
        """
        if self._left:
            taken = min(self._left, len(chunk))
            if self._keeping:
                self._keep(chunk[:taken])
            self._left -= taken
            self.position += taken
            if taken == len(chunk):
                return
            chunk = chunk[taken:]
        if self._padding:
            if bytes(chunk).strip(b"\0"):
                raise MalformedDataSet(self.position, "an element was expected")
            self.position += len(chunk)
            return
        view = memoryview(self._carry + bytes(chunk)) if self._carry else chunk
        if not self._frames and not self._begin(view):
            self._carry = bytes(view)
            return
        self._run = min(0, self._run)
        done = self._scan(view)
        self._carry = bytes(view[done:])
        self.position += done

    def finish(self) -> None:
        """Check that the data set is complete.

        Raises:
            TruncatedDataSet: it is not.
        """
        came = self.position + len(self._carry)
        if self._left:
            raise TruncatedDataSet(came, f"a value of which {self._left} bytes are missing")
        if not self._frames:
            raise TruncatedDataSet(came, "the first element")
        self._run = min(0, self._run)
        self._scan(memoryview(b""))  # closes what ends here
        if len(self._frames) > 1:
            tag = self._frames[-1].tag
            raise TruncatedDataSet(came, f"({tag >> 16:04X},{tag & 0xFFFF:04X})")
        if len(self._carry) % 2 or self._carry.strip(b"\0"):
            raise TruncatedDataSet(came, "an element")

    def _begin(self, view: memoryview) -> bool:
        """Settle the encoding by the first element; False if it has not come."""
        if len(view) < 8:
            return False
        encoding = recognised(view[:8], self.encoding)
        if encoding is None:
            raise MalformedDataSet(0, "it does not begin like a DICOM data set")
        self.encoding = encoding
        self._frames.append(
            Frame(
                Kind.ELEMENTS,
                tag=0,
                implicit=encoding.implicit,
                big_endian=encoding.big_endian,
                wanted=self._wanted,
                end=NEVER,
                limit=NEVER,
            )
        )
        return True

    def _scan(self, view: memoryview) -> int:
        position = 0
        while True:
            try:
                return self._walk(view, position)
            except _Fault as fault:
                position = self._recover(view, fault)
                if position > len(view):
                    self._left = position - len(view)
                    self._keeping = False
                    return len(view)

    def _walk(self, view: memoryview, position: int) -> int:  # noqa: PLR0912, PLR0915 - one loop, for speed
        """Go over whole elements; return the position of the first that has not come whole."""
        size = len(view)
        base = self.position
        frame = self._frames[-1]
        while True:
            if position + base >= frame.end:
                self._close(view, position)
                frame = self._frames[-1]
                continue
            if size - position < 8:
                break
            if frame.kind is not Kind.ELEMENTS:
                position = self._item(view, position, frame)
                if position > size:  # the rest of a fragment is to come
                    self._left = position - size
                    self._keeping = False
                    return size
                frame = self._frames[-1]
                continue

            if not frame.big_endian:
                position = self._pass(view, position, frame)
                if position + base >= frame.end or size - position < 8:
                    continue

            if frame.implicit:
                group, element, length = _IMPLICIT[frame.big_endian](view, position)
                tag = group << 16 | element
                start = position + 8
                vr = vr_of(tag)
            else:
                group, element, vr, length = _EXPLICIT[frame.big_endian](view, position)
                tag = group << 16 | element
                start = position + 8
                if vr in SHORT_VRS:
                    pass
                elif vr in LONG_VRS:
                    if size - position < 12:
                        break
                    length = _LONG[frame.big_endian](view, position + 8)[0]
                    start = position + 12
                elif group != 0xFFFE:
                    vr, length = self._without_vr(view, position, frame, tag)
            if group == 0xFFFE or tag == 0:
                position = self._delimiter(view, position, frame, tag)
                if self._padding:
                    return size
                frame = self._frames[-1]
                continue

            if group == 0x7FE0 and len(self._frames) == 1:
                self.pixels_reached = True
            if vr == b"SQ" or length == UNDEFINED:
                frame = self._open(view, position, start, tag=tag, vr=vr, length=length)
                position = start
                continue
            end = start + length
            if end + base > frame.limit:
                raise _Fault(position, "a value is longer than what holds it")

            if (
                element == 0
                or (vr in BULK_VRS and length > BULK_LENGTH)
                or tag in _BULK_TAGS
                or tag & 0xFF01FFFF == 0x60003000
            ):
                self._flush(view, position)
                if end > size:
                    self._left = end - size
                    self._keeping = False
                    return size
                self._run = position = end
                continue
            if tag in frame.wanted and length <= VALUE_LENGTH:
                if end > size:
                    break
                if vr == b"UN":
                    value = RawValue(vr_of(tag), bytes(view[start:end]), False)
                else:
                    value = RawValue(vr, bytes(view[start:end]), frame.big_endian)
                if len(self._frames) == 1:
                    self.values[tag] = value
                else:
                    self.values_within.setdefault(tag, value)
            if end > size:
                self._flush(view, size)
                self._left = end - size
                self._keeping = True
                return size
            position = end
        self._flush(view, position)
        return position

    def _pass(self, view: memoryview, position: int, frame: Frame) -> int:
        """Go over plain elements; return the position of the first that is none, or that has not come whole.

        Most are plain. It does what `_walk` does with them, in a third of the time.
        """
        end = min(len(view), frame.limit - self.position)
        last = end - 8
        implicit, wanted = frame.implicit, frame.wanted
        unpack = _IMPLICIT_HEAD if implicit else _EXPLICIT_HEAD
        # A longer value may be bulk data, or a sequence, if its VR is not stated.
        longest = BULK_LENGTH if implicit else VALUE_LENGTH
        plan = _plan(wanted, implicit)
        while position <= last:
            head, length = unpack(view, position)
            todo = plan.get(head)
            if todo is None:
                todo = _planned(head, wanted, implicit)
                if len(plan) < _PLAIN_HEADS:
                    plan[head] = todo
            start = position + 8
            following = start + length
            if todo is False or length > longest or following > end:
                break
            if todo is not True:
                tag, vr = todo
                value = RawValue(vr, bytes(view[start:following]), False)
                if len(self._frames) == 1:
                    self.values[tag] = value
                else:
                    self.values_within.setdefault(tag, value)
            position = following
        return position

    def _without_vr(self, view: memoryview, position: int, frame: Frame, tag: int) -> tuple[bytes, int]:
        """VR and length of an element without known VR among others that have one: some writers mix forms."""
        _, _, vr, length = _EXPLICIT[frame.big_endian](view, position)
        if b"AA" <= vr <= b"ZZ" and vr.isalpha():
            return b"UN", length
        _, _, length = _IMPLICIT[frame.big_endian](view, position)
        plausible = is_known(tag) or tag & 0x10000 or tag == 0
        if not plausible or _IMPLICIT_IN_EXPLICIT < length < UNDEFINED:
            raise _Fault(position, f"({tag >> 16:04X},{tag & 0xFFFF:04X}) has no value representation")
        return vr_of(tag), length

    def _open(
        self, view: memoryview, position: int, start: int, *, tag: int, vr: bytes, length: int
    ) -> Frame:
        """Enter a sequence or encapsulated pixel data."""
        frame = self._frames[-1]
        if len(self._frames) > NESTING:
            raise _Fault(position, f"sequences are nested more than {NESTING // 2} deep")
        end = NEVER if length == UNDEFINED else start + length + self.position
        if length != UNDEFINED and end > frame.limit:
            raise _Fault(position, "a sequence is longer than what holds it")
        fragments = vr != b"SQ" and (tag in _BULK_TAGS or vr in BULK_VRS - {b"UN"})
        if not fragments and vr not in {b"SQ", b"UN"} and not frame.implicit:
            raise _Fault(position, f"a value of {vr.decode()} has no length")
        nested = len(self._frames) > 1
        inner = Frame(
            Kind.FRAGMENTS if fragments else Kind.ITEMS,
            tag=tag,
            implicit=frame.implicit or vr == b"UN",  # PS3.5 6.2.2 note 2
            big_endian=frame.big_endian and vr != b"UN",
            wanted=self._wanted_within
            if (tag in self._searched or (nested and frame.wanted))
            else frozenset(),
            end=end,
            limit=min(end, frame.limit),
        )
        inner.length = length
        if fragments:
            self.encapsulated = self.encapsulated or tag == _PIXEL_DATA
            self._flush(view, position)
            self._run = -1
            inner.out = len(self.header)
        else:
            inner.out = len(self.header) + position - self._run
            inner.length_at = len(self.header) + start - 4 - self._run
        self._frames.append(inner)
        return inner

    def _item(self, view: memoryview, position: int, frame: Frame) -> int:
        """Read the head of an item, or the end of a sequence; return the position after it."""
        group, element, stated = _IMPLICIT[frame.big_endian](view, position)
        tag = group << 16 | element
        length: int = stated
        start = position + 8
        if tag == _SEQUENCE_DELIMITATION and frame.end == NEVER and start + self.position <= frame.limit:
            self._frames.pop()
            if self._run < 0:
                self._run = start
            return start
        if tag != _ITEM or start + self.position > frame.limit:
            raise _Fault(position, "an item was expected")
        end = start + length + self.position
        if length == UNDEFINED:
            end = NEVER
        elif end > frame.limit:
            raise _Fault(position, "an item is longer than its sequence")
        if frame.kind is Kind.FRAGMENTS:
            if length == UNDEFINED:
                raise _Fault(position, "a fragment has no length")
            return start + length
        item = Frame(
            Kind.ELEMENTS,
            tag=frame.tag,
            implicit=frame.implicit,
            big_endian=frame.big_endian,
            wanted=frozenset() if frame.items else frame.wanted,
            end=end,
            limit=min(end, frame.limit),
        )
        item.length = length
        item.out = len(self.header) + position - self._run
        item.length_at = item.out + 4
        frame.items += 1
        self._frames.append(item)
        return start

    def _delimiter(self, view: memoryview, position: int, frame: Frame, tag: int) -> int:
        """Read the end of an item, or what stands among elements without being one; return what is next."""
        if len(self._frames) > 1:
            if (
                tag == _ITEM_DELIMITATION
                and frame.end == NEVER
                and position + 8 + self.position <= frame.limit
            ):
                self._frames.pop()
                return position + 8
            raise _Fault(position, "an element was expected")
        self._flush(view, position)
        if tag == 0:
            if bytes(view[position:]).strip(b"\0"):
                raise _Fault(position, "an element was expected")
            self._padding = True
            return position
        if tag == _ITEM:
            raise _Fault(position, "an item stands outside of any sequence")
        self._run = position + 8  # a delimiter too many does no harm
        return position + 8

    def _close(self, view: memoryview, position: int) -> None:
        """Leave what has a defined length and ends here, and correct the length for what was left out."""
        frame = self._frames.pop()
        length = len(self.header) + position - self._run - frame.length_at - 4
        if length != frame.length:
            self._flush(view, position)
            self._run = position
            struct.pack_into(">L" if frame.big_endian else "<L", self.header, frame.length_at, length)

    def _recover(self, view: memoryview, fault: _Fault) -> int:
        """Leave out the outermost sequence that says where it ends; return the position after it."""
        depths = (
            depth
            for depth, frame in enumerate(self._frames)
            if frame.kind is Kind.ITEMS and frame.end != NEVER
        )
        depth = next(depths, None)
        if depth is None:
            raise MalformedDataSet(self.position + fault.position, fault.what)
        frame = self._frames[depth]
        if frame.out < len(self.header):
            del self.header[frame.out :]
        elif self._run >= 0:
            self.header += view[self._run : self._run + frame.out - len(self.header)]
        del self._frames[depth:]
        end = frame.end - self.position
        self._run = end
        return end

    def _flush(self, view: memoryview, position: int) -> None:
        if 0 <= self._run < position:
            self._keep(view[self._run : position])
            self._run = position

    def _keep(self, data: memoryview) -> None:
        self.header += data
        if len(self.header) > self._header_limit:
            raise OversizedDataSet("header", self._header_limit)
