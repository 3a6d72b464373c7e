"""Synthetic CT studies: a phantom of a chest with a scanner's noise; they compress as real ones do."""

from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from bench.slice import Slice, uid

SIZE = 512
PADDING = -2000
"""What the scanner writes where it does not image."""

NOISE_HU = 22.0
FIELDS = 8
"""So many noise fields are made; each slice has one of them, shifted and mirrored at random."""

Pixels = npt.NDArray[np.int16]
Field = npt.NDArray[np.float32]


SMALL = 16
"""Rows and columns of the images that only fill up."""


class Series:
    """Files of one CT series, from which any number of studies can be made.

    Args:
        folder: where they are written; it must be there.
        count: how many slices.
        seed: of all that is random: the same seed gives the same files.
    """

    def __init__(self, folder: Path, count: int, seed: int = 1) -> None:
        self.folder = folder
        self.count = count
        self.seed = seed

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files, written at the first call."""
        rng = np.random.default_rng(self.seed)
        noise = [noise_field(rng) for _ in range(FIELDS)]
        files = []
        for number in range(self.count):
            data_set = header(self._uids("series", number), number)
            data_set.PixelData = pixels(number / self.count, noise, rng).tobytes()
            buffer = BytesIO()
            pydicom.dcmwrite(buffer, data_set, enforce_file_format=True)
            files.append(self.folder / f"{number:05}.dcm")
            files[-1].write_bytes(buffer.getbuffer())
        return tuple(files)

    def study(self, token: str) -> list[Slice]:
        """A study of all slices; every token gives other UIDs."""
        return [
            Slice(file, self._uids("series", number), self._uids(token, number))
            for number, file in enumerate(self.files)
        ]

    def _uids(self, token: str, number: int) -> tuple[str, str, str]:
        return (
            uid(f"{self.seed}/{token}"),
            uid(f"{self.seed}/{token}/series"),
            uid(f"{self.seed}/{token}/{number}"),
        )


def small(folder: Path) -> Slice:
    """An image of few pixels with a header as all have it; of it, any number can be made.

    Args:
        folder: where its file is written; it must be there.
    """
    uids = (uid("small"), uid("small/series"), uid("small/image"))
    data_set = header(uids, 0)
    data_set.Rows = data_set.Columns = SMALL
    data_set.PixelData = np.arange(SMALL * SMALL, dtype="<i2").tobytes()
    file = folder / "small.dcm"
    pydicom.dcmwrite(file, data_set, enforce_file_format=True)
    return Slice(file, uids, uids)


def header(uids: tuple[str, str, str], number: int) -> FileDataset:
    """All attributes of a slice but its pixels, about 2 KB.

    Args:
        uids: study, series and SOP Instance UID.
        number: of the slice, from 0.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uids[2])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.SOPInstanceUID = uids
    slice_.SOPClassUID = CTImageStorage
    slice_.InstanceNumber = number + 1
    slice_.ImagePositionPatient = [-190.0, -190.0, -1.25 * number]
    slice_.SliceLocation = -1.25 * number
    # The tube current follows the body.
    slice_.XRayTubeCurrent = 180 + (number * 37) % 120
    slice_.Exposure = slice_.XRayTubeCurrent // 2
    for keyword, value in _COMMON.items():
        setattr(slice_, keyword, value)
    step = Dataset()
    step.ScheduledProcedureStepID = "STEP1"
    step.ScheduledProcedureStepDescription = "CT chest without contrast medium, low dose"
    step.RequestedProcedureID = "RP20260107"
    slice_.RequestAttributesSequence = [step]
    slice_.private_block(0x0019, "MEDBUS BENCH 01", create=True).add_new(
        0x10, "OB", bytes(range(256)) + bytes(256)
    )
    return slice_


