"""Values of a stack on planes in any direction."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.grid import Planes
from medbus.streams.processing.pixels.stack import Frame, Stack

EDGE = 0.5 + 1e-6
"""Pixels beyond the outermost centres that belong to the stack, and what rounding may add."""

BLOCK = 128 * 1024
"""Points of a plane that are interpolated together: with more of them they leave the processor's cache."""


def between(first: Frame, second: Frame, share: Any) -> Frame:
    """Overwrites the second one."""
    second -= first
    second *= share
    second += first
    return second


def _shaped(buffer: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The start of a buffer in some shape."""
    return buffer[: math.prod(shape)].reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where points lie along an axis of the stack: the sum of what row and column say.

    Attributes:
        by_row: for each row; a single one if all are alike.
        by_column: for each column.
        level: whether all columns are alike.
        last: index of the last pixel along the axis.
    """

    by_row: NDArray[np.float64]
    by_column: NDArray[np.float64]
    level: bool
    last: int


class Oblique:
    """Planes in any direction, some rows at a time: eight pixels for each point, in buffers that stay cached.

    Args:
        stack: (slices, rows, columns).
        grid: the planes.
        least: what is outside.
    """

    def __init__(self, stack: Stack, grid: Planes, least: float) -> None:
        self._stack, self._grid, self._least = stack, grid, least
        columns = grid.shape[2]
        self._height = min(grid.shape[1], max(1, BLOCK // columns))
        points = self._height * columns
        self._at = np.empty(points, np.float64)
        self._whole = np.empty(points, np.intp)
        self._corner = np.empty(points, np.intp)
        self._taken = np.empty(points, stack.stored.dtype)
        self._shares = [np.empty(points, np.float32) for _ in range(3)]
        self._values = [np.empty(points, np.float32) for _ in range(4)]
        self._flat = stack.stored.reshape(-1)
        height, width = stack.shape[1:]
        # Along an axis with a single pixel there is no next one.
        self._next = [
            stride if count > 1 else 0
            for stride, count in zip((height * width, width, 1), stack.shape, strict=True)
        ]

    def __call__(self, number: int, out: Frame) -> None:
        """Write the plane of that number."""
        rows = len(out)
        for start in range(0, rows, self._height):
            stop = min(start + self._height, rows)
            part = out[start:stop]
            places = self._places(number, range(start, stop))
            columns = self._columns(places)
            if len(columns) < out.shape[1]:
                part.fill(self._least)
            if columns:
                self._block(places, columns, part[:, columns.start : columns.stop])

    def _places(self, number: int, rows: range) -> list[Place]:
        """Where the points of some rows lie along each axis of the stack."""
        places = []
        for pixels, (across, down, along, offset) in zip(
            self._stack.shape, self._grid.affine[:3], strict=True
        ):
            by_row = down * np.arange(rows.start, rows.stop)
            by_column = along * np.arange(self._grid.shape[2]) + (across * number + offset)
            # Where it changes along one axis of the plane only, one row or column says it all.
            places.append(
                Place(
                    by_row=by_row if down else by_row[:1],
                    by_column=by_column,
                    level=bool(along == 0),
                    last=pixels - 1,
                )
            )
        return places

    def _columns(self, places: list[Place]) -> range:
        """The columns from the first to the last one in which a point may be in the stack."""
        inside = np.ones(self._grid.shape[2], np.bool_)
        for place in places:
            inside &= place.by_column + place.by_row.max() >= -EDGE
            inside &= place.by_column + place.by_row.min() <= place.last + EDGE
        found = np.flatnonzero(inside)
        return range(int(found[0]), int(found[-1]) + 1) if len(found) else range(0)

    def _block(self, places: list[Place], columns: range, out: Frame) -> None:
        outside: NDArray[np.bool_] | None = None
        shares = []
        corner = _shaped(self._corner, out.shape)
        corner.fill(0)
        for axis, place in enumerate(places):
            by_column = place.by_column[columns.start : columns.start + 1 if place.level else columns.stop]
            shape = len(place.by_row), len(by_column)
            at, whole = _shaped(self._at, shape), _shaped(self._whole, shape)
            share = _shaped(self._shares[axis], shape)
            np.add(place.by_row[:, np.newaxis], by_column, out=at)
            if at.min() < -EDGE or at.max() > place.last + EDGE:
                beyond = (at < -EDGE) | (at > place.last + EDGE)
                outside = beyond if outside is None else outside | beyond
            np.clip(at, 0, place.last, out=at)
            np.copyto(whole, at, casting="unsafe")
            np.minimum(whole, max(place.last - 1, 0), out=whole)
            np.subtract(at, whole, out=share, casting="same_kind")
            shares.append(share)
            np.multiply(whole, math.prod(self._stack.shape[axis + 1 :]), out=whole)
            np.add(corner, whole, out=corner)
        self._interpolate(corner, shares, out)
        self._stack.scale(out)
        if outside is not None:
            np.copyto(out, self._least, where=outside)

    def _interpolate(self, corner: NDArray[np.intp], shares: list[Frame], out: Frame) -> None:
        """Between pixels along a row, then between two rows, then between two slices."""
        across, down, along = self._next
        first, second, third, fourth = (_shaped(each, corner.shape) for each in self._values)
        taken = _shaped(self._taken, corner.shape)

        def row(offset: int, spare: Frame, into: Frame) -> Frame:
            for start, values in ((offset, spare), (offset + along, into)):
                # No index is out of range; of the ways to say so, this one is the fastest.
                self._flat[start:].take(corner, out=taken, mode="wrap")
                np.copyto(values, taken, casting="unsafe")
            return between(spare, into, shares[2])

        near = between(row(0, first, second), row(down, first, third), shares[1])
        far = between(row(across, first, second), row(across + down, first, fourth), shares[1])
        np.copyto(out, between(near, far, shares[0]))
