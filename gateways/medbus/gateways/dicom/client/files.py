"""DICOM files on a disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medbus.gateways.dicom import part10
from medbus.gateways.dicom.dataset import HeadScanner, UnreadableDataSet
from medbus.gateways.dicom.part10 import DicomdirRefused, NotDicom
from medbus.schemas.errors import MedbusError

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomFile:
    """A file with a data set.

    Attributes:
        path: where it is.
        offset: where its data set begins, in bytes.
        size: bytes of the data set.
        sop_class_uid, sop_instance_uid, transfer_syntax_uid: what it is sent as.
        study_instance_uid, series_instance_uid, patient_id, modality: empty where they can't be read.
    """

    path: Path
    offset: int
    size: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    patient_id: str = ""
    modality: str = ""

    def chunks(self) -> Iterator[bytes]:
        """The data set, exactly as it stands in the file."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while chunk := file.read(_CHUNK):
                yield chunk


def find_files(*paths: Path) -> list[DicomFile]:
    """The DICOM files among files and in folders, in the order of their paths.

    Whatever else is in a folder is passed over, DICOMDIRs too; a file that is named must be one.

    Raises:
        MedbusError: a path does not exist.
        NotDicom: a named file is no DICOM file.
    """
    found: list[DicomFile] = []
    for path in paths:
        if path.is_dir():
            for each in sorted(path.rglob("*")):
                if each.is_file() and (file := _file_or_none(each)) is not None:
                    found.append(file)
        elif path.is_file():
            found.append(open_file(path))
        else:
            raise MedbusError(f"There is no file or folder {path}.", "Check the path.")
    return found


def open_file(path: Path) -> DicomFile:
    """What a file holds.

    Raises:
        NotDicom: it is no DICOM file, or says nowhere what it is.
    """
    with path.open("rb") as file:
        meta = part10.read_meta(file)
        scanner = HeadScanner(meta.transfer_syntax_uid)
        head = None
        try:
            while chunk := file.read(_CHUNK):
                scanner.feed(chunk)
                if scanner.pixels_reached:
                    break
            head = scanner.so_far()
        except UnreadableDataSet as error:
            # The recipient will say so too; but it is the recipient's to refuse.
            if not meta.media_storage_sop_class_uid or not meta.media_storage_sop_instance_uid:
                raise NotDicom(f"{path}: {error.message}") from error
    size = path.stat().st_size - meta.offset
    if head is None:
        return DicomFile(
            path=path,
            offset=meta.offset,
            size=size,
            sop_class_uid=meta.media_storage_sop_class_uid,
            sop_instance_uid=meta.media_storage_sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
        )
    return DicomFile(
        path=path,
        offset=meta.offset,
        size=size,
        sop_class_uid=head.instance.sop_class_uid,
        sop_instance_uid=head.instance.sop_instance_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        study_instance_uid=head.study.study_instance_uid,
        series_instance_uid=head.series.series_instance_uid,
        patient_id=head.patient.patient_id,
        modality=head.series.modality,
    )


def _file_or_none(path: Path) -> DicomFile | None:
    try:
        return open_file(path)
    except (NotDicom, DicomdirRefused, OSError):
        return None
