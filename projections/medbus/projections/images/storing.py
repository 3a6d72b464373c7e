"""Reads and writes registrations and rows of the image catalog."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, or_, select

from medbus.projections import rows
from medbus.projections.images import tables
from medbus.projections.images.catalogue import (
    Catalogue,
    Description,
    SeriesKey,
    StudyKey,
    catalogue,
)
from medbus.projections.images.registration import Registration
from medbus.projections.images.slots import Growth, Slots
from medbus.schemas.events import Blob, Instance, Patient, Series, Study, Value

S = TypeVar("S", bound=Value)

_H, _I = tables.holdings.c, tables.images.c
_STUDIES, _SERIES = tables.studies.c, tables.series.c
_PATIENT_COLUMNS = tuple(_STUDIES[name] for name in Patient.__struct_fields__)
_STUDY_COLUMNS = tuple(_STUDIES[name] for name in Study.__struct_fields__)
_SERIES_COLUMNS = tuple(_SERIES[name] for name in Series.__struct_fields__)
_IMAGE_COLUMNS = (
    *(_I.registered_at, _H.log_partition, _I.log_offset, _H.registrant, _H.apparatus_id),
    *(_I.sop_instance_uid, _H.sop_class_uid, _I.instance_number, _I.image_type, _I.imaging_date),
    *(_I.imaging_time, _I.rows, _I.columns, _I.number_of_frames, _I.comments),
    *(_I.digest, _I.size, _H.transfer_syntax_uid),
)
_REGISTRATIONS = (
    select(
        *_IMAGE_COLUMNS, *_PATIENT_COLUMNS, *_STUDY_COLUMNS, *_SERIES_COLUMNS, tables.deviations.c.document
    )
    .join_from(tables.images, tables.holdings, _I.holding == _H.holding)
    .join(
        tables.studies,
        (_STUDIES.study_instance_uid == _H.study_instance_uid) & (_STUDIES.patient_id == _H.patient_id),
    )
    .join(
        tables.series,
        (_SERIES.study_instance_uid == _H.study_instance_uid)
        & (_SERIES.patient_id == _H.patient_id)
        & (_SERIES.series_instance_uid == _H.series_instance_uid),
    )
    .outerjoin(tables.deviations, tables.deviations.c.sop_instance_uid == _I.sop_instance_uid)
)


def entangled(connection: Connection, sop_instance_uids: Sequence[str]) -> set[str]:
    """Those SOP Instance UIDs of which the catalog has heard already."""
    if not sop_instance_uids:
        return set()
    return set(connection.scalars(_entangled(connection.dialect.name), rows.given(sop_instance_uids)))


@cache
def _entangled(dialect: str) -> Select[Any]:
    uid = rows.listed_given(dialect)
    known = (tables.images, tables.shadowed, tables.erasures, tables.conflicts)
    heard_of = or_(*(exists().where(table.c.sop_instance_uid == uid) for table in known))
    return select(uid).where(heard_of)


def load_slots(connection: Connection, sop_instance_uids: Sequence[str]) -> Slots:
    """The state of all slots of some SOP Instance UIDs."""

    def ours(column: ColumnElement[str]) -> ColumnElement[bool]:
        return rows.among(connection, column, sop_instance_uids)

    slots = Slots()
    served = _registrations(connection, ours(tables.images.c.sop_instance_uid))
    for each in [*served, *_shadowed(connection, ours(tables.shadowed.c.sop_instance_uid))]:
        slots.contents[each.instance.sop_instance_uid, each.study.study_instance_uid] = each
    erasures, conflicts = tables.erasures.c, tables.conflicts.c
    slots.erased = {
        (uid, study, digest)
        for uid, study, digest in connection.execute(
            select(erasures.sop_instance_uid, erasures.study_instance_uid, erasures.digest).where(
                ours(erasures.sop_instance_uid)
            )
        )
    }
    slots.lost = {
        ((uid, study), event_id)
        for uid, study, event_id in connection.execute(
            select(conflicts.sop_instance_uid, conflicts.study_instance_uid, conflicts.event_id).where(
                ours(conflicts.sop_instance_uid), conflicts.raced == 1
            )
        )
    }
    return slots


def add(connection: Connection, registrations: Sequence[Registration]) -> None:
    """Add images that are new to the catalog, those of one study by their offsets."""
    studies, series = _descriptions(connection, registrations)
    _insert(connection, catalogue(registrations, studies, series))
    growth = Growth()
    for each in registrations:
        growth.add(each.registrant, each.blob.size, each.registered_at)
    rows.count(connection, tables.usage_by_minute, growth.rows())


def rewrite(
    connection: Connection, before: dict[str, Registration], slots: Slots, sop_instance_uids: Sequence[str]
) -> None:
    """Let the catalog show what slots hold.

    Args:
        before: what was served, by SOP Instance UID.
        slots: the new state.
        sop_instance_uids: all that the slots are about.
    """
    rows.remove(connection, tables.shadowed, "sop_instance_uid", sop_instance_uids)
    after = slots.served()
    removed = [each for uid, each in before.items() if after.get(uid) != each]
    added = [each for uid, each in after.items() if before.get(uid) != each]
    _redescribe(connection, removed, added)
    rows.add(
        connection,
        tables.shadowed,
        [(*slot, msgspec.json.encode(each).decode()) for slot, each in slots.shadowed().items()],
    )
    rows.add(connection, tables.erasures, slots.erasures)
    rows.add(connection, tables.conflicts, slots.conflicts)
    rows.count(connection, tables.usage_by_minute, slots.growth.rows())


def _redescribe(
    connection: Connection, removed: Sequence[Registration], added: Sequence[Registration]
) -> None:
    """Take images away and put others in, and describe their studies anew."""
    studies = sorted({each.study.study_instance_uid for each in (*removed, *added)})
    if not studies:
        return
    gone = {each.instance.sop_instance_uid for each in removed}
    held = _registrations(connection, rows.among(connection, tables.holdings.c.study_instance_uid, studies))
    now = [each for each in held if each.instance.sop_instance_uid not in gone]
    now.extend(added)
    now.sort(key=lambda each: (each.partition, each.offset))
    everything = catalogue(now, {}, {})
    new = {each.instance.sop_instance_uid for each in added}
    everything.images = [row for row in everything.images if row[0] in new]

    usage = _usage(connection, studies)
    rows.remove(connection, tables.images, "sop_instance_uid", sorted(gone))
    uids = [each.instance.sop_instance_uid for each in held]
    rows.remove(connection, tables.deviations, "sop_instance_uid", uids)
    for table in (tables.studies, tables.series, tables.holdings):
        rows.remove(connection, table, "study_instance_uid", studies)
    _insert(connection, everything, usage)


def _insert(
    connection: Connection, new: Catalogue, instead_of: dict[str, tuple[int, int]] | None = None
) -> None:
    rows.add(connection, tables.studies, list(new.studies.values()))
    rows.add(connection, tables.series, list(new.series.values()))
    rows.count(connection, tables.holdings, [each.row() for each in new.holdings.values()])
    rows.add(connection, tables.images, new.images)
    rows.add(connection, tables.deviations, new.deviations)
    images, size = Counter[str](), Counter[str]()
    for registrant, (number, total) in new.usage().items():
        images[registrant] += number
        size[registrant] += total
    for registrant, (number, total) in (instead_of or {}).items():
        images[registrant] -= number
        size[registrant] -= total
    changes = [(who, images[who], size[who]) for who in images if images[who] or size[who]]
    rows.count(connection, tables.usage, changes)
    if instead_of:
        connection.execute(delete(tables.usage).where(tables.usage.c.images == 0))


def _usage(connection: Connection, studies: Sequence[str]) -> dict[str, tuple[int, int]]:
    holdings = tables.holdings.c
    found = connection.execute(
        select(holdings.registrant, func.sum(holdings.images), func.sum(holdings.bytes))
        .where(rows.among(connection, holdings.study_instance_uid, studies))
        .group_by(holdings.registrant)
    )
    return {registrant: (int(images), int(size)) for registrant, images, size in found}


def _descriptions(
    connection: Connection, registrations: Iterable[Registration]
) -> tuple[dict[StudyKey, tuple[Patient, Study]], dict[SeriesKey, Series]]:
    """How the studies and series of some images are described."""
    uids = list({each.study.study_instance_uid: None for each in registrations})
    studies: dict[StudyKey, tuple[Patient, Study]] = {}
    of_studies, of_series = _described(connection.dialect.name)
    for row in connection.execute(of_studies, rows.given(uids)):
        patient, study = _made(Patient, row, 0), _made(Study, row, len(_PATIENT_COLUMNS))
        studies[study.study_instance_uid, patient.patient_id] = patient, study
    series: dict[SeriesKey, Series] = {}
    known = list({study: None for study, _ in studies})
    if known:
        for row in connection.execute(of_series, rows.given(known)):
            each = _made(Series, row, 0)
            series[row.study_instance_uid, row.patient_id, each.series_instance_uid] = each
    return studies, series


@cache
def _described(dialect: str) -> tuple[Select[Any], Select[Any]]:
    """The rows of the given studies, and of their series."""
    return (
        select(*_PATIENT_COLUMNS, *_STUDY_COLUMNS).where(
            rows.among_given(dialect, _STUDIES.study_instance_uid)
        ),
        select(*_SERIES_COLUMNS, _SERIES.study_instance_uid, _SERIES.patient_id).where(
            rows.among_given(dialect, _SERIES.study_instance_uid)
        ),
    )


def _registrations(connection: Connection, where: ColumnElement[bool]) -> list[Registration]:
    return [_registration(row) for row in connection.execute(_REGISTRATIONS.where(where))]


def _shadowed(connection: Connection, where: ColumnElement[bool]) -> list[Registration]:
    documents = connection.scalars(select(tables.shadowed.c.document).where(where))
    return [msgspec.json.decode(document, type=Registration) for document in documents]


def _registration(row: Sequence[Any]) -> Registration:
    at = len(_IMAGE_COLUMNS)
    document = row[-1]
    if document is not None:
        description = msgspec.json.decode(document, type=Description)
    else:
        after_patient = at + len(_PATIENT_COLUMNS)
        description = Description(
            patient=_made(Patient, row, at),
            study=_made(Study, row, after_patient),
            series=_made(Series, row, after_patient + len(_STUDY_COLUMNS)),
        )
    return Registration(
        registered_at=row[0],
        partition=row[1],
        offset=row[2],
        registrant=row[3],
        apparatus_id=row[4],
        patient=description.patient,
        study=description.study,
        series=description.series,
        instance=_made(Instance, row, 5),
        blob=_made(Blob, row, 15),
    )


def _made(kind: type[S], row: Sequence[Any], at: int) -> S:
    """A struct from consecutive columns in the order of its fields."""
    fields = kind.__struct_fields__
    return kind(**dict(zip(fields, row[at : at + len(fields)], strict=True)))
