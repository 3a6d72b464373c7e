"""Identifiers of query and retrieval, to and from what the catalog understands (PS3.4 C.4, C.6). Pure."""

import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import NamedTuple

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from medbus.gateways.dicom.encoding import IMPLICIT_VR_LITTLE_ENDIAN, LONG_VRS, vr_of
from medbus.gateways.dicom.presentation import Root
from medbus.gateways.dicom.status import Code, Refused
from medbus.gateways.dicom.text import encodings_of
from medbus.gateways.dicom.values import RawValue, text_of
from medbus.projections.errors import InvalidQuery
from medbus.projections.images.query import UNIQUE_KEYS, Level, Query

Value = str | int | None

_SPECIFIC_CHARACTER_SET = 0x00080005
_QUERY_RETRIEVE_LEVEL = 0x00080052
_RETRIEVE_AE_TITLE = 0x00080054
_INSTANCE_AVAILABILITY = 0x00080056
_FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
_NOT_KEYS = {_SPECIFIC_CHARACTER_SET, _QUERY_RETRIEVE_LEVEL, 0x00080053, 0x00080201}
"""Also Query/Retrieve View and Timezone Offset From UTC, which are about how to answer."""

_LEVELS: Mapping[Root, tuple[Level, ...]] = {
    Root.PATIENT: (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE),
    Root.STUDY: (Level.STUDY, Level.SERIES, Level.IMAGE),
    Root.PATIENT_STUDY_ONLY: (Level.PATIENT, Level.STUDY),
}

_BINARY = {b"US": "<H", b"SS": "<h", b"UL": "<L", b"SL": "<l"}
_LONGEST_SHORT_VALUE = 0xFFFE


class Encoded(NamedTuple):
    """A data set of a message, as it came."""

    data: bytes
    transfer_syntax: str


class Identifier(NamedTuple):
    """The identifier of a query or retrieval as it came, and the information model that it is of."""

    root: Root
    data: bytes
    transfer_syntax: str


class Question(NamedTuple):
    """What a C-FIND asks.

    Attributes:
        query: to the catalog.
        keys: tag and value representation of all that is to be answered, sorted.
        all_supported: whether the catalog knows all of it.
    """

    query: Query
    keys: tuple[tuple[int, bytes], ...]
    all_supported: bool


class Selection(NamedTuple):
    """What a C-MOVE or C-GET asks for: lists of unique keys; an empty one leaves that level open."""

    patient_ids: tuple[str, ...] = ()
    study_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()


def decode(data: bytes, transfer_syntax: str) -> Dataset:
    """Read a data set of a message.

    Raises:
        Refused: it can't be read (C000H).
    """
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    try:
        dataset: Dataset = read_dataset(BytesIO(data), is_implicit_VR=implicit, is_little_endian=True)
    except Exception as error:  # pydicom raises whatever it meets in hostile bytes
        raise Refused(Code.CANNOT_UNDERSTAND, f"the identifier can't be read: {error}") from error
    return dataset


