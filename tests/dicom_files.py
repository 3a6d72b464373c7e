"""Real DICOM files to test with: those that pydicom brings along, and a shared folder where there is one."""

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydicom.data import data_manager
from pydicom.filereader import read_file_meta_info

_NO_IMAGES = {".txt", ".dump", ".json", ".gz", ".icc"}


class Part10(NamedTuple):
    """A DICOM file, taken apart by pydicom."""

    transfer_syntax_uid: str
    data_set: bytes


def wheel_files() -> list[Path]:
    """The DICOM files inside the pydicom package, DICOMDIRs apart. Nothing is downloaded."""
    return sorted(
        path
        for path in Path(data_manager.DATA_ROOT, "test_files").rglob("*")
        if path.is_file()
        and path.suffix not in _NO_IMAGES
        and not path.name.startswith(("DICOMDIR", "README"))
    )


def charset_files() -> list[Path]:
    """The files inside the pydicom package whose texts are in many character sets."""
    return sorted(Path(data_manager.DATA_ROOT, "charset_files").glob("*.dcm"))


def shared_folder() -> Path | None:
    """The folder of real files: `MEDBUS_TEST_DATA`, else `shared/data` beside the repository."""
    named = os.environ.get("MEDBUS_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def shared_files() -> list[Path]:
    """The DICOM files of the shared folder; empty where there is none, so that tests of them skip."""
    folder = shared_folder()
    return [] if folder is None else sorted(folder.rglob("*.dcm"))


@cache
def wheel_file(name: str) -> Path:
    """One of the files inside the pydicom package."""
    return next(path for path in [*wheel_files(), *charset_files()] if path.name == name)


def part10(path: Path) -> Part10:
    """Transfer syntax and data set of a file that has file meta information, exactly as they stand there."""
    meta = read_file_meta_info(path)
    contents = path.read_bytes()
    group_2 = 132 + 12 + meta.FileMetaInformationGroupLength
    return Part10(str(meta.TransferSyntaxUID), contents[group_2:])
