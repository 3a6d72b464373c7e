"""The head of an encoded data set: all that an event says about an image, read without decoding its pixels.

A data set is what follows the file meta information in a file, or what a C-STORE or a STOW part carries.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pydicom.datadict import tag_for_keyword

from medbus.gateways.dicom import conditions
from medbus.gateways.dicom.encoding import encoding_of
from medbus.gateways.dicom.errors import (
    MalformedDataSet,
    MissingIdentifier,
    OversizedDataSet,
    TruncatedDataSet,
    UnreadableDataSet,
)
from medbus.gateways.dicom.scanner import Scanner
from medbus.gateways.dicom.text import encodings_of
from medbus.gateways.dicom.values import (
    RawValue,
    date_and_time_of,
    date_of,
    integer_of,
    is_date,
    is_uid,
    text_of,
    time_of,
)
from medbus.schemas.events.base import Value
from medbus.schemas.events.images import Instance, Patient, Series, Study

__all__ = [
    "HEADER_IN_EVENT",
    "Head",
    "HeadScanner",
    "MalformedDataSet",
    "MissingIdentifier",
    "OversizedDataSet",
    "TruncatedDataSet",
    "UnreadableDataSet",
    "read_head",
]

HEADER_IN_EVENT: Final = 64 * 1024
"""A header of more bytes than this is a blob of its own."""

HEADER_LIMIT: Final = 256 * 1024 * 1024
"""Most bytes of header that are held in memory."""

INFLATED_LIMIT: Final = 8 * 1024 * 1024 * 1024
"""Most bytes that a deflated data set may inflate to."""

TEXT_LENGTH: Final = 1024
"""Characters of an identifying text in the event; the header has the rest."""

COMMENTS_LENGTH: Final = 10240
"""Characters of Image Comments, as many as LT may have (PS3.5 6.2)."""

_INFLATED_AT_ONCE: Final = 256 * 1024

_OF_PATIENT: Final = "PatientID IssuerOfPatientID PatientName PatientBirthDate PatientSex"
_OF_STUDY: Final = """
StudyInstanceUID StudyID StudyDate StudyTime AccessionNumber StudyDescription ReferringPhysicianName
"""
_OF_SERIES: Final = """
SeriesInstanceUID Modality SeriesNumber SeriesDate SeriesTime SeriesDescription ProtocolName
BodyPartExamined Manufacturer ManufacturerModelName StationName InstitutionName
"""
_OF_THE_REST: Final = """
SpecificCharacterSet
SOPInstanceUID SOPClassUID InstanceNumber ImageType ImageComments Rows Columns NumberOfFrames
AcquisitionDateTime AcquisitionDate AcquisitionTime ContentDate ContentTime
"""
_TAGS: Final = {
    keyword: tag
    for keywords in (_OF_PATIENT, _OF_STUDY, _OF_SERIES, _OF_THE_REST)
    for keyword in keywords.split()
    if (tag := tag_for_keyword(keyword)) is not None
}
_WANTED: Final = conditions.TAGS | frozenset(_TAGS.values())


class Head(Value):
    """What one data set says, bulk data apart.

    Args:
        transfer_syntax_uid: in which the data set came.
        size: its bytes, as they came.
        patient, study, series, instance: its identification.
        conditions: imaging conditions, DICOM keyword to text (`medbus.schemas.conditions`).
        header: the encoded data set without its bulk data and group lengths.
        header_transfer_syntax_uid: how the header is encoded: as the data set, but inflated.
        encapsulated: whether the pixel data came in fragments, as in every compressed transfer syntax.
    """

    transfer_syntax_uid: str
    size: int
    patient: Patient
    study: Study
    series: Series
    instance: Instance
    conditions: dict[str, str]
    header: bytes
    header_transfer_syntax_uid: str
    encapsulated: bool

    @property
    def header_is_large(self) -> bool:
        """Whether the header has to be stored as a blob of its own before the event is made."""
        return len(self.header) > HEADER_IN_EVENT


class HeadScanner:
    """Reads a data set as it arrives. One thread at a time.

    What it holds in memory is the header. After an error it is of no more use.

    Args:
        transfer_syntax_uid: as negotiated, or from the file meta information.
        header_limit: most bytes of header.
        inflated_limit: most bytes that a deflated data set may inflate to.
    """

    def __init__(
        self,
        transfer_syntax_uid: str,
        *,
        header_limit: int = HEADER_LIMIT,
        inflated_limit: int = INFLATED_LIMIT,
    ) -> None:
        encoding = encoding_of(transfer_syntax_uid)
        self._transfer_syntax_uid = transfer_syntax_uid
        self._size = 0
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if encoding.deflated else None
        self._inflated = 0
        self._inflated_limit = inflated_limit
        self._scanner = Scanner(
            encoding,
            wanted=_WANTED,
            wanted_within=conditions.TAGS,
            searched=conditions.SEARCHED,
            header_limit=header_limit,
        )

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the data set.

        Raises:
            MalformedDataSet: they are none.
            OversizedDataSet: the header or the inflated data set is too large.
        """
        view = memoryview(chunk).cast("B")
        self._size += len(view)
        if self._inflater is None:
            self._scanner.feed(view)
        else:
            self._inflate(self._inflater, view)

    def _inflate(self, inflater: "zlib._Decompress", deflated: bytes | memoryview) -> None:
        full = True
        while (deflated or full) and not inflater.eof:
            try:
                inflated = inflater.decompress(deflated, _INFLATED_AT_ONCE)
            except zlib.error as error:
                raise MalformedDataSet(self._inflated, f"it can't be inflated ({error})") from error
            self._inflated += len(inflated)
            if self._inflated > self._inflated_limit:
                raise OversizedDataSet("inflated data set", self._inflated_limit)
            self._scanner.feed(memoryview(inflated))
            deflated = inflater.unconsumed_tail
            full = len(inflated) == _INFLATED_AT_ONCE

    @property
    def pixels_reached(self) -> bool:
        """Whether the pixel data have begun, so that `so_far` has all that stands before them."""
        return self._scanner.pixels_reached

    def so_far(self) -> Head:
        """The head by what has come.

        Raises:
            MissingIdentifier: a UID has not come, or is none.
        """
        return _head(self._transfer_syntax_uid, self._size, self._scanner)

    def finish(self) -> Head:
        """The head of the whole data set, once all of it was fed.

        Raises:
            TruncatedDataSet: it is not complete.
            MissingIdentifier: it has no UID of study, series, instance or class.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise TruncatedDataSet(self._size, "its deflated form")
        self._scanner.finish()
        return self.so_far()


def read_head(data: bytes | bytearray | memoryview, transfer_syntax_uid: str) -> Head:
    """Read the head of a complete data set, without copying more than the header of it.

    Raises:
        UnreadableDataSet: as HeadScanner.
    """
    scanner = HeadScanner(transfer_syntax_uid)
    scanner.feed(data)
    return scanner.finish()


_Raw = tuple[RawValue | None, ...]
"""The values of some keywords, None where there is none."""

_Text = Callable[[str], str]
"""From a keyword to the text of its value, cut to TEXT_LENGTH; empty where there is none."""


def _head(transfer_syntax_uid: str, size: int, scanner: Scanner) -> Head:
    values = scanner.values
    character_set = values.get(_TAGS["SpecificCharacterSet"])
    encodings = encodings_of(b"" if character_set is None else character_set.data)

    def text(keyword: str, length: int = TEXT_LENGTH) -> str:
        raw = values.get(_TAGS[keyword])
        return "" if raw is None else text_of(raw, encodings)[:length]

    def of(tags: tuple[int, ...]) -> _Raw:
        return tuple(map(values.get, tags))

    # The values are in the header, so a short one bounds what is remembered.
    short = len(scanner.header) <= HEADER_IN_EVENT
    patient = _patient if short else _patient.__wrapped__
    study = _study if short else _study.__wrapped__
    series = _series if short else _series.__wrapped__
    modality = text("Modality")
    imaging_date, imaging_time = _imaging_time(text)
    return Head(
        transfer_syntax_uid=transfer_syntax_uid,
        size=size,
        instance=Instance(
            sop_instance_uid=_uid(text, "SOPInstanceUID"),
            sop_class_uid=_uid(text, "SOPClassUID"),
            instance_number=integer_of(text("InstanceNumber")),
            image_type=text("ImageType"),
            imaging_date=imaging_date,
            imaging_time=imaging_time,
            rows=integer_of(text("Rows")),
            columns=integer_of(text("Columns")),
            number_of_frames=integer_of(text("NumberOfFrames")),
            comments=text("ImageComments", COMMENTS_LENGTH),
        ),
        study=study(of(_STUDY), encodings),
        series=series(of(_SERIES), encodings),
        patient=patient(of(_PATIENT), encodings),
        conditions=conditions.conditions(modality, values, scanner.values_within, encodings),
        header=bytes(scanner.header),
        header_transfer_syntax_uid=scanner.encoding.transfer_syntax_uid,
        encapsulated=scanner.encapsulated,
    )


# Patient, study and series are most often those of the image before. It is recognised by all their values as
# encoded, with VR, byte order and character set, never by their UIDs: images of a series do contradict.
_ENTITIES: Final = 64
"""So many patients, studies and series are remembered, those of the last images."""

_PATIENT, _STUDY, _SERIES = (
    tuple(_TAGS[keyword] for keyword in keywords.split()) for keywords in (_OF_PATIENT, _OF_STUDY, _OF_SERIES)
)


@lru_cache(maxsize=_ENTITIES)
def _patient(raw: _Raw, encodings: tuple[str, ...]) -> Patient:
    text = _texts(_PATIENT, raw, encodings)
    return Patient(
        patient_id=text("PatientID"),
        issuer_of_patient_id=text("IssuerOfPatientID"),
        patient_name=text("PatientName"),
        patient_birth_date=date_of(text("PatientBirthDate")),
        patient_sex=text("PatientSex"),
    )


@lru_cache(maxsize=_ENTITIES)
def _study(raw: _Raw, encodings: tuple[str, ...]) -> Study:
    text = _texts(_STUDY, raw, encodings)
    return Study(
        study_instance_uid=_uid(text, "StudyInstanceUID"),
        study_id=text("StudyID"),
        study_date=date_of(text("StudyDate")),
        study_time=time_of(text("StudyTime")),
        accession_number=text("AccessionNumber"),
        study_description=text("StudyDescription"),
        referring_physician_name=text("ReferringPhysicianName"),
    )


@lru_cache(maxsize=_ENTITIES)
def _series(raw: _Raw, encodings: tuple[str, ...]) -> Series:
    text = _texts(_SERIES, raw, encodings)
    return Series(
        series_instance_uid=_uid(text, "SeriesInstanceUID"),
        modality=text("Modality"),
        series_number=integer_of(text("SeriesNumber")),
        series_date=date_of(text("SeriesDate")),
        series_time=time_of(text("SeriesTime")),
        series_description=text("SeriesDescription"),
        protocol_name=text("ProtocolName"),
        body_part_examined=text("BodyPartExamined"),
        manufacturer=text("Manufacturer"),
        manufacturer_model_name=text("ManufacturerModelName"),
        station_name=text("StationName"),
        institution_name=text("InstitutionName"),
    )


def _texts(tags: tuple[int, ...], raw: _Raw, encodings: tuple[str, ...]) -> _Text:
    of = dict(zip(tags, raw, strict=True))

    def text(keyword: str) -> str:
        value = of[_TAGS[keyword]]
        return "" if value is None else text_of(value, encodings)[:TEXT_LENGTH]

    return text


def _uid(text: _Text, keyword: str) -> str:
    value = text(keyword)
    if not is_uid(value):
        raise MissingIdentifier(keyword, value)
    return value


def _imaging_time(text: _Text) -> tuple[str, str]:
    """Date and time of the first there is of acquisition, content, series and study."""
    date, time = date_and_time_of(text("AcquisitionDateTime"))
    if is_date(date):
        return date, time
    for event in ("Acquisition", "Content", "Series", "Study"):
        date = date_of(text(f"{event}Date"))
        if is_date(date):
            return date, time_of(text(f"{event}Time"))
    return "", ""