def encode(dataset: Dataset, transfer_syntax: str) -> bytes:
    """A data set for a message."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def question(asked: Identifier) -> Question:
    """What a C-FIND identifier asks.

    Unique keys of the levels above may be left out: the catalog searches across them all the same.

    Raises:
        Refused: the level is missing or not of this information model (A900H), it can't be read, or a value
            does not fit its key (C000H).
    """
    texts = _texts(decode(asked.data, asked.transfer_syntax))
    level = _level(texts, asked.root)
    unique = UNIQUE_KEYS[level]
    keys: dict[int, bytes] = {tag_for_keyword(unique) or 0: b"LO" if level is Level.PATIENT else b"UI"}
    wanted = {unique: ""}
    all_supported = True
    for tag, (vr, text) in texts.items():
        if tag in _NOT_KEYS:
            continue
        keys[tag] = vr
        keyword = keyword_for_tag(tag)
        if keyword and vr != b"SQ":
            wanted[keyword] = text
        if tag not in (_RETRIEVE_AE_TITLE, _INSTANCE_AVAILABILITY):
            all_supported &= Query(level=level, keys={}).supports(keyword)
    try:
        query = Query.of(level, wanted)
    except InvalidQuery as error:
        raise Refused(Code.CANNOT_UNDERSTAND, error.message) from error
    return Question(query, tuple(sorted(keys.items())), all_supported)


def answer(
    asked: Question, found: Mapping[str, Value], *, retrieve_ae_title: str, transfer_syntax: str
) -> bytes:
    """One match, encoded: every key that was asked for, empty where nothing is known of it.

    Always says its character set, UTF-8 where ASCII is not enough, and from where the images can be had.
    """
    values: dict[int, Value] = {tag: found.get(keyword_for_tag(tag)) for tag, _ in asked.keys}
    plain = all(str(value).isascii() for value in values.values())
    values |= {
        _SPECIFIC_CHARACTER_SET: "ISO_IR 100" if plain else "ISO_IR 192",
        _QUERY_RETRIEVE_LEVEL: asked.query.level.value,
        _RETRIEVE_AE_TITLE: retrieve_ae_title,
    }
    if _INSTANCE_AVAILABILITY in values:
        values[_INSTANCE_AVAILABILITY] = "ONLINE"
    vrs = dict(asked.keys)
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    return b"".join(
        _element(tag, vrs.get(tag) or vr_of(tag), values[tag], implicit=implicit) for tag in sorted(values)
    )


def selection(asked: Identifier) -> Selection:
    """What a C-MOVE or C-GET identifier asks for (PS3.4 C.4.2.1.4).

    Raises:
        Refused: the level is missing or not of this information model, or its unique key is missing or has
            a wildcard (A900H).
    """
    texts = _texts(decode(asked.data, asked.transfer_syntax))
    level = _level(texts, asked.root)
    chosen: list[tuple[str, ...]] = []
    for each in Level:
        values: tuple[str, ...] = ()
        if each.depth <= level.depth:
            _, text = texts.get(tag_for_keyword(UNIQUE_KEYS[each]) or 0, (b"", ""))
            values = tuple(value for value in text.split("\\") if value)
        if any("*" in value or "?" in value for value in values):
            raise _mismatch(f"{UNIQUE_KEYS[each]} must not have a wildcard")
        if each is level and not values:
            raise _mismatch(f"{UNIQUE_KEYS[each]} is missing")
        chosen.append(values)
    return Selection(*chosen)


def failed(sop_instance_uids: Sequence[str], transfer_syntax: str) -> bytes:
    """The identifier of a response that names instances which did not arrive; empty if all did.

    Explicit VR takes as many as fit into 64 KiB.
    """
    if not sop_instance_uids:
        return b""
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    text = "\\".join(sop_instance_uids)
    if not implicit and len(text) > _LONGEST_SHORT_VALUE:
        text = text[: text.rindex("\\", 0, _LONGEST_SHORT_VALUE)]
    return _element(_FAILED_SOP_INSTANCE_UID_LIST, b"UI", text, implicit=implicit)


def _texts(dataset: Dataset) -> dict[int, tuple[bytes, str]]:
    """Value representation and text of every element at the top."""
    found: dict[int, tuple[bytes, str]] = {}
    character_set = dataset.get_item(_SPECIFIC_CHARACTER_SET) if _SPECIFIC_CHARACTER_SET in dataset else None
    encodings = encodings_of(_bytes(character_set))
    for tag in list(dataset.keys()):
        if tag.element == 0:
            continue
        element = dataset.get_item(tag)
        vr = str(element.VR).encode() if element.VR else vr_of(tag)
        text = "" if vr == b"SQ" else text_of(RawValue(vr, _bytes(element), big_endian=False), encodings)
        found[int(tag)] = (vr, text)
    return found


def _bytes(element: object) -> bytes:
    if isinstance(element, RawDataElement):
        return element.value or b""
    value = getattr(element, "value", None)
    if value is None:
        return b""
    return str(value if isinstance(value, str) else "\\".join(map(str, value))).encode("ascii", "replace")


def _level(texts: Mapping[int, tuple[bytes, str]], root: Root) -> Level:
    _, text = texts.get(_QUERY_RETRIEVE_LEVEL, (b"", ""))
    if not text:
        raise _mismatch("Query/Retrieve Level is missing")
    if text not in _LEVELS[root]:
        raise _mismatch(f"{text} is no level of the {root.value.lower()} root model")
    return Level(text)


def _mismatch(comment: str) -> Refused:
    return Refused(Code.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, comment)


def _element(tag: int, vr: bytes, value: Value, *, implicit: bool) -> bytes:
    data = b""
    if value is not None and value != "" and vr != b"SQ":
        data = _value(vr, value)
    group, element = tag >> 16, tag & 0xFFFF
    if implicit:
        return struct.pack("<HHI", group, element, len(data)) + data
    if vr in LONG_VRS:
        return struct.pack("<HH2sHI", group, element, vr, 0, len(data)) + data
    data = data[:_LONGEST_SHORT_VALUE]
    return struct.pack("<HH2sH", group, element, vr, len(data)) + data


def _value(vr: bytes, value: str | int) -> bytes:
    if vr in _BINARY:
        return struct.pack(_BINARY[vr], int(value))
    data = str(value).encode()
    return data + (b"\0" if vr == b"UI" else b" ") * (len(data) % 2)
