"""Where pixels lie in the patient: planes, stacks of them, and what is irregular about a stack."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.dicom.elements import Vector

Affine = NDArray[np.float64]
"""(4, 4): voxel index (slice, row, column, 1) to mm in the patient (x, y, z, 1), PS3.3 C.7.6.2.1.1."""

EVEN = 0.03
"""Spacing may differ by this part of the median and still counts as even: positions are rounded in
headers."""
SAME_DIRECTION = 0.002
"""Direction cosines may differ by this, 0.1 degrees, and still say the same orientation."""
SHIFTED = 0.5
"""Pixels by which a slice may lie beside those before it without a word."""


class Irregularity(StrEnum):
    """What a finding is about."""

    DUPLICATE = "duplicate"
    GAP = "gap"
    UNEVEN = "uneven spacing"
    TILT = "gantry tilt"
    SHIFT = "shift"
    POSITION = "no position"
    SPACING = "no pixel spacing"
    SPLIT = "several stacks"
    RESAMPLED = "resampled"


class Finding(NamedTuple):
    """Something about a stack that its user has to know.

    Attributes:
        kind: what it is about.
        text: in English, with the values.
    """

    kind: Irregularity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The plane of a frame (PS3.3 C.7.6.2).

    Attributes:
        position: mm, centre of the first pixel.
        row: direction in which column numbers grow, of length 1.
        column: direction in which row numbers grow, of length 1, at a right angle to `row`.
        spacing: mm between rows and between columns.
        thickness: mm; None if nobody said.
    """

    position: Vector
    row: Vector
    column: Vector
    spacing: tuple[float, float]
    thickness: float | None = None

    @property
    def normal(self) -> NDArray[np.float64]:
        """row x column: away from who looks at the image."""
        return np.cross(self.row, self.column)

    def depth(self) -> float:
        """mm along the normal."""
        return float(np.dot(self.position, self.normal))


class FrameReference(NamedTuple):
    """A frame of an object.

    Attributes:
        sop_class_uid: of the object.
        sop_instance_uid: of the object.
        frame: from 1; None if the object has a single frame.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None = None


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class StackGeometry:
    """Where a stack lies, and what it was made of.

    Attributes:
        affine: voxel index (slice, row, column, 1) to mm in the patient. Where nobody knows the position, the
            first pixel is at 0 and the axes are x along rows, y down, z across the slices.
        patient: whether positions are those in the patient.
        frame_of_reference: its UID; empty if there is none.
        sources: for each slice the frames it was made of.
        planes: for each slice where it really lies; empty if positions are not known.
    """

    affine: Affine
    patient: bool
    frame_of_reference: str = ""
    sources: tuple[tuple[FrameReference, ...], ...]
    planes: tuple[Plane, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm between slices (along the normal), rows and columns."""
        step, down, along = self.affine[:3, 0], self.affine[:3, 1], self.affine[:3, 2]
        normal = np.cross(along, down)
        length = float(np.linalg.norm(normal))
        return (
            abs(float(np.dot(step, normal))) / length,
            float(np.linalg.norm(down)),
            float(np.linalg.norm(along)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the slices of a stack lie to one another.

    Attributes:
        depths: mm along the normal from the first slice, growing.
        rows: pixels that each slice lies down from the first one, in its own plane.
        columns: pixels that it lies to the right.
        spacing: mm between rows and between columns.
        typical: the median of the spacing in mm; 0 for a single slice.
    """

    depths: tuple[float, ...]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    spacing: tuple[float, float]
    typical: float

    @property
    def shifted(self) -> bool:
        """Whether slices lie beside one another, as those of a tilted gantry do."""
        return any(abs(each) > SHIFTED for each in (*self.rows, *self.columns))

    @property
    def even(self) -> bool:
        """Whether the spacing is the same everywhere."""
        return all(abs(each - self.typical) <= EVEN * self.typical for each in np.diff(self.depths))


def spread(planes: Sequence[Plane]) -> Spread:
    """Measure a stack.

    Args:
        planes: of one orientation, in the order of their depth.
    """
    first = planes[0]
    away = np.array([np.subtract(each.position, first.position) for each in planes])
    depths = away @ first.normal
    return Spread(
        depths=tuple(map(float, depths)),
        rows=tuple(map(float, away @ np.array(first.column) / first.spacing[0])),
        columns=tuple(map(float, away @ np.array(first.row) / first.spacing[1])),
        spacing=first.spacing,
        typical=float(np.median(np.diff(depths))) if len(planes) > 1 else 0.0,
    )


def affine_of(planes: Sequence[Plane]) -> Affine:
    """The affine of a stack: the step from slice to slice is the mean one from the first to the last slice.

    A single slice is as far from the next one as it is thick, or 1 mm.

    Args:
        planes: of one orientation, in the order of their depth.
    """
    first, last = planes[0], planes[-1]
    if len(planes) > 1:
        step = np.subtract(last.position, first.position) / (len(planes) - 1)
    else:
        step = first.normal * (first.thickness or 1.0)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = np.multiply(first.column, first.spacing[0])
    affine[:3, 2] = np.multiply(first.row, first.spacing[1])
    affine[:3, 3] = first.position
    return affine


def irregularities(measured: Spread) -> tuple[Finding, ...]:
    """What keeps the slices of a stack from lying on a regular grid; none if they do."""
    found: list[Finding] = []
    steps = np.diff(measured.depths)
    if not measured.even:
        wholes = np.rint(steps / measured.typical)
        gaps = np.abs(steps - wholes * measured.typical) <= EVEN * measured.typical * wholes
        if gaps.all():
            found.extend(_gap(measured, int(number)) for number in np.flatnonzero(wholes > 1))
        else:
            found.append(
                Finding(
                    Irregularity.UNEVEN,
                    f"Slices are {steps.min():.3f} to {steps.max():.3f} mm apart, "
                    f"{measured.typical:.3f} mm in the median.",
                )
            )
    if measured.shifted:
        found.append(_shift(measured))
    return tuple(found)


def _gap(measured: Spread, number: int) -> Finding:
    before, after = measured.depths[number], measured.depths[number + 1]
    missing = round((after - before) / measured.typical) - 1
    slices = "1 slice is" if missing == 1 else f"{missing} slices are"
    return Finding(
        Irregularity.GAP,
        f"{slices} missing between slices {number + 1} and {number + 2}, which are {after - before:.3f} mm "
        f"apart; others are {measured.typical:.3f} mm apart.",
    )


def _shift(measured: Spread) -> Finding:
    depths = np.array(measured.depths)
    beside = np.array((measured.rows, measured.columns))
    slope = beside @ depths / (depths @ depths)
    if np.abs(beside - slope[:, np.newaxis] * depths).max() > SHIFTED:
        return Finding(
            Irregularity.SHIFT,
            f"Slices lie beside one another, by up to {np.abs(beside[0]).max():.1f} rows and "
            f"{np.abs(beside[1]).max():.1f} columns, and not along a line.",
        )
    down, along = slope * measured.spacing
    return Finding(
        Irregularity.TILT,
        f"The stack leans {math.degrees(math.atan(math.hypot(down, along))):.2f} degrees: slices lie "
        f"{down:+.4f} mm down and {along:+.4f} mm along the rows for each mm between them.",
    )
