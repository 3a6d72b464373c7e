"""Functional groups of a result (PS3.3 C.7.6.16)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType

from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import item
from medbus.streams.processing.dicom.geometry import Plane
from medbus.streams.processing.dicom.quantisation import ds

FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")
_PER_RESULT = (
    "DerivationImageSequence",
    "FrameVOILUTSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "PlaneOrientationSequence",
    "PlanePositionSequence",
    "RealWorldValueMappingSequence",
)
"""What a result has of its own, or not at all."""

CONTRAST: Mapping[str, str] = MappingProxyType(
    {
        "mip": "MAXIMUM",
        "minip": "MINIMUM",
        "mean-projection": "MEAN",
        "add": "ADDITION",
        "subtract": "SUBTRACTION",
    }
)
"""Derived Pixel Contrast (PS3.3 C.8.16.1.4) by operation; others are filtered."""
TECHNIQUE: Mapping[str, str] = MappingProxyType({"mip": "MAX_IP", "minip": "MIN_IP", "mpr": "MPR"})
"""Volume Based Calculation Technique (PS3.3 C.8.16.2.1.3) by operation; others have none."""


def directions(plane: Plane) -> list[str]:
    """Image Orientation (Patient)."""
    return [f"{each:.10f}" for each in (*plane.row, *plane.column)]


def lengths(values: Sequence[float]) -> list[str]:
    """mm."""
    return [ds(float(f"{each:.9g}")) for each in values]


def position(plane: Plane) -> list[str]:
    """Image Position (Patient)."""
    return [f"{each:.6f}" for each in plane.position]


def of(**elements: object) -> Dataset:
    """A data set with these elements."""
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def shared_group(
    source: Dataset | None, planes: Sequence[Plane], spacing: tuple[float, float, float]
) -> Dataset:
    """What holds for all frames: the source's groups with the result's pixel measures and orientation.

    Args:
        source: the object with the groups to keep; None for none.
        planes: of the frames; empty if unknown.
        spacing: mm between slices, rows and columns.
    """
    kept = None if source is None else item(source, "SharedFunctionalGroupsSequence")
    group = _cleaned(kept)
    measures = of(PixelSpacing=lengths(spacing[1:]))
    if planes:
        thickness = planes[0].thickness or spacing[0]
        measures.SliceThickness = lengths([thickness])
        if len(planes) > 1:
            measures.SpacingBetweenSlices = lengths(spacing[:1])
        group.PlaneOrientationSequence = [of(ImageOrientationPatient=directions(planes[0]))]
    group.PixelMeasuresSequence = [measures]
    return group


def frame_group(source: Dataset | None, frame: int | None, plane: Plane | None, number: int) -> Dataset:
    """What holds for one frame.

    Args:
        source: the object whose frame's groups are kept; None for none.
        frame: of the source, from 0.
        plane: of the frame; None if unknown.
        number: from 1.
    """
    kept = None
    if source is not None and frame is not None:
        kept = item(source, "PerFrameFunctionalGroupsSequence", frame)
    group = _cleaned(kept)
    content = item(group, "FrameContentSequence") or Dataset()
    content.StackID = "1"
    content.InStackPositionNumber = number
    content.DimensionIndexValues = [1, number]
    group.FrameContentSequence = [content]
    if plane is not None:
        group.PlanePositionSequence = [of(ImagePositionPatient=position(plane))]
    return group


def dimensions(dataset: Dataset, uid: str) -> None:
    """Index frames by stack and position in it (PS3.3 C.7.6.17)."""
    dataset.DimensionOrganizationSequence = [of(DimensionOrganizationUID=uid)]
    dataset.DimensionIndexSequence = [
        of(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x00209111,
        )
        for pointer in (0x00209056, 0x00209057)
    ]
    for keyword in ("DimensionOrganizationType", "ConcatenationUID", "InConcatenationNumber"):
        if keyword in dataset:
            delattr(dataset, keyword)


def _cleaned(group: Dataset | None) -> Dataset:
    made = Dataset() if group is None else deepcopy(group)
    for keyword in _PER_RESULT:
        if keyword in made:
            delattr(made, keyword)
    for tag in [each for each in made.keys() if each.is_private]:  # noqa: SIM118
        del made[tag]
    return made
