"""Planes laid through a stack: their directions, their size, and where they lie in it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Affine
from medbus.streams.processing.pixels.parameter import Vector
from medbus.streams.processing.pixels.stack import Stack

MOST_PIXELS = 2**31
"""Of the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """Planes through a stack.

    Attributes:
        shape: planes, rows and columns.
        spacing: mm between them.
        affine: index of the output to index of the stack.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: Affine


def planes(
    stack: Stack,
    *,
    row: Vector,
    column: Vector,
    point: Vector | None = None,
    spacing: float | None = None,
    step: float | None = None,
    count: int | None = None,
    backwards: bool = False,
) -> Planes:
    """Lay planes through a stack; each is as large as the whole stack needs, its middle in the stack's.

    Coordinates are those of the stack: x along a row, y down the rows, z across the slices, in mm from the
    centre of the first pixel of the first slice.

    Args:
        stack: through which.
        row: direction of a row of the planes (column numbers grow along it); any length.
        column: direction of a column, at a right angle to `row`; any length.
        point: on the middle one of the planes; the middle of the stack if None.
        spacing: of the pixels of a plane in mm; the least spacing of the stack if None.
        step: from plane to plane in mm, along row x column; `spacing` if None.
        count: planes; if None, one through the point, or all that the stack has room for if there is no
            point.
        backwards: from plane to plane against row x column.

    Raises:
        InvalidParameter: the directions have no length or no right angle, or there would be too many pixels.
    """
    pixel = min(stack.spacing) if spacing is None else spacing
    apart = pixel if step is None else step
    unit = directions(row, column)
    if backwards:
        unit[0] *= -1
    size = np.array(stack.shape) * stack.spacing
    room = [max(1, math.floor(float(np.abs(each) @ size) / pixel + 0.5)) for each in unit[1:]]
    middle = (np.array(stack.shape) - 1) / 2 * stack.spacing
    if count is None:
        through = max(1, math.floor(float(np.abs(unit[0]) @ size) / apart + 0.5))
        count = through if point is None else 1
    shape = count, room[0], room[1]
    if math.prod(shape) > MOST_PIXELS:
        raise InvalidParameter(
            f"{shape[0]} planes of {shape[1]} x {shape[2]} pixels are too many.",
            "Choose a greater spacing or step, or fewer planes.",
        )
    if point is not None:
        # The planes go through the point, but within them the middle of the stack stays in the middle.
        beside = np.array(point[::-1]) - middle
        middle = middle + unit[0] * float(unit[0] @ beside)
    steps = unit * np.array([apart, pixel, pixel])[:, np.newaxis]
    first = middle - (np.array(shape) - 1) / 2 @ steps
    affine = np.eye(4)
    affine[:3, :3] = (steps / stack.spacing).T
    affine[:3, 3] = first / stack.spacing
    # An index that is whole but for rounding is whole: pixels that coincide keep their value.
    near = np.round(affine * 2) / 2
    affine = np.where(np.abs(affine - near) < 1e-9, near, affine)
    return Planes(shape=shape, spacing=(apart, pixel, pixel), affine=affine)


def directions(row: Vector, column: Vector) -> NDArray[np.float64]:
    """Unit vectors across the planes, down a column and along a row, each as (z, y, x).

    Raises:
        InvalidParameter: the directions have no length or no right angle.
    """
    along, down = (np.array(each, np.float64) for each in (row, column))
    lengths = float(np.linalg.norm(along)), float(np.linalg.norm(down))
    if min(lengths) < 1e-6:
        raise InvalidParameter("row and column can't be 0,0,0.", "They are directions.")
    along, down = along / lengths[0], down / lengths[1]
    if abs(float(along @ down)) > 1e-3:
        raise InvalidParameter(
            f"row and column are {math.degrees(math.acos(float(np.clip(along @ down, -1, 1)))):.1f} degrees "
            "apart.",
            "They are at a right angle.",
        )
    across = np.cross(along, down)
    across /= np.linalg.norm(across)
    # What is left of a right angle is taken from the column, so that the grid is one.
    down = np.cross(across, along)
    return np.stack((across, down, along))[:, ::-1].copy()
