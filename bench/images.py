"""Synthetic ImageRegistered events as of CT studies: about 2 KB of header and 15 conditions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import NAMESPACE_OID, uuid5

import msgspec
import pydicom
from pydicom.multival import MultiValue

from bench.series import header
from bench.slice import uid
from medbus.schemas.conditions import conditions_of
from medbus.schemas.events import Blob, Header, ImageRegistered, Instance, Meta, Patient, Series, Study

STUDY_IMAGES = 400
"""So many images share a study, and so a partition of the log."""

CONDITIONS = 15
PATIENTS = 500
REGISTRANT = "bench"
_BEGIN = datetime(2026, 1, 7, 10, 15, tzinfo=UTC)


def registered(count: int, seed: int = 1) -> Iterator[ImageRegistered]:
    """Events of that many images; the same seed gives the same events."""
    data_set = header(("1.1", "1.2", "1.3"), 0)
    present = [each.keyword for each in conditions_of("CT") if each.keyword in data_set]
    conditions = {keyword: _text(data_set[keyword].value) for keyword in present[:CONDITIONS]}
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, data_set, enforce_file_format=True)
    encoded = buffer.getvalue()
    encoded = encoded[144 + int.from_bytes(encoded[140:144], "little") :]
    template = _template(conditions, encoded)
    for number in range(count):
        in_study = number % STUDY_IMAGES
        name = f"event/{seed}/{number // STUDY_IMAGES}"
        sop_instance_uid = uid(f"{name}/{in_study}")
        digest = f"blake3:{number:064x}"
        yield msgspec.structs.replace(
            template,
            meta=Meta.first(
                uuid5(uuid5(NAMESPACE_OID, sop_instance_uid), digest),
                source="bench",
                occurred_at=_BEGIN + timedelta(milliseconds=number),
                actor=REGISTRANT,
            ),
            patient=msgspec.structs.replace(
                template.patient, patient_id=f"BENCH{number // STUDY_IMAGES % PATIENTS:04}"
            ),
            study=msgspec.structs.replace(template.study, study_instance_uid=uid(name)),
            series=msgspec.structs.replace(template.series, series_instance_uid=uid(f"{name}/series")),
            instance=msgspec.structs.replace(
                template.instance, sop_instance_uid=sop_instance_uid, instance_number=in_study + 1
            ),
            blob=msgspec.structs.replace(template.blob, digest=digest),
        )


def _text(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _template(conditions: dict[str, str], encoded: bytes) -> ImageRegistered:
    syntax = "1.2.840.10008.1.2.1"
    return ImageRegistered(
        meta=Meta.first(uuid5(NAMESPACE_OID, "bench"), source="bench", occurred_at=_BEGIN),
        grant_id=uuid5(NAMESPACE_OID, "bench grant"),
        registrant=REGISTRANT,
        apparatus_id="CT#1",
        patient=Patient(patient_name="Bench^Subject", patient_birth_date="19610402", patient_sex="F"),
        study=Study(
            study_instance_uid="",
            study_id="1",
            study_date="20260107",
            study_time="101500",
            accession_number="ACC0001",
            study_description="Chest",
            referring_physician_name="Referrer^Rita",
        ),
        series=Series(
            series_instance_uid="",
            modality="CT",
            series_number=2,
            series_date="20260107",
            series_time="101733",
            series_description="Chest 1.25 mm standard",
            protocol_name="5.1 Chest low dose",
            body_part_examined="CHEST",
            manufacturer="Synthetic",
            manufacturer_model_name="Phantom 64",
            station_name="CT1",
            institution_name="A Hospital",
        ),
        instance=Instance(
            sop_instance_uid="",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            image_type="ORIGINAL\\PRIMARY\\AXIAL",
            imaging_date="20260107",
            imaging_time="101734.512",
            rows=512,
            columns=512,
        ),
        conditions=conditions,
        header=Header(transfer_syntax_uid=syntax, data=encoded),
        blob=Blob(digest="", size=526252, transfer_syntax_uid=syntax),
    )
