"""What does not fit together: accepted all the same, and shown here."""

from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, select

from medbus.bus import Partition, Position
from medbus.projections.images import tables
from medbus.projections.images.catalogue import Description
from medbus.projections.images.registration import Registration
from medbus.schemas.events import Blob, Patient, Value
from medbus.schemas.topics import IMAGES


class ImageConflict(Value):
    """Other contents came under a SOP Instance UID; they are kept but not served.

    Attributes:
        registered: digest of what is served, or was when they came.
        refused: what is not served.
        raced: their sender was told success, because two gateways registered at the same time, or because the
            same UID is in two studies.
    """

    sop_instance_uid: str
    study_instance_uid: str
    registrant: str
    registered: str
    refused: Blob
    raced: bool
    recorded_at: datetime
    position: Position


class PatientConflict(Value):
    """Images that can't all be of one person, or whose person is in doubt.

    Attributes:
        patients: what the images say, each once. Either all have the same patient id, and differ in name,
            birth date or sex; or they are of one study, and differ in the patient id.
        study_instance_uids: studies that are concerned.
    """

    patients: tuple[Patient, ...]
    study_instance_uids: tuple[str, ...]


def image_conflicts(connection: Connection, *, sop_instance_uid: str | None) -> list[ImageConflict]:
    """Conflicts of one image or of all, the oldest first."""
    return sorted(
        [*_recorded(connection, sop_instance_uid), *_shadowed(connection, sop_instance_uid)],
        key=lambda each: (each.recorded_at, each.position),
    )


def patient_conflicts(connection: Connection) -> list[PatientConflict]:
    """Patient ids of more than one person, then studies of more than one patient id."""
    said = _said(connection)
    by_id: dict[str, dict[tuple[str, str, str], Patient]] = {}
    studies_of: dict[str, set[str]] = {}
    by_study: dict[str, dict[str, Patient]] = {}
    for study, patient in said:
        person = patient.patient_name, patient.patient_birth_date, patient.patient_sex
        by_id.setdefault(patient.patient_id, {}).setdefault(person, patient)
        studies_of.setdefault(patient.patient_id, set()).add(study)
        by_study.setdefault(study, {}).setdefault(patient.patient_id, patient)
    one_id = [
        PatientConflict(patients=_sorted(people), study_instance_uids=tuple(sorted(studies_of[patient_id])))
        for patient_id, people in sorted(by_id.items())
        # An empty patient id is no claim that all these are one person.
        if patient_id and len(people) > 1
    ]
    one_study = [
        PatientConflict(patients=_sorted(patients), study_instance_uids=(study,))
        for study, patients in sorted(by_study.items())
        if len(patients) > 1
    ]
    return one_id + one_study


def _sorted(patients: dict[tuple[str, str, str], Patient] | dict[str, Patient]) -> tuple[Patient, ...]:
    return tuple(each for _, each in sorted(patients.items()))


def _said(connection: Connection) -> list[tuple[str, Patient]]:
    """What studies, and images that deviate from their study's row, say of their patient."""
    columns = [tables.studies.c[name] for name in Patient.__struct_fields__]
    said = [
        (study, Patient(**dict(zip(Patient.__struct_fields__, values, strict=True))))
        for study, *values in connection.execute(
            select(tables.studies.c.study_instance_uid, *columns).order_by(
                tables.studies.c.registered_at, tables.studies.c.log_partition, tables.studies.c.log_offset
            )
        )
    ]
    for document in connection.scalars(
        select(tables.deviations.c.document).order_by(tables.deviations.c.sop_instance_uid)
    ):
        description = msgspec.json.decode(document, type=Description)
        said.append((description.study.study_instance_uid, description.patient))
    return said


def _recorded(connection: Connection, sop_instance_uid: str | None) -> list[ImageConflict]:
    table = tables.conflicts
    statement = select(table)
    if sop_instance_uid is not None:
        statement = statement.where(table.c.sop_instance_uid == sop_instance_uid)
    return [
        ImageConflict(
            sop_instance_uid=row.sop_instance_uid,
            study_instance_uid=row.study_instance_uid,
            registrant=row.registrant,
            registered=row.registered_digest,
            refused=Blob(
                digest=row.refused_digest,
                size=row.refused_size,
                transfer_syntax_uid=row.refused_transfer_syntax_uid,
            ),
            raced=bool(row.raced),
            recorded_at=_moment(row.recorded_at),
            position=Position(Partition(IMAGES.name, row.log_partition), row.log_offset),
        )
        for row in connection.execute(statement)
    ]


def _shadowed(connection: Connection, sop_instance_uid: str | None) -> list[ImageConflict]:
    table = tables.shadowed
    statement = select(table.c.document, tables.images.c.digest).join(
        tables.images, tables.images.c.sop_instance_uid == table.c.sop_instance_uid
    )
    if sop_instance_uid is not None:
        statement = statement.where(table.c.sop_instance_uid == sop_instance_uid)
    conflicts = []
    for document, served in connection.execute(statement):
        lost = msgspec.json.decode(document, type=Registration)
        conflicts.append(
            ImageConflict(
                sop_instance_uid=lost.instance.sop_instance_uid,
                study_instance_uid=lost.study.study_instance_uid,
                registrant=lost.registrant,
                registered=served,
                refused=lost.blob,
                raced=True,
                recorded_at=_moment(lost.registered_at),
                position=Position(Partition(IMAGES.name, lost.partition), lost.offset),
            )
        )
    return conflicts


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
