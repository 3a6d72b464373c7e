"""Images that tests of the DICOM side of processing make themselves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from tests.synthetic import ct

from medbus.streams.processing.dicom.derived import NewSeries, derive
from medbus.streams.processing.dicom.filling import Volume, fill
from medbus.streams.processing.dicom.pixels import Colour
from medbus.streams.processing.dicom.series import arrange
from medbus.streams.processing.pixels.operation import Operation, Result, settings

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def image(pixels: Any, **changes: object) -> Dataset:
    """A CT image with these pixels, (rows, columns) or (frames, rows, columns), in their own type."""
    values = np.asarray(pixels)
    if values.dtype == np.int64:
        values = values.astype(np.uint16)
    bits = values.dtype.itemsize * 8
    made = ct(
        Rows=values.shape[-2],
        Columns=values.shape[-1],
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(values.dtype.kind == "i"),
    )
    made.add_new("PixelData", "OB" if bits == 8 else "OW", values.tobytes() + b"\0" * (values.nbytes % 2))
    if values.ndim == 3:
        made.NumberOfFrames = len(values)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    return made


def colour(pixels: Any, **changes: object) -> Dataset:
    """An ultrasound image with these colours, (rows, columns, 3) bytes."""
    values = np.asarray(pixels, np.uint8)
    made = image(
        values[..., 0], Modality="US", SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.6.1"), ImageType=["ORIGINAL"]
    )
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


def stacked(
    slices: Any,
    *,
    positions: Any = None,
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.5, 0.5),
    **changes: Any,
) -> list[Dataset]:
    """A CT series, slice by slice; without positions slices are 2 mm apart along z."""
    values = np.asarray(slices)
    places = [(0.0, 0.0, 2.0 * index) for index in range(len(values))] if positions is None else positions
    common: dict[str, object] = {
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PositionReferenceIndicator": "",
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
        "SliceThickness": "2",
        **changes,
    }
    return [
        image(
            pixels,
            ImagePositionPatient=[f"{each:.6f}" for each in place],
            ImageOrientationPatient=[f"{each:.10f}" for each in orientation],
            PixelSpacing=[str(each) for each in spacing],
            InstanceNumber=number,
            **common,
        )
        for number, (pixels, place) in enumerate(zip(values, places, strict=True), start=1)
    ]


def volume(objects: Sequence[Dataset], *, colour: Colour = Colour.REFUSE, resample: bool = False) -> Volume:
    """The only stack of these objects, decoded."""
    (arrangement,) = arrange(objects)
    return fill(arrangement, objects.__getitem__, colour=colour, resample=resample)


def new_series(**changes: Any) -> NewSeries:
    """What a caller says about results."""
    said: dict[str, Any] = {
        "uid": "2.25.1",
        "instance": lambda number: f"2.25.1.{number}",
        "dimension": "2.25.2",
        "number": 900,
        "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "version": "0.1.0",
    }
    return NewSeries(**{**said, **changes})


def processed(
    operation: Operation,
    objects: Sequence[Dataset],
    given: Mapping[str, str] | None = None,
    *,
    mask: Sequence[Dataset] | None = None,
    colour: Colour = Colour.REFUSE,
    resample: bool = False,
) -> tuple[list[Result], list[Dataset]]:
    """Process the only stack of these objects: the results, and the objects they became."""
    source = volume(objects, colour=colour, resample=resample)
    others = [] if mask is None else [volume(mask)]
    read = settings(operation, given or {})
    results = [operation.run([each, *(other.stack for other in others)], read) for each in source.stacks]
    made = derive(
        results, operation, read, volume=source, headers=objects, others=others, series=new_series()
    )
    return results, list(made)


def values_of(made: Dataset) -> NDArray[Any]:
    """Modality values as a reader computes them: stored * slope + intercept."""
    return np.asarray(
        made.pixel_array * float(made.get("RescaleSlope", 1)) + float(made.get("RescaleIntercept", 0))
    )
