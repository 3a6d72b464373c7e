"""From registrations to rows. Pure: the rows of a study are a function of the images that it has."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from medbus.projections.images.matching import day, moment, name_groups
from medbus.projections.images.registration import Registration
from medbus.projections.rows import Row
from medbus.schemas.events import Patient, Series, Study, Value

StudyKey = tuple[str, str]
"""Study Instance UID and Patient ID."""

SeriesKey = tuple[str, str, str]
"""Study Instance UID, Patient ID and Series Instance UID."""

HoldingKey = tuple[str, str, str, str, str | None, str, str, str]


class Description(Value):
    """What an image says of patient, study and series."""

    patient: Patient
    study: Study
    series: Series


@dataclass(slots=True)
class Holding:
    """Images of one series that have all of its key in common."""

    number: int
    key: HoldingKey
    partition: int
    described: Description
    images: int = 0
    bytes: int = 0

    def row(self) -> Row:
        return (self.number, *self.key, self.partition, self.images, self.bytes)


@dataclass(slots=True)
class Catalogue:
    """Rows to add to each table."""

    studies: dict[StudyKey, Row] = field(default_factory=dict)
    series: dict[SeriesKey, Row] = field(default_factory=dict)
    holdings: dict[HoldingKey, Holding] = field(default_factory=dict)
    images: list[Row] = field(default_factory=list)
    deviations: list[Row] = field(default_factory=list)

    def usage(self) -> dict[str, tuple[int, int]]:
        """Number and bytes of the images by registrant."""
        sums: dict[str, tuple[int, int]] = {}
        for key, holding in self.holdings.items():
            images, size = sums.get(key[3], (0, 0))
            sums[key[3]] = images + holding.images, size + holding.bytes
        return sums


def catalogue(
    registrations: Iterable[Registration],
    studies: dict[StudyKey, tuple[Patient, Study]],
    series: dict[SeriesKey, Series],
) -> Catalogue:
    """The rows that images add.

    Args:
        registrations: images, those of one study by their offsets.
        studies: how the studies that have images already are described; added to here.
        series: likewise for series.
    """
    rows = Catalogue()
    for each in registrations:
        patient, study, of_series, instance, blob = (
            each.patient,
            each.study,
            each.series,
            each.instance,
            each.blob,
        )
        key = (
            study.study_instance_uid,
            patient.patient_id,
            of_series.series_instance_uid,
            each.registrant,
            each.apparatus_id,
            of_series.modality,
            instance.sop_class_uid,
            blob.transfer_syntax_uid,
        )
        holding = rows.holdings.get(key)
        if holding is None:
            holding = rows.holdings[key] = Holding(
                number_of(key), key, each.partition, _describe(each, rows, studies, series)
            )
        holding.images += 1
        holding.bytes += blob.size
        known = holding.described
        if of_series != known.series or study != known.study or patient != known.patient:
            rows.deviations.append((instance.sop_instance_uid, describing(each)))
        rows.images.append(
            (
                instance.sop_instance_uid,
                holding.number,
                instance.instance_number,
                instance.image_type,
                instance.imaging_date,
                instance.imaging_time,
                instance.rows,
                instance.columns,
                instance.number_of_frames,
                instance.comments,
                blob.digest,
                blob.size,
                each.registered_at,
                each.offset,
            )
        )
    return rows


def describing(registration: Registration) -> str:
    """What an image says of patient, study and series, as JSON."""
    described = Description(
        patient=registration.patient, study=registration.study, series=registration.series
    )
    return msgspec.json.encode(described).decode()


def number_of(key: HoldingKey) -> int:
    """A number for a holding that is the same in every catalog: 63 bits of a digest."""
    return int.from_bytes(blake2b(msgspec.json.encode(key), digest_size=8).digest()) >> 1


def _describe(
    first: Registration,
    rows: Catalogue,
    studies: dict[StudyKey, tuple[Patient, Study]],
    series: dict[SeriesKey, Series],
) -> Description:
    study_key = first.study.study_instance_uid, first.patient.patient_id
    if study_key not in studies:
        studies[study_key] = first.patient, first.study
        rows.studies[study_key] = _study_row(first)
    series_key = *study_key, first.series.series_instance_uid
    if series_key not in series:
        series[series_key] = first.series
        rows.series[series_key] = _series_row(first)
    patient, study = studies[study_key]
    return Description(patient=patient, study=study, series=series[series_key])


def _study_row(first: Registration) -> Row:
    patient, study = first.patient, first.study
    return (
        study.study_instance_uid,
        patient.patient_id,
        patient.issuer_of_patient_id,
        patient.patient_name,
        patient.patient_birth_date,
        patient.patient_sex,
        study.study_id,
        study.study_date,
        study.study_time,
        study.accession_number,
        study.study_description,
        study.referring_physician_name,
        *name_groups(patient.patient_name),
        *name_groups(study.referring_physician_name),
        day(patient.patient_birth_date),
        day(study.study_date),
        moment(study.study_time),
        *first.order,
    )


def _series_row(first: Registration) -> Row:
    series = first.series
    return (
        first.study.study_instance_uid,
        first.patient.patient_id,
        series.series_instance_uid,
        series.modality,
        series.series_number,
        series.series_date,
        series.series_time,
        series.series_description,
        series.protocol_name,
        series.body_part_examined,
        series.manufacturer,
        series.manufacturer_model_name,
        series.station_name,
        series.institution_name,
        day(series.series_date),
        moment(series.series_time),
    )
