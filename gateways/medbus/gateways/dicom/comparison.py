"""Whether two encoded data sets say the same, though their bytes differ."""

import logging
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import zip_longest
from typing import Any, Final

import numpy as np
from pydicom.pixels.decoders.base import get_decoder

from medbus.gateways.dicom.elements import Element, elements, items
from medbus.gateways.dicom.encoding import Encoding, encoding_of, recognised
from medbus.gateways.dicom.errors import MalformedDataSet
from medbus.gateways.dicom.values import RawValue, integer_of, text_of

log = logging.getLogger(__name__)

Encoded = bytes | bytearray | memoryview

INFLATED_LIMIT: Final = 1024 * 1024 * 1024
"""A data set that inflates to more bytes is not compared: it counts as another."""

LOSSLESS: Final = frozenset(
    {
        "1.2.840.10008.1.2.5",  # RLE
        "1.2.840.10008.1.2.4.57",  # JPEG Lossless
        "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
        "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
        "1.2.840.10008.1.2.4.90",  # JPEG 2000 (Lossless Only)
        "1.2.840.10008.1.2.4.110",  # JPEG XL Lossless
        "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 (Lossless Only)
        "1.2.840.10008.1.2.4.202",  # High-Throughput JPEG 2000 with RPCL (Lossless Only)
        "1.2.840.10008.1.2.8.1",  # Deflated Image Frame Compression
    }
)
"""Encapsulated transfer syntaxes in which every pixel comes back as it was."""

_PIXEL_DATA: Final = 0x7FE00010
_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_PLANAR_CONFIGURATION: Final = 0x00280006
_WITHOUT_MEANING: Final = frozenset(
    {
        0x7FE00001,  # Extended Offset Table
        0x7FE00002,  # Extended Offset Table Lengths
        0xFFFCFFFC,  # Data Set Trailing Padding
    }
)
_SAME_COLOURS: Final = frozenset({"RGB", "YBR_RCT"})
"""What a lossless codec may turn one into the other: pixels decode to RGB from both (PS3.3 C.7.6.3.1.2)."""

_WORD: Final = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OL", b"OF"), 4),
    **dict.fromkeys((b"FD", b"OD", b"SV", b"UV", b"OV"), 8),
}
"""Bytes of a word in the value representations that have an order of bytes (PS3.5 7.3)."""

_COMPARED_AT_ONCE: Final = 1024 * 1024


def same_elements(a: Encoded, transfer_syntax_a: str, b: Encoded, transfer_syntax_b: str) -> bool:
    """Whether two data sets have the same elements with the same values.

    How they are encoded makes no difference: explicit or implicit, byte order, deflated, group lengths,
    padding, stated or delimited lengths of sequences. Pixel data compressed without loss are compared frame
    by frame as stored (no rescaling, no colour conversion); with loss, they are the same if their bytes are.

    Never raises for what can't be read or decoded: that is not the same. It takes as long as the pixels take
    to decode: run it in a thread.
    """
    try:
        return _same(memoryview(a).cast("B"), transfer_syntax_a, memoryview(b).cast("B"), transfer_syntax_b)
    except (MalformedDataSet, RecursionError) as error:
        log.info("not comparable, so not the same: %s", error)
        return False


def _same(a: memoryview, syntax_a: str, b: memoryview, syntax_b: str) -> bool:
    left = _Side(a, syntax_a)
    right = _Side(b, syntax_b)
    pixels: list[tuple[Element, Element]] = []
    recoded = (
        {_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION}
        if left.encapsulated or right.encapsulated
        else set()
    )
    for one, other in zip_longest(left.elements(recoded), right.elements(recoded)):
        if one is None or other is None or one.tag != other.tag:
            return False
        if one.tag == _PIXEL_DATA:
            pixels.append((one, other))
        elif not _same_value(one, other):
            return False
    return all(_same_pixels(one, left, other, right) for one, other in pixels)


class _Side:
    """One of the two data sets."""

    def __init__(self, data: memoryview, syntax: str) -> None:
        stated = encoding_of(syntax)
        self.view = _inflated(data) if stated.deflated else data
        encoding = recognised(self.view[:8], stated) if len(self.view) >= 8 else None
        if encoding is None:
            raise MalformedDataSet(0, "it does not begin like a DICOM data set")
        self.encoding = encoding
        self.syntax = syntax
        self.image = {
            e.tag: e for e in elements(self.view, encoding) if e.tag >> 16 == 0x0028 or e.tag == _PIXEL_DATA
        }
        pixels = self.image.get(_PIXEL_DATA)
        self.encapsulated = pixels is not None and pixels.is_fragments

    def elements(self, left_out: set[int]) -> Iterator[Element]:
        return (e for e in _meaningful(self.view, self.encoding) if e.tag not in left_out)

    def text(self, tag: int) -> str:
        element = self.image.get(tag)
        if element is None:
            return ""
        return text_of(RawValue(element.vr, bytes(element.value), element.encoding.big_endian), ("ascii",))

    def number(self, tag: int, default: int) -> int:
        number = integer_of(self.text(tag))
        return default if number is None else number

    def frames(self, pixels: Element) -> "Iterator[np.ndarray[Any, Any]]":
        """Decoded frames, one at a time. Raises whatever the codecs raise."""
        syntax = self.syntax if self.encapsulated else self.encoding.transfer_syntax_uid
        samples = self.number(0x00280002, 1)
        options: dict[str, Any] = {
            "rows": self.number(0x00280010, 0),
            "columns": self.number(0x00280011, 0),
            "samples_per_pixel": samples,
            "photometric_interpretation": self.text(_PHOTOMETRIC_INTERPRETATION),
            "bits_allocated": self.number(0x00280100, 0),
            "bits_stored": self.number(0x00280101, 0),
            "pixel_representation": self.number(0x00280103, 0),
            "number_of_frames": max(1, self.number(0x00280008, 1)),
            "pixel_keyword": "PixelData",
            "pixel_vr": pixels.vr.decode("ascii", "replace"),
        }
        if samples > 1:
            options["planar_configuration"] = self.number(_PLANAR_CONFIGURATION, 0)
        source = BytesIO(pixels.value) if self.encapsulated else pixels.value
        decoder = get_decoder(syntax)
        for index in range(options["number_of_frames"]):
            # as_array and not iter_array, which fails to correct the sign of what GDCM decodes
            yield decoder.as_array(source, index=index, raw=True, **options)[0]


