"""A query to the image catalog, as DICOM means it but in no protocol's terms (PS3.4 C.2.2.2). Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from medbus.projections.errors import InvalidQuery
from medbus.projections.images.matching import day, span
from medbus.schemas.events import Value


class Level(StrEnum):
    """What a query is about (PS3.4 C.3); each level has the attributes of those above it."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"

    @property
    def depth(self) -> int:
        """How many levels are above it."""
        return _DEPTHS[self]


_DEPTHS = {level: depth for depth, level in enumerate(Level)}


class Kind(StrEnum):
    """How the values of a key are compared."""

    UID = "UID"
    TEXT = "TEXT"
    """Case counts; * and ? are wildcards."""
    CODE = "CODE"
    """Like a text; several values, separated by a backslash, mean one of them."""
    VALUES = "VALUES"
    """Like a text; the attribute has several values, of which one has to match."""
    NAME = "NAME"
    """Case does not count; any group of components may match, or each with its own group."""
    DATE = "DATE"
    TIME = "TIME"
    NUMBER = "NUMBER"
    COUNT = "COUNT"
    """Answered, but never compared."""


class Key(NamedTuple):
    """A key that the catalog supports."""

    level: Level
    kind: Kind


KEYS: Mapping[str, Key] = {
    "PatientID": Key(Level.PATIENT, Kind.TEXT),
    "IssuerOfPatientID": Key(Level.PATIENT, Kind.TEXT),
    "PatientName": Key(Level.PATIENT, Kind.NAME),
    "PatientBirthDate": Key(Level.PATIENT, Kind.DATE),
    "PatientSex": Key(Level.PATIENT, Kind.CODE),
    "NumberOfPatientRelatedStudies": Key(Level.PATIENT, Kind.COUNT),
    "NumberOfPatientRelatedSeries": Key(Level.PATIENT, Kind.COUNT),
    "NumberOfPatientRelatedInstances": Key(Level.PATIENT, Kind.COUNT),
    "StudyInstanceUID": Key(Level.STUDY, Kind.UID),
    "StudyID": Key(Level.STUDY, Kind.TEXT),
    "StudyDate": Key(Level.STUDY, Kind.DATE),
    "StudyTime": Key(Level.STUDY, Kind.TIME),
    "AccessionNumber": Key(Level.STUDY, Kind.TEXT),
    "StudyDescription": Key(Level.STUDY, Kind.TEXT),
    "ReferringPhysicianName": Key(Level.STUDY, Kind.NAME),
    "ModalitiesInStudy": Key(Level.STUDY, Kind.CODE),
    "SOPClassesInStudy": Key(Level.STUDY, Kind.UID),
    "NumberOfStudyRelatedSeries": Key(Level.STUDY, Kind.COUNT),
    "NumberOfStudyRelatedInstances": Key(Level.STUDY, Kind.COUNT),
    "SeriesInstanceUID": Key(Level.SERIES, Kind.UID),
    "Modality": Key(Level.SERIES, Kind.CODE),
    "SeriesNumber": Key(Level.SERIES, Kind.NUMBER),
    "SeriesDate": Key(Level.SERIES, Kind.DATE),
    "SeriesTime": Key(Level.SERIES, Kind.TIME),
    "SeriesDescription": Key(Level.SERIES, Kind.TEXT),
    "ProtocolName": Key(Level.SERIES, Kind.TEXT),
    "BodyPartExamined": Key(Level.SERIES, Kind.CODE),
    "Manufacturer": Key(Level.SERIES, Kind.TEXT),
    "ManufacturerModelName": Key(Level.SERIES, Kind.TEXT),
    "StationName": Key(Level.SERIES, Kind.TEXT),
    "InstitutionName": Key(Level.SERIES, Kind.TEXT),
    "NumberOfSeriesRelatedInstances": Key(Level.SERIES, Kind.COUNT),
    "SOPInstanceUID": Key(Level.IMAGE, Kind.UID),
    "SOPClassUID": Key(Level.IMAGE, Kind.UID),
    "InstanceNumber": Key(Level.IMAGE, Kind.NUMBER),
    "ImageType": Key(Level.IMAGE, Kind.VALUES),
    "Rows": Key(Level.IMAGE, Kind.NUMBER),
    "Columns": Key(Level.IMAGE, Kind.NUMBER),
    "NumberOfFrames": Key(Level.IMAGE, Kind.NUMBER),
    "ImageComments": Key(Level.IMAGE, Kind.TEXT),
    "AvailableTransferSyntaxUID": Key(Level.IMAGE, Kind.UID),
}
"""What can be asked for, by keyword."""

