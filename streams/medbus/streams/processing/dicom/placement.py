"""Where the slices of a result lie, and which frames each of them was made of."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from medbus.streams.processing.dicom.errors import UnusableGeometry
from medbus.streams.processing.dicom.geometry import Affine, FrameReference, Plane, StackGeometry
from medbus.streams.processing.dicom.planes import RIGHT_ANGLE
from medbus.streams.processing.pixels.operation import Result, Shape

UP = math.sqrt(0.5)
"""Columns of pixels that point to the head by more than 45 degrees are turned over: the head is up."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Placement:
    """Where a result lies.

    Attributes:
        kept: whether slice, row and column are those of the stack that was processed.
        flipped: whether the rows of the result are written from the last to the first.
        planes: of the slices as they are written; empty if nobody knows the position in the patient.
        spacing: mm between slices, rows and columns.
        sources: for each slice the frames it was made of.
    """

    kept: bool
    flipped: bool
    planes: tuple[Plane, ...]
    spacing: tuple[float, float, float]
    sources: tuple[tuple[FrameReference, ...], ...]


def placed(
    geometry: StackGeometry,
    result: Result,
    shape: Shape,
    *,
    thickness: float | None = None,
    slab: bool = True,
    reach: int | None = None,
) -> Placement:
    """Place a result.

    Where the grid stays, slices have the planes of their sources, however uneven they are. Otherwise the
    affine says where they are, and planes whose columns run from the feet to the head are turned over, so
    that viewers show the head up.

    Frame by frame, a slice comes from one slice; a volume filter sees those within its reach; a projection or
    a reformatted plane comes from the slices that its slab, or plane, crosses.

    Args:
        geometry: of the stack that was processed.
        result: what came of it.
        shape: what the operation saw at once.
        thickness: of a slab in mm; None if slabs are as thick as they are apart.
        slab: whether slices are made of slabs, not of single planes.
        reach: slices on either side that a volume filter sees; None for all.

    Raises:
        UnusableGeometry: rows and columns of the result are not at right angles, so DICOM can't say where it
            is.
    """
    slices = result.stack.shape[0]
    if slices == len(geometry.sources) and np.allclose(result.affine, np.eye(4), atol=1e-9):
        return Placement(
            kept=True,
            flipped=False,
            planes=geometry.planes,
            spacing=geometry.spacing,
            sources=_seen(geometry, reach) if shape is Shape.VOLUME else geometry.sources,
        )
    affine: Affine = geometry.affine @ result.affine
    step, down, along = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    spacing = float(np.linalg.norm(down)), float(np.linalg.norm(along))
    column, row = down / spacing[0], along / spacing[1]
    if abs(float(row @ column)) > RIGHT_ANGLE:
        angle = math.degrees(math.acos(float(row @ column)))
        raise UnusableGeometry(
            f"Rows and columns of the result are {angle:.1f} degrees apart, as the slices of the stack "
            "lie beside one another.",
            "Ask for the stack to be resampled first.",
        )
    column = column - row * (row @ column)  # the little that rounding left
    column /= np.linalg.norm(column)
    between = abs(float(step @ np.cross(row, column))) or float(np.linalg.norm(step)) or 1.0
    thick = between if thickness is None else thickness
    flipped = geometry.patient and float(column[2]) > UP
    first_row = result.stack.shape[1] - 1 if flipped else 0
    planes = []
    for index in range(slices if geometry.patient else 0):
        x, y, z = (affine @ (index, first_row, 0, 1))[:3]
        planes.append(
            Plane(
                position=(float(x), float(y), float(z)),
                row=(float(row[0]), float(row[1]), float(row[2])),
                column=tuple(float(each) for each in (-column if flipped else column)),  # type: ignore[arg-type]
                spacing=spacing,
                thickness=thick,
            )
        )
    half = thick / between / 2 if slab else 0.0
    return Placement(
        kept=False,
        flipped=flipped,
        planes=tuple(planes),
        spacing=(between, *spacing),
        sources=tuple(_crossed(geometry, result, index, half) for index in range(slices)),
    )


def _seen(geometry: StackGeometry, reach: int | None) -> tuple[tuple[FrameReference, ...], ...]:
    """For each slice the frames of those around it."""
    slices = geometry.sources
    if reach is None or reach >= len(slices):
        reach = len(slices)
    around = [slices[max(0, index - reach) : index + reach + 1] for index in range(len(slices))]
    return tuple(tuple(dict.fromkeys(frame for frames in each for frame in frames)) for each in around)


def _crossed(geometry: StackGeometry, result: Result, index: int, half: float) -> tuple[FrameReference, ...]:
    """The frames of the slices that a plane, or a slab of this half thickness in planes, crosses."""
    _, rows, columns = result.stack.shape
    least, greatest = math.inf, -math.inf
    for row, column in product((0, rows - 1), (0, columns - 1)):
        for depth, inwards in ((index, False), (index - half, True), (index + half, True)):
            at = float((result.affine @ (depth, row, column, 1))[0])
            # A slab has the slices in it, a plane those on both sides, between which it was interpolated.
            below, above = (
                (math.ceil(at - 1e-6), math.floor(at + 1e-6))
                if inwards
                else (
                    math.floor(at + 1e-6),
                    math.ceil(at - 1e-6),
                )
            )
            least, greatest = min(least, below), max(greatest, above)
    last = len(geometry.sources) - 1
    first = int(min(max(least, 0), last))
    crossed = geometry.sources[first : int(min(max(greatest, 0), last)) + 1]
    return tuple(dict.fromkeys(each for sources in crossed for each in sources))
