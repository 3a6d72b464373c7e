"""The images that are sent: real files under new UIDs, so that each is new to the service."""

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import generate_uid
from tests.dicom_files import wheel_file
from tests.gateways import dcmtk
from tests.synthetic import series

from medbus.gateways.dicom import part10

Encoded = tuple[bytes, str]
"""A data set as it was sent, and its transfer syntax."""

Make = Callable[[Path], Path]
"""Makes an image in a folder."""


def renewed(name: str) -> Make:
    """One of pydicom's files under new UIDs, in the transfer syntax that it has."""

    def make(folder: Path) -> Path:
        return renew(wheel_file(name), folder)

    return make


def unsigned(folder: Path) -> Path:
    """An image of unsigned pixels, little endian."""
    [file] = series(folder / "unsigned", 1)
    return file


def converted(original: Make, program: str, *options: str) -> Make:
    """An image that one of DCMTK's programs has converted."""

    def make(folder: Path) -> Path:
        file = folder / f"{program}.dcm"
        command = [dcmtk.tool(program), *options, str(original(folder)), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return file

    return make


def renew(path: Path, folder: Path) -> Path:
    """A copy of a file under new UIDs."""
    image = pydicom.dcmread(path)
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = (generate_uid() for _ in range(3))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    file = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(file, enforce_file_format=True)
    return file


def slices(folder: Path, count: int = 2) -> list[Path]:
    """Slices of one study of 512 KiB each: of many PDUs, whatever their size."""
    return series(folder, count, side=512)


def data_set(of: Path | Encoded) -> pydicom.FileDataset:
    """The data set of a file, or of what was sent."""
    if isinstance(of, Path):
        return pydicom.dcmread(of)
    data, syntax = of
    head = part10.preamble(sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax_uid=syntax)
    return pydicom.dcmread(BytesIO(head + data))


def uids(*files: Path) -> tuple[str, list[str]]:
    """The Study Instance UID of files of one study, and their SOP Instance UIDs."""
    read: list[Dataset] = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    [study] = {str(each.StudyInstanceUID) for each in read}
    return study, [str(each.SOPInstanceUID) for each in read]