_COMMON = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "StudyDate": "20260107",
    "SeriesDate": "20260107",
    "AcquisitionDate": "20260107",
    "ContentDate": "20260107",
    "StudyTime": "101500",
    "SeriesTime": "101733",
    "AcquisitionTime": "101734.512",
    "ContentTime": "101734.512",
    "AccessionNumber": "ACC0001",
    "Modality": "CT",
    "Manufacturer": "Synthetic",
    "InstitutionName": "A Hospital",
    "ReferringPhysicianName": "Referrer^Rita",
    "StationName": "CT1",
    "StudyDescription": "Chest",
    "SeriesDescription": "Chest 1.25 mm standard",
    "ManufacturerModelName": "Phantom 64",
    "PatientName": "Bench^Subject",
    "PatientID": "BENCH0001",
    "PatientBirthDate": "19610402",
    "PatientSex": "F",
    "PatientAge": "064Y",
    "PatientWeight": "71",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "HELICAL MODE",
    "SliceThickness": "1.25",
    "KVP": "120",
    "SpacingBetweenSlices": "1.25",
    "DataCollectionDiameter": "500",
    "SoftwareVersions": "1.0",
    "ProtocolName": "5.1 Chest low dose",
    "ReconstructionDiameter": "380",
    "DistanceSourceToDetector": "949.075",
    "DistanceSourceToPatient": "541",
    "GantryDetectorTilt": "0",
    "TableHeight": "148.5",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "FilterType": "BODY FILTER",
    "GeneratorPower": "36",
    "FocalSpots": "1.2",
    "ConvolutionKernel": "STANDARD",
    "PatientPosition": "FFS",
    "SpiralPitchFactor": 0.984375,
    "SingleCollimationWidth": 0.625,
    "TotalCollimationWidth": 40.0,
    "StudyID": "1",
    "SeriesNumber": 2,
    "AcquisitionNumber": 1,
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "FrameOfReferenceUID": uid("frame of reference"),
    "PositionReferenceIndicator": "SN",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": SIZE,
    "Columns": SIZE,
    "PixelSpacing": ["0.742188", "0.742188"],
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
    "PixelPaddingValue": PADDING,
    "WindowCenter": "40",
    "WindowWidth": "400",
    "RescaleIntercept": "0",
    "RescaleSlope": "1",
    "RescaleType": "HU",
}

_ROWS = np.linspace(-1, 1, SIZE, dtype=np.float32)[:, None]
_COLUMNS = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, :]
_OUTSIDE = _ROWS**2 + _COLUMNS**2 > 0.98


def noise_field(rng: np.random.Generator) -> Field:
    """Noise of standard deviation 1 with the spectrum of filtered back projection: a ramp that falls off."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * frequency * np.exp(-((frequency / 0.2) ** 2))
    noise: Field = np.fft.irfft2(spectrum, s=(SIZE, SIZE)).astype(np.float32)
    noise /= noise.std()
    return noise


def pixels(height: float, noise: Sequence[Field], rng: np.random.Generator) -> Pixels:
    """A slice of the phantom in HU, 512 x 512.

    Args:
        height: 0 at the neck, 1 at the diaphragm.
        noise: fields to choose from.
        rng: chooses.
    """
    width = 0.62 + 0.18 * np.sin(np.pi * min(1.0, height + 0.25))
    image = np.full((SIZE, SIZE), -1000, dtype=np.float32)
    _ellipse(image, -95, 0, 0.05, axes=(width, 0.55))  # fat
    _ellipse(image, 52, 0, 0.05, axes=(width - 0.06, 0.49))  # muscle
    bulge = np.sin(np.pi * height)
    for side in (-1, 1):
        _ellipse(image, -860, side * 0.36, 0.02, axes=(0.20 + 0.14 * bulge, 0.32 + 0.05 * bulge))  # lung
        for rib in range(5):
            angle = (rib + height * 2.5) % 5 * 0.55 - 1.1
            across, down = side * (width - 0.09) * np.cos(angle), 0.05 + 0.45 * np.sin(angle)
            _ellipse(image, 480, across, down, axes=(0.045, 0.025))
        for vessel in range(7):
            angle = vessel * 0.9 + height * 9
            _ellipse(
                image, 30, side * (0.34 + 0.12 * np.cos(angle)), 0.17 * np.sin(angle), axes=(0.016, 0.012)
            )
    _ellipse(image, 42, 0.06, -0.08, axes=(0.20 + 0.08 * height, 0.22))  # heart
    _ellipse(image, 230, 0.03, 0.33, axes=(0.11, 0.09))  # vertebra
    _ellipse(image, 20, 0.03, 0.41, axes=(0.04, 0.035))  # its canal
    _ellipse(image, -350, 0, 0.86, axes=(0.70, 0.03))  # table
    chosen = noise[int(rng.integers(len(noise)))]
    field = np.roll(chosen, tuple(rng.integers(SIZE, size=2)), axis=(0, 1))[:: int(rng.choice((-1, 1)))]
    image += NOISE_HU * field
    image[_OUTSIDE] = PADDING
    return np.rint(image).astype("<i2")


def _ellipse(image: Field, value: float, across: float, down: float, *, axes: tuple[float, float]) -> None:
    """Fill an ellipse: centre and half axes (across, down) in units of half the image."""
    width, depth = axes
    half = SIZE / 2
    rows = slice(max(0, int((down - depth + 1) * half)), int((down + depth + 1) * half) + 2)
    columns = slice(max(0, int((across - width + 1) * half)), int((across + width + 1) * half) + 2)
    distance = ((_COLUMNS[:, columns] - across) / width) ** 2 + ((_ROWS[rows] - down) / depth) ** 2
    image[rows, columns][distance < 1] = value