def _inflated(data: memoryview) -> memoryview:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, INFLATED_LIMIT)
    except zlib.error as error:
        raise MalformedDataSet(0, f"it can't be inflated ({error})") from error
    if not inflater.eof:
        raise MalformedDataSet(len(inflated), "its deflated form does not end, or is too large")
    return memoryview(inflated)


def _meaningful(view: memoryview, encoding: Encoding) -> Iterator[Element]:
    return (e for e in elements(view, encoding) if e.tag & 0xFFFF and e.tag not in _WITHOUT_MEANING)


def _same_value(one: Element, other: Element) -> bool:
    if one.is_sequence or other.is_sequence:
        return _same_sequence(_as_sequence(one), _as_sequence(other))
    if one.is_fragments or other.is_fragments:
        return one.is_fragments and other.is_fragments and _same_fragments(one, other)
    # Big endian is always explicit, so the VR that says how long a word is, is never a guess.
    vr = one.vr if one.encoding.big_endian or other.vr == b"UN" else other.vr
    if one.encoding.big_endian == other.encoding.big_endian or vr not in _WORD:
        return _same_bytes(one.value, other.value, padded=vr not in _WORD)
    return _same_words(one, other, _WORD[vr])


def _as_sequence(element: Element) -> Element:
    """In implicit VR a private sequence looks like any unknown value, and UN is implicit (PS3.5 6.2.2)."""
    if element.is_sequence or not (element.encoding.implicit or element.vr == b"UN"):
        return element
    return element._replace(vr=b"SQ", encoding=Encoding(implicit=True))


def _same_sequence(one: Element, other: Element) -> bool:
    if not (one.is_sequence and other.is_sequence):
        return False
    for item, counterpart in zip_longest(items(one.value, one.encoding), items(other.value, other.encoding)):
        if item is None or counterpart is None:
            return False
        within = _meaningful(item, one.encoding)
        for inner, outer in zip_longest(within, _meaningful(counterpart, other.encoding)):
            if inner is None or outer is None or inner.tag != outer.tag or not _same_value(inner, outer):
                return False
    return True


def _same_bytes(one: memoryview, other: memoryview, *, padded: bool = False) -> bool:
    """Whether two values are equal; if padded, but for spaces and NULs at the end."""
    if one == other:
        return True
    if not padded:
        return False
    start = min(len(one), len(other)) - _COMPARED_AT_ONCE
    if start > 0 and one[:start] != other[:start]:
        return False
    left, right = (bytes(value[max(0, start) :]).rstrip(b"\0 ") for value in (one, other))
    return left == right


def _same_words(one: Element, other: Element, width: int) -> bool:
    """Whether two values are equal, zeros at the end apart, one in little and one in big endian."""
    common = min(len(one.value), len(other.value))
    if common % width or any(bytes(e.value[common:]).strip(b"\0") for e in (one, other)):
        return False
    for start in range(0, common, _COMPARED_AT_ONCE):
        end = min(start + _COMPARED_AT_ONCE, common)
        left, right = (np.frombuffer(e.value[start:end], _words(e.encoding, width)) for e in (one, other))
        if not np.array_equal(left, right):
            return False
    return True


def _words(encoding: Encoding, width: int) -> str:
    return f"{'>' if encoding.big_endian else '<'}u{width}"


def _same_fragments(one: Element, other: Element) -> bool:
    """Whether two encapsulated values hold the same stream, offset table and cuts apart."""
    streams = [b"".join(list(items(e.value, e.encoding))[1:]).rstrip(b"\0") for e in (one, other)]
    return streams[0] == streams[1]


def _same_pixels(one: Element, left: _Side, other: Element, right: _Side) -> bool:
    if not left.encapsulated and not right.encapsulated:
        return _same_native(one, left, other)
    if (
        left.encapsulated
        and right.encapsulated
        and left.syntax == right.syntax
        and _same_fragments(one, other)
    ):
        return all(
            left.text(tag) == right.text(tag) for tag in (_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION)
        )
    if any(side.encapsulated and side.syntax not in LOSSLESS for side in (left, right)):
        return False
    colours = {side.text(_PHOTOMETRIC_INTERPRETATION) for side in (left, right)}
    if len(colours) > 1 and colours != _SAME_COLOURS:
        return False
    try:
        return all(
            frame is not None and counterpart is not None and np.array_equal(frame, counterpart)
            for frame, counterpart in zip_longest(left.frames(one), right.frames(other))
        )
    except Exception as error:  # codecs raise whatever they meet
        log.info("pixels can't be decoded, so they are not the same: %s", error)
        return False


def _same_native(one: Element, left: _Side, other: Element) -> bool:
    if one.encoding.big_endian == other.encoding.big_endian:
        return _same_bytes(one.value, other.value, padded=True)
    big = one if one.encoding.big_endian else other
    if big.vr not in _WORD:
        return _same_bytes(one.value, other.value, padded=True)
    return _same_words(one, other, max(2, left.number(0x00280100, 16) // 8))
