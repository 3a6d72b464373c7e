"""Real files for tests that send them and get them again."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.dicom_files import shared_files, shared_folder, wheel_files

from medbus.gateways.dicom.client import DicomFile, find_files
from medbus.gateways.dicom.client.files import open_file
from medbus.gateways.dicom.part10 import NotDicom

ALL = [
    pytest.param(wheel_files, id="wheel"),
    pytest.param(
        shared_files,
        id="shared",
        marks=pytest.mark.skipif(shared_folder() is None, reason="the folder of shared data is not there"),
    ),
]


def distinct(paths: Sequence[Path]) -> list[DicomFile]:
    """The files that can be opened; of those with the same SOP Instance UID, the first."""
    found: dict[str, DicomFile] = {}
    for path in paths:
        try:
            file = open_file(path)
        except NotDicom:
            continue
        if file.sop_instance_uid and file.study_instance_uid and file.size:
            found.setdefault(file.sop_instance_uid, file)
    return list(found.values())


def data_of(file: DicomFile) -> bytes:
    return b"".join(file.chunks())


def received(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Data set and transfer syntax by SOP Instance UID of the files that a program wrote."""
    return {file.sop_instance_uid: (data_of(file), file.transfer_syntax_uid) for file in find_files(folder)}
