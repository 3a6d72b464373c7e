"""Reading the plane and the pixel spacing of a frame from its object."""

import math
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import Vector, items, macro, number, numbers, value_of, vector
from medbus.streams.processing.dicom.geometry import Plane

RIGHT_ANGLE = 0.001
"""The greatest product of row and column direction that still is a right angle, as headers round."""


class PixelSpacing(NamedTuple):
    """Distances of pixels.

    Attributes:
        rows: mm between rows.
        columns: mm between columns.
        said: where they come from; empty if nobody said, and they are 1.
        patient: whether they are in the patient, not on a detector or in a scan of a film.
    """

    rows: float
    columns: float
    said: str
    patient: bool


def pixel_spacing(dataset: Dataset, frame: int) -> PixelSpacing:
    """mm between the pixels of a frame.

    Args:
        dataset: the object.
        frame: from 0.
    """
    measures = macro(dataset, frame, "PixelMeasuresSequence")
    places = [(measures, "PixelSpacing", True)] if measures is not None else []
    places += [
        (dataset, "PixelSpacing", True),
        (dataset, "ImagerPixelSpacing", False),
        (dataset, "NominalScannedPixelSpacing", False),
    ]
    for place, keyword, patient in places:
        spacing = numbers(place, keyword, 2)
        if spacing is not None and min(spacing) > 0:
            return PixelSpacing(spacing[0], spacing[1], keyword, patient)
    if (region := _ultrasound_spacing(dataset)) is not None:
        return PixelSpacing(*region, "SequenceOfUltrasoundRegions", patient=True)
    aspect = numbers(dataset, "PixelAspectRatio", 2)
    if aspect is not None and min(aspect) > 0:
        return PixelSpacing(aspect[0] / aspect[1], 1.0, "", False)
    return PixelSpacing(1.0, 1.0, "", False)


def _ultrasound_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Of an image with one region in centimetres (PS3.3 C.8.5.5)."""
    regions = items(dataset, "SequenceOfUltrasoundRegions")
    if len(regions) != 1:
        return None
    (region,) = regions
    down, along = number(region, "PhysicalDeltaY"), number(region, "PhysicalDeltaX")
    centimetres = all(
        number(region, keyword) == 3 for keyword in ("PhysicalUnitsXDirection", "PhysicalUnitsYDirection")
    )
    if not centimetres or not down or not along:
        return None
    return abs(down) * 10, abs(along) * 10


def plane_of(dataset: Dataset, frame: int) -> Plane | None:
    """Where a frame lies in the patient; None if its object does not say so in a way that can be used.

    From the functional groups of an enhanced object; from the data set of one with a single frame; for
    nuclear medicine from the first detector and the number of the slice (PS3.3 C.8.4.8, C.8.4.15). An
    ultrasound or X-ray image has no plane.

    Args:
        dataset: the object.
        frame: from 0.
    """
    spacing = pixel_spacing(dataset, frame)
    if not spacing.said:
        return None
    measures = macro(dataset, frame, "PixelMeasuresSequence")
    thickness = number(dataset if measures is None else measures, "SliceThickness") or None
    position, orientation = _position(dataset, frame)
    if position is None or orientation is None:
        return None
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if any(abs(length - 1) > 0.01 for length in lengths):
        return None
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > RIGHT_ANGLE:
        return None
    column = column - row * (row @ column)  # the little that rounding left
    column /= np.linalg.norm(column)
    return Plane(
        position=position,
        row=(float(row[0]), float(row[1]), float(row[2])),
        column=(float(column[0]), float(column[1]), float(column[2])),
        spacing=(spacing.rows, spacing.columns),
        thickness=None if thickness is None or thickness <= 0 else thickness,
    )


def _position(dataset: Dataset, frame: int) -> tuple[Vector | None, list[float] | None]:
    position = macro(dataset, frame, "PlanePositionSequence")
    orientation = macro(dataset, frame, "PlaneOrientationSequence")
    if position is not None and orientation is not None:
        return vector(position, "ImagePositionPatient"), numbers(orientation, "ImageOrientationPatient", 6)
    if (number(dataset, "NumberOfFrames") or 1) == 1:
        return vector(dataset, "ImagePositionPatient"), numbers(dataset, "ImageOrientationPatient", 6)
    return _nuclear_position(dataset, frame)


def _nuclear_position(dataset: Dataset, frame: int) -> tuple[Vector | None, list[float] | None]:
    detectors, between = (
        items(dataset, "DetectorInformationSequence"),
        number(dataset, "SpacingBetweenSlices"),
    )
    slices = _whole_numbers(dataset, "SliceVector")
    if not detectors or not between or frame >= len(slices):
        return None, None
    first, orientation = (
        vector(detectors[0], "ImagePositionPatient"),
        numbers(detectors[0], "ImageOrientationPatient", 6),
    )
    if first is None or orientation is None:
        return None, None
    normal = np.cross(orientation[:3], orientation[3:])
    x, y, z = np.array(first) + normal * between * (slices[frame] - 1)
    return (float(x), float(y), float(z)), orientation


def _whole_numbers(dataset: Dataset, keyword: str) -> list[int]:
    value = value_of(dataset, keyword)
    if isinstance(value, int):
        return [value]
    return [] if value is None else [int(each) for each in value]  # type: ignore[attr-defined]


def slice_spacing(dataset: Dataset, frame: int) -> float | None:
    """mm between frames that have no position: Spacing Between Slices, else the thickness; None if nobody
    said."""
    measures = macro(dataset, frame, "PixelMeasuresSequence")
    place = dataset if measures is None else measures
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = number(place, keyword)
        if value is not None and math.isfinite(value) and value:
            return abs(value)
    return None
