"""Small DICOM images that tests make themselves."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid


def ct(**changes: object) -> Dataset:
    """A CT image of 4 x 4 pixels, 16 bits unsigned, of DOE^JANE, with UIDs of its own; changes by keyword."""
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = generate_uid()
    image.StudyDate = "20240229"
    image.StudyTime = "101500"
    image.AccessionNumber = ""
    image.Modality = "CT"
    image.PatientName = "DOE^JANE"
    image.PatientID = "4711"
    image.StudyInstanceUID = generate_uid()
    image.SeriesInstanceUID = generate_uid()
    image.InstanceNumber = 1
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = image.Columns = 4
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    image.PixelData = np.arange(16, dtype="<u2").tobytes()
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    return image


def write(image: Dataset, folder: Path, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Path:
    """Write an image as a Part 10 file named by its UID."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, count: int, side: int = 128, **changes: object) -> list[Path]:
    """Write a series of noisy images of `side` x `side` pixels, each unlike the others."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(count)
    common = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), **changes}
    return [
        write(
            ct(
                InstanceNumber=number,
                Rows=side,
                Columns=side,
                PixelData=random.integers(0, 4096, (side, side), dtype="<u2").tobytes(),
                **common,
            ),
            folder,
        )
        for number in range(1, count + 1)
    ]
