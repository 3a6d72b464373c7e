"""Bringing a stack with uneven spacing or a tilt onto a regular grid at right angles."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.dicom.geometry import Plane, Spread, spread

Blend = tuple[tuple[int, float], ...]
"""The slices that one slice of the grid is made of, and their weights, which add up to 1."""


class Grid(NamedTuple):
    """A regular grid for the slices of a stack.

    Attributes:
        planes: of the new slices, straight above one another along the normal.
        blends: of which slices each new one is made.
        rows: of the grid; it holds all slices however they lie beside one another.
        columns: of the grid.
        corner: row and column of the grid's first pixel in the first slice; 0 or negative.
        measured: the slices as they are.
    """

    planes: tuple[Plane, ...]
    blends: tuple[Blend, ...]
    rows: int
    columns: int
    corner: tuple[int, int]
    measured: Spread


def grid(planes: Sequence[Plane], shape: tuple[int, int]) -> Grid:
    """The regular grid for a stack: its spacing is the median one, its first slice that of the stack.

    Args:
        planes: of one orientation, in the order of their depth.
        shape: rows and columns of a slice.
    """
    measured = spread(planes)
    first = planes[0]
    step = measured.typical
    count = math.floor(measured.depths[-1] / step + 1e-3) + 1 if step else 1
    depths = np.array(measured.depths)
    blends = tuple(_blend(depths, min(number * step, depths[-1])) for number in range(count))
    above, left = (math.floor(min(each) + 1e-3) for each in (measured.rows, measured.columns))
    below, right = (math.ceil(max(each) - 1e-3) for each in (measured.rows, measured.columns))
    origin = (
        np.array(first.position)
        + np.multiply(first.column, above * first.spacing[0])
        + np.multiply(first.row, left * first.spacing[1])
    )
    made = []
    for number in range(count):
        x, y, z = origin + first.normal * (number * step)
        made.append(
            Plane(
                position=(float(x), float(y), float(z)),
                row=first.row,
                column=first.column,
                spacing=first.spacing,
                thickness=first.thickness,
            )
        )
    return Grid(
        tuple(made), blends, shape[0] + below - above, shape[1] + right - left, (above, left), measured
    )


def _blend(depths: NDArray[np.float64], depth: float) -> Blend:
    after = int(np.searchsorted(depths, depth - 1e-6))
    after = min(after, len(depths) - 1)
    if after == 0 or abs(depths[after] - depth) < 1e-6:
        return ((after, 1.0),)
    weight = float((depth - depths[after - 1]) / (depths[after] - depths[after - 1]))
    return ((after - 1, 1 - weight), (after, weight))


def resampled(
    load: Callable[[int], NDArray[Any]], onto: Grid, fill: float, dtype: "np.dtype[Any]"
) -> NDArray[Any]:
    """Interpolate linearly, within slices (for the shear) and between them (for the spacing).

    Args:
        load: (rows, columns) stored values of a slice.
        onto: the grid.
        fill: stored value where the stack has no pixel.
        dtype: of the result; integers are rounded, by at most half a stored value.

    Returns:
        (slices, rows, columns) of the grid.
    """
    out = np.empty((len(onto.blends), onto.rows, onto.columns), dtype)
    kept: dict[int, NDArray[np.float32]] = {}
    for number, blend in enumerate(onto.blends):
        needed = [index for index, _ in blend]
        kept = {index: kept[index] for index in needed if index in kept}
        values = np.zeros(out.shape[1:], np.float32)
        for index, weight in blend:
            if index not in kept:
                kept[index] = _moved(load(index), onto, index, fill)
            values += kept[index] * np.float32(weight)
        out[number] = values if dtype.kind == "f" else np.rint(values)
    return out


def _moved(values: NDArray[Any], onto: Grid, index: int, fill: float) -> NDArray[np.float32]:
    """A slice on the rows and columns of the grid; pixels partly outside of it mix with the fill."""
    moved = values.astype(np.float32)
    shifts = onto.measured.rows[index] - onto.corner[0], onto.measured.columns[index] - onto.corner[1]
    for axis, (shift, size) in enumerate(zip(shifts, (onto.rows, onto.columns), strict=True)):
        moved = _shifted(moved, axis, shift, size, fill)
    return moved


def _shifted(
    values: NDArray[np.float32], axis: int, shift: float, size: int, fill: float
) -> NDArray[np.float32]:
    values = np.moveaxis(values, axis, 0)
    whole = math.floor(shift + 1e-3)
    part = np.float32(shift - whole if shift - whole > 1e-3 else 0.0)
    out = np.full((size, *values.shape[1:]), fill, np.float32)
    out[whole : whole + len(values)] = values
    if part:
        later = np.full_like(out, fill)
        later[whole + 1 : whole + 1 + len(values)] = values[: size - whole - 1]
        out = out * (1 - part) + later * part
    return np.moveaxis(out, 0, axis)
