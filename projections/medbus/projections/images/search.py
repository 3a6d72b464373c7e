"""From a query to SQL, and from rows to answers."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    exists,
    false,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
)

from medbus.projections import rows
from medbus.projections.images import tables
from medbus.projections.images.matching import day, name_groups, span
from medbus.projections.images.query import (
    KEYS,
    UNIQUE_KEYS,
    AnyOf,
    Kind,
    Level,
    Match,
    Query,
    Range,
    Single,
    Universal,
    Wildcard,
    has_wildcard,
)
from medbus.projections.images.scope import EVERYTHING, within
from medbus.schemas.events import Scope

Answer = dict[str, str | int | None]
"""DICOM keyword to value; values of an attribute that has several are separated by a backslash."""

Place = tuple[str, ...]
"""Where an answer stands in the order of its level."""

Condition = ColumnElement[bool]
Column = ColumnElement[Any]

_STUDIES, _SERIES = tables.studies.c, tables.series.c
_H, _I = tables.holdings.c, tables.images.c

COLUMNS: Mapping[str, Column] = {
    "PatientID": _STUDIES.patient_id,
    "IssuerOfPatientID": _STUDIES.issuer_of_patient_id,
    "PatientName": _STUDIES.patient_name,
    "PatientBirthDate": _STUDIES.patient_birth_date,
    "PatientSex": _STUDIES.patient_sex,
    "StudyInstanceUID": _STUDIES.study_instance_uid,
    "StudyID": _STUDIES.study_id,
    "StudyDate": _STUDIES.study_date,
    "StudyTime": _STUDIES.study_time,
    "AccessionNumber": _STUDIES.accession_number,
    "StudyDescription": _STUDIES.study_description,
    "ReferringPhysicianName": _STUDIES.referring_physician_name,
    "SeriesInstanceUID": _SERIES.series_instance_uid,
    "Modality": _SERIES.modality,
    "SeriesNumber": _SERIES.series_number,
    "SeriesDate": _SERIES.series_date,
    "SeriesTime": _SERIES.series_time,
    "SeriesDescription": _SERIES.series_description,
    "ProtocolName": _SERIES.protocol_name,
    "BodyPartExamined": _SERIES.body_part_examined,
    "Manufacturer": _SERIES.manufacturer,
    "ManufacturerModelName": _SERIES.manufacturer_model_name,
    "StationName": _SERIES.station_name,
    "InstitutionName": _SERIES.institution_name,
    "SOPInstanceUID": _I.sop_instance_uid,
    "SOPClassUID": _H.sop_class_uid,
    "InstanceNumber": _I.instance_number,
    "ImageType": _I.image_type,
    "Rows": _I.rows,
    "Columns": _I.columns,
    "NumberOfFrames": _I.number_of_frames,
    "ImageComments": _I.comments,
    "AvailableTransferSyntaxUID": _H.transfer_syntax_uid,
}
"""The column of each key that an image, or what it belongs to, has as it is."""

_COMPARED: Mapping[str, tuple[Column, ...]] = {
    "PatientName": (_STUDIES.patient_alphabetic, _STUDIES.patient_ideographic, _STUDIES.patient_phonetic),
    "ReferringPhysicianName": (
        _STUDIES.referring_alphabetic,
        _STUDIES.referring_ideographic,
        _STUDIES.referring_phonetic,
    ),
    "PatientBirthDate": (_STUDIES.birth_day,),
    "StudyDate": (_STUDIES.study_day,),
    "StudyTime": (_STUDIES.study_moment,),
    "SeriesDate": (_SERIES.series_day,),
    "SeriesTime": (_SERIES.series_moment,),
}
"""The columns by which names, dates and times are compared."""

_OF_HOLDINGS = {"ModalitiesInStudy": "modality", "SOPClassesInStudy": "sop_class_uid"}

_PLACES: Mapping[Level, tuple[Column, ...]] = {
    Level.PATIENT: (_STUDIES.patient_id,),
    Level.STUDY: (_STUDIES.study_instance_uid, _STUDIES.patient_id),
    Level.SERIES: (_SERIES.study_instance_uid, _SERIES.patient_id, _SERIES.series_instance_uid),
    Level.IMAGE: (_I.sop_instance_uid,),
}

_SAME_STUDY = (_SERIES.study_instance_uid == _STUDIES.study_instance_uid) & (
    _SERIES.patient_id == _STUDIES.patient_id
)
_SAME_SERIES = (
    (_SERIES.study_instance_uid == _H.study_instance_uid)
    & (_SERIES.patient_id == _H.patient_id)
    & (_SERIES.series_instance_uid == _H.series_instance_uid)
)
_FROM: Mapping[Level, FromClause] = {
    Level.PATIENT: tables.studies,
    Level.STUDY: tables.studies,
    Level.SERIES: tables.series.join(tables.studies, _SAME_STUDY),
    Level.IMAGE: tables.images.join(tables.holdings, _I.holding == _H.holding)
    .join(tables.series, _SAME_SERIES)
    .join(tables.studies, _SAME_STUDY),
}


class Identity(NamedTuple):
    """What an answer belongs to; empty below its level."""

    patient_id: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""


def page(
    connection: Connection, query: Query, scope: Scope, *, after: Place | None, size: int, skip: int = 0
) -> tuple[list[Answer], Place | None]:
    """Some answers in the order of their level.

    Args:
        after: the place of the last answer of the page before.
        size: how many at most.
        skip: how many to leave out first.

    Returns:
        Answers, and the place of the last one; None if there are no more.
    """
    keywords = answered(query)
    plain = [each for each in keywords if each in COLUMNS and query.supports(each)]
    place = _PLACES[query.level]
    of = _identity(query.level)
    statement = (
        select(*place, *of, *(COLUMNS[keyword] for keyword in plain))
        .select_from(_FROM[query.level])
        .where(*_conditions(connection, query, scope))
        .order_by(*place)
        .limit(size)
    )
    if after is not None:
        statement = statement.where(tuple_(*place) > tuple_(*(literal(each) for each in after)))
    if skip:
        statement = statement.offset(skip)
    found = connection.execute(statement).all()
    start, end = len(place), len(place) + len(of)
    identities = [Identity(*row[start:end]) for row in found]
    values = [dict(zip(plain, row[end:], strict=True)) for row in found]
    counted = _counted(connection, query, scope, identities)
    answers: list[Answer] = [
        {keyword: one.get(keyword, many.get(keyword)) for keyword in keywords}
        for one, many in zip(values, counted, strict=True)
    ]
    return answers, tuple(found[-1][:start]) if len(found) == size else None


def answered(query: Query) -> list[str]:
    """The keys of an answer: those that were asked for, and what tells the answers apart."""
    unique = UNIQUE_KEYS[query.level]
    supported = [keyword for keyword in query.keys if query.supports(keyword)]
    rest = [keyword for keyword in query.keys if not query.supports(keyword)]
    return list(dict.fromkeys([*supported, unique, *rest]))


def _identity(level: Level) -> tuple[Column, ...]:
    columns = (_STUDIES.patient_id, _STUDIES.study_instance_uid, _SERIES.series_instance_uid)
    return columns[: min(level.depth, Level.SERIES.depth) + 1]


def _conditions(connection: Connection, query: Query, scope: Scope) -> list[Condition]:
    conditions: list[Condition] = []
    for keyword, match in query.keys.items():
        if query.supports(keyword) and not isinstance(match, Universal):
            if keyword in _OF_HOLDINGS:
                conditions.append(_in_study(connection, keyword, match, scope))
            else:
                conditions.append(_matches(connection, keyword, match))
    if query.level is Level.IMAGE:
        conditions.append(within(scope))
    elif scope != EVERYTHING:
        conditions.append(
            _visible(tables.studies if query.level.depth < Level.SERIES.depth else tables.series, scope)
        )
    if query.level is Level.PATIENT:
        conditions.append(_described_first(scope))
    return conditions


def _visible(entity: FromClause, scope: Scope) -> Condition:
    """Whether a study or series has an image within a scope."""
    held = tables.holdings.alias("visible")
    keys = [name for name in ("study_instance_uid", "patient_id", "series_instance_uid") if name in entity.c]
    return exists().where(*(held.c[key] == entity.c[key] for key in keys), within(scope, held))


def _described_first(scope: Scope) -> Condition:
    """Whether a study is the one that describes its patient: the first of those that may be seen."""
    other = tables.studies.alias("other")
    order = ("registered_at", "log_partition", "log_offset")
    earlier = tuple_(*(other.c[each] for each in order)) < tuple_(*(_STUDIES[each] for each in order))
    visible = true() if scope == EVERYTHING else _visible(other, scope)
    return not_(exists().where(other.c.patient_id == _STUDIES.patient_id, earlier, visible))


def _in_study(connection: Connection, keyword: str, match: Match, scope: Scope) -> Condition:
    held = tables.holdings.alias("held")
    return exists().where(
        held.c.study_instance_uid == _STUDIES.study_instance_uid,
        held.c.patient_id == _STUDIES.patient_id,
        within(scope, held),
        _text(connection, held.c[_OF_HOLDINGS[keyword]], match),
    )


def _matches(connection: Connection, keyword: str, match: Match) -> Condition:
    kind = KEYS[keyword].kind
    column = COLUMNS[keyword]
    match kind:
        case Kind.NAME:
            return _name(connection, _COMPARED[keyword], match)
        case Kind.DATE:
            return _date(_COMPARED[keyword][0], match)
        case Kind.TIME:
            return _time(_COMPARED[keyword][0], match)
        case Kind.NUMBER:
            return column == int(match.value) if isinstance(match, Single) else false()
        case Kind.VALUES:
            return _one_of_values(connection, column, match)
        case _:
            return _text(connection, column, match)


def _text(connection: Connection, column: Column, match: Match) -> Condition:
    match match:
        case Single(value=value):
            return column == value
        case Wildcard(pattern=pattern):
            return like(connection, column, pattern)
        case AnyOf(values=values):
            patterns = [each for each in values if has_wildcard(each)]
            plain = [each for each in values if not has_wildcard(each)]
            return or_(
                rows.among(connection, column, plain), *(like(connection, column, each) for each in patterns)
            )
        case _:
            return false()


def _one_of_values(connection: Connection, column: Column, match: Match) -> Condition:
    match match:
        case Single(value=text) | Wildcard(pattern=text):
            # A * may reach over several values.
            return like(connection, literal("\\") + column + literal("\\"), f"*\\{text}\\*")
        case _:
            return false()


def _name(connection: Connection, groups: Sequence[Column], match: Match) -> Condition:
    if not isinstance(match, Single | Wildcard):
        return false()
    text = match.value if isinstance(match, Single) else match.pattern
    wanted = name_groups(text)
    if "=" not in text:
        return or_(*(_group(connection, column, wanted[0]) for column in groups))
    return and_(
        true(), *(_group(connection, c, each) for c, each in zip(groups, wanted, strict=True) if each)
    )


def _group(connection: Connection, column: Column, text: str) -> Condition:
    return like(connection, column, text) if has_wildcard(text) else column == text


def _date(column: Column, match: Match) -> Condition:
    match match:
        case Single(value=value):
            return column == day(value)
        case Range(first=first, last=last):
            return and_(
                true() if first is None else column >= day(first),
                true() if last is None else column <= day(last),
            )
        case _:
            return false()


def _time(column: Column, match: Match) -> Condition:
    match match:
        case Single(value=value):
            first = last = span(value)
        case Range(first=one, last=other):
            first, last = span(one or ""), span(other or "")
        case _:
            return false()
    return and_(
        column.is_not(None),
        true() if first is None else column >= first.first,
        true() if last is None else column <= last.last,
    )


def like(connection: Connection, column: Column, pattern: str) -> Condition:
    """Whether a text matches a pattern with `*` and `?`. Case counts."""
    conditions: list[Condition] = []
    prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if prefix:
        # What begins alike stands together in an index.
        conditions.append(column >= prefix)
        following = _following(prefix)
        if following is not None:
            conditions.append(column < following)
    if connection.dialect.name == "sqlite":
        # LIKE in SQLite does not tell a from A.
        conditions.append(column.op("GLOB")(pattern.replace("[", "[[]")))
    else:
        escaped = "".join(f"\\{each}" if each in "\\%_" else each for each in pattern)
        conditions.append(column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\"))
    return and_(*conditions)


def _following(prefix: str) -> str | None:
    """The first text after all that begin with a prefix."""
    last = ord(prefix[-1]) + 1
    if last == 0xD800:
        last = 0xE000
    return None if last > 0x10FFFF else prefix[:-1] + chr(last)


class _Counts:
    """Sums over the holdings of a patient, study or series."""

    def __init__(self) -> None:
        self.studies: set[str] = set()
        self.series: set[tuple[str, str]] = set()
        self.images = 0
        self.modalities: set[str] = set()
        self.sop_classes: set[str] = set()

    def add(self, study: str, series: str, modality: str, sop_class: str, images: int) -> None:
        self.studies.add(study)
        self.series.add((study, series))
        self.images += images
        self.modalities.add(modality)
        self.sop_classes.add(sop_class)


_COUNTED: Mapping[str, tuple[Level, Callable[[_Counts], str | int]]] = {
    "NumberOfPatientRelatedStudies": (Level.PATIENT, lambda c: len(c.studies)),
    "NumberOfPatientRelatedSeries": (Level.PATIENT, lambda c: len(c.series)),
    "NumberOfPatientRelatedInstances": (Level.PATIENT, lambda c: c.images),
    "ModalitiesInStudy": (Level.STUDY, lambda c: "\\".join(sorted(c.modalities))),
    "SOPClassesInStudy": (Level.STUDY, lambda c: "\\".join(sorted(c.sop_classes))),
    "NumberOfStudyRelatedSeries": (Level.STUDY, lambda c: len(c.series)),
    "NumberOfStudyRelatedInstances": (Level.STUDY, lambda c: c.images),
    "NumberOfSeriesRelatedInstances": (Level.SERIES, lambda c: c.images),
}
"""What is summed up over holdings: of which level, and what of the sums."""


def _counted(
    connection: Connection, query: Query, scope: Scope, identities: Sequence[Identity]
) -> list[dict[str, str | int]]:
    """The values of answers that are sums, within what may be seen."""
    wanted = [keyword for keyword in query.keys if query.supports(keyword) and keyword in _COUNTED]
    answers: list[dict[str, str | int]] = [{} for _ in identities]
    if not identities:
        return answers
    for level in dict.fromkeys(_COUNTED[keyword][0] for keyword in wanted):
        sums = _sums(connection, level, scope, identities)
        values = [(keyword, _COUNTED[keyword][1]) for keyword in wanted if _COUNTED[keyword][0] is level]
        for identity, answer in zip(identities, answers, strict=True):
            for keyword, value in values:
                answer[keyword] = value(sums[identity[: level.depth + 1]])
    return answers


def _sums(
    connection: Connection, level: Level, scope: Scope, identities: Sequence[Identity]
) -> dict[tuple[str, ...], _Counts]:
    depth = level.depth
    column = (_H.patient_id, _H.study_instance_uid, _H.series_instance_uid)[depth]
    ids = list({identity[depth]: None for identity in identities})
    statement: Select[Any] = select(
        _H.patient_id, _H.study_instance_uid, _H.series_instance_uid, _H.modality, _H.sop_class_uid, _H.images
    ).where(column == ids[0] if len(ids) == 1 else rows.among(connection, column, ids), within(scope))
    sums: dict[tuple[str, ...], _Counts] = {identity[: depth + 1]: _Counts() for identity in identities}
    for patient, study, series, modality, sop_class, images in connection.execute(statement):
        counts = sums.get((patient, study, series)[: depth + 1])
        if counts is not None:
            counts.add(study, series, modality, sop_class, images)
    return sums