UNIQUE_KEYS: Mapping[Level, str] = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}
"""What tells the answers of a level apart (PS3.4 C.6.1.1, C.6.2.1)."""


class Universal(Value):
    """Everything matches (C.2.2.2.3)."""


class Single(Value):
    """One value (C.2.2.2.1)."""

    value: str


class AnyOf(Value):
    """One of several values (C.2.2.2.2); those of a CODE may be wildcards."""

    values: tuple[str, ...]


class Wildcard(Value):
    """`*` stands for any text, also for none, and `?` for one character (C.2.2.2.4)."""

    pattern: str


class Range(Value):
    """Dates or times from the first to the last, both included; None leaves that side open (C.2.2.2.5)."""

    first: str | None
    last: str | None


Match = Universal | Single | AnyOf | Wildcard | Range


class Query(Value):
    """What is sought, and what is to be told of it.

    A key that the catalog does not support, or that belongs to a lower level, matches everything and is
    answered without a value.

    Attributes:
        level: of the answers.
        keys: how each key is to match, by keyword; what is only to be answered is Universal.
    """

    level: Level
    keys: Mapping[str, Match]

    @classmethod
    def of(cls, level: Level, texts: Mapping[str, str]) -> "Query":
        """A query from values as DICOM writes them: empty, `DOE*`, `20240101-`, `1.2\\1.3` ...

        Raises:
            InvalidQuery: a value does not fit its key.
        """
        return cls(level=level, keys={keyword: matching(keyword, text) for keyword, text in texts.items()})

    def supports(self, keyword: str) -> bool:
        """Whether a key counts at this level."""
        key = KEYS.get(keyword)
        return key is not None and key.level.depth <= self.level.depth


def matching(keyword: str, text: str) -> Match:
    """How a key is to match, from its value as DICOM writes it.

    Raises:
        InvalidQuery: the value does not fit the key.
    """
    key = KEYS.get(keyword)
    value = text.replace("\0", "").strip()
    if key is None or not value.strip("*") or key.kind is Kind.COUNT:
        return Universal()
    match key.kind:
        case Kind.UID:
            return _uid(keyword, value)
        case Kind.DATE | Kind.TIME:
            return _range(keyword, key.kind, value)
        case Kind.NUMBER:
            return _number(keyword, value)
        case Kind.CODE if "\\" in value:
            return AnyOf(values=tuple(each.strip() for each in value.split("\\") if each.strip()))
        case _:
            return Wildcard(pattern=value) if has_wildcard(value) else Single(value=value)


def has_wildcard(text: str) -> bool:
    """Whether a text contains a wildcard."""
    return "*" in text or "?" in text


def _uid(keyword: str, value: str) -> Match:
    if has_wildcard(value):
        raise _invalid(keyword, value, "A UID has no wildcards.")
    values = tuple(each.strip() for each in value.split("\\") if each.strip())
    return Single(value=values[0]) if len(values) == 1 else AnyOf(values=values)


def _range(keyword: str, kind: Kind, value: str) -> Match:
    parts = [each.strip() for each in value.split("-")]
    well_formed = day if kind is Kind.DATE else span
    if len(parts) > 2 or not any(parts) or any(each and well_formed(each) is None for each in parts):
        form = "YYYYMMDD" if kind is Kind.DATE else "HHMMSS.FFFFFF"
        raise _invalid(keyword, value, f"Write {form}, or a range of it: A-B, A- or -B.")
    if len(parts) == 1:
        return Single(value=parts[0])
    return Range(first=parts[0] or None, last=parts[1] or None)


def _number(keyword: str, value: str) -> Match:
    try:
        number = int(value)
    except ValueError:
        raise _invalid(keyword, value, "Give a whole number.") from None
    if abs(number) >= 2**63:
        raise _invalid(keyword, value, "It is too large.")
    return Single(value=value)


def _invalid(keyword: str, value: str, advice: str) -> InvalidQuery:
    return InvalidQuery(f"{keyword} can't be matched with {value!r}.", advice)
