"""Projections through a stack that is turned about one of its axes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.operation import Affine
from medbus.streams.processing.pixels.rays import Along, Slabs, slabs
from medbus.streams.processing.pixels.stack import Frame, Stack
from medbus.streams.processing.pixels.work import Work

PLANES = 16
"""Columns that are read together: one by one, most of what memory delivers would be thrown away."""


POINTS = 256 * 1024
"""Points whose places are worked out together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How rays run through a stack.

    Attributes:
        axis: along which rays run before the turn: 0, 1 or 2.
        about: the axis about which their direction is turned; another one.
        angle: in degrees, from `axis` towards the axis that is neither.
    """

    axis: int
    about: int
    angle: float

    @property
    def side(self) -> int:
        """The axis that is neither; beside a ray before the turn."""
        return 3 - self.axis - self.about

    @property
    def direction(self) -> tuple[float, float]:
        """Cosine and sine; exact at right angles."""
        quarter, rest = divmod(self.angle, 90)
        if rest == 0:
            return ((1, 0), (0, 1), (-1, 0), (0, -1))[int(quarter) % 4]
        return math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """Where rays meet a plane of the stack, in pixels of one size.

    Attributes:
        pixel: mm, the lesser spacing of the plane.
        depth: pixels along a ray.
        width: rays in a plane.
        matrix: (2, 3): (depth, ray, 1) to the index along `axis` and along `side`.
    """

    pixel: float
    depth: int
    width: int
    matrix: NDArray[np.float64]


def raster(stack: Stack, turn: Turn) -> Raster:
    """Rays that run through the whole of a plane, its middle in theirs."""
    spacing = stack.spacing[turn.axis], stack.spacing[turn.side]
    count = stack.shape[turn.axis], stack.shape[turn.side]
    cosine, sine = turn.direction
    pixel = min(spacing)
    length, breadth = count[0] * spacing[0], count[1] * spacing[1]
    depth = max(1, math.floor((abs(cosine) * length + abs(sine) * breadth) / pixel + 0.5))
    width = max(1, math.floor((abs(sine) * length + abs(cosine) * breadth) / pixel + 0.5))
    turned = np.array([[cosine, -sine], [sine, cosine]]) * pixel / np.array(spacing)[:, np.newaxis]
    middle = (np.array(count) - 1) / 2 - turned @ ((np.array([depth, width]) - 1) / 2)
    return Raster(pixel=pixel, depth=depth, width=width, matrix=np.column_stack((turned, middle)))


@dataclass(frozen=True, slots=True)
class Samples:
    """The points of a slab that lie in a plane, ray by ray.

    Attributes:
        rays: those that meet the plane.
        starts: where the points of each of them start.
        corner: flat index of the pixel before each point.
        down: how far it is to the next pixel along `axis`, 0 to 1.
        along: and along `side`.
    """

    rays: NDArray[np.intp]
    starts: NDArray[np.intp]
    corner: NDArray[np.intp]
    down: Frame
    along: Frame


def samples(points: Raster, depths: range, count: tuple[int, int]) -> Samples:
    """The points of some depths. Those within half a pixel of the border have the value of the border.

    Args:
        points: where rays meet the plane.
        depths: the slab.
        count: pixels of the plane along `axis` and along `side`.
    """
    # A few rays at a time: around a turned plane of thick slices there are many points outside.
    height = max(1, POINTS // len(depths))
    parts = [
        _samples(points, depths, range(start, min(start + height, points.width)), count)
        for start in range(0, points.width, height)
    ]
    before = np.cumsum([0, *(len(part.corner) for part in parts[:-1])])
    return Samples(
        np.concatenate([part.rays for part in parts]),
        np.concatenate([part.starts + start for part, start in zip(parts, before, strict=True)]),
        np.concatenate([part.corner for part in parts]),
        np.concatenate([part.down for part in parts]),
        np.concatenate([part.along for part in parts]),
    )


def _samples(points: Raster, depths: range, wanted: range, count: tuple[int, int]) -> Samples:
    ray, depth = np.meshgrid(
        np.arange(wanted.start, wanted.stop), np.arange(depths.start, depths.stop), indexing="ij"
    )
    at = [row[0] * depth + row[1] * ray + row[2] for row in points.matrix]
    edge = 0.5 + 1e-6
    inside = np.logical_and.reduce(
        [(each >= -edge) & (each <= pixels - 1 + edge) for each, pixels in zip(at, count, strict=True)]
    )
    numbers = ray[inside]
    rays, starts = np.unique(numbers, return_index=True)
    corners, shares = [], []
    for each, pixels in zip(at, count, strict=True):
        # Near a centre is on it: there the value is exact.
        index = np.clip(each[inside], 0, pixels - 1)
        whole = np.round(index)
        index = np.where(np.abs(index - whole) < 1e-9, whole, index)
        corner = np.minimum(np.floor(index), max(pixels - 2, 0))
        corners.append(corner.astype(np.intp))
        shares.append((index - corner).astype(np.float32))
    return Samples(rays, starts, corners[0] * count[1] + corners[1], shares[0], shares[1])


def turned(stack: Stack, *, along: Along, turn: Turn, cut: Slabs, points: Raster, work: Work) -> Frame:
    """Project along rays that are turned about an axis, slab by slab. The values between pixels are bilinear.

    Args:
        stack: (slices, rows, columns), any type.
        along: what a ray leaves of its values: the greatest, the least or the mean.
        turn: how rays run.
        cut: slabs of `points.depth` pixels.
        points: from `raster`.
        work: who does it.

    Returns:
        (slabs, first, second), float32 modality values; first and second are `turn.about` and the rays, in
        the order that `about` and `side` have in the stack. At an angle of 0 with equal spacing these are the
        values of a projection along the axis. Where no point of a ray is in the stack: the least value of the
        stack.

    Source: J. W. Wallis, T. R. Miller, C. A. Lerner, E. C. Kleerup, Three-Dimensional Display in Nuclear
    Medicine, IEEE Transactions on Medical Imaging 8 (1989), 297-303.
    """
    count = stack.shape[turn.axis], stack.shape[turn.side]
    planes = stack.shape[turn.about]
    # Slabs, planes, rays; as the result wants it at the end.
    out = np.empty((len(cut), planes, points.width), np.float32)
    least: float | None = None
    for number, depths in enumerate(cut.ranges()):
        taken = samples(points, depths, count)
        if len(taken.rays) < points.width:
            least = stack.least() if least is None else least
            out[number].fill(least)
        _project(stack, turn, along=along, taken=taken, out=out[number], work=work)
    return out if turn.about < turn.side else np.ascontiguousarray(out.transpose(0, 2, 1))


def _project(stack: Stack, turn: Turn, *, along: Along, taken: Samples, out: Frame, work: Work) -> None:
    count = stack.shape[turn.axis], stack.shape[turn.side]
    points = len(taken.corner)
    if points == 0:
        return
    counts = np.diff(taken.starts, append=points).astype(np.float32)
    next_down = count[1] if count[0] > 1 else 0
    next_along = 1 if count[1] > 1 else 0

    def do(piece: range) -> None:
        value, other, right = (np.empty(points, np.float32) for _ in range(3))

        def between(line: Frame, into: Frame) -> None:
            line.take(taken.corner, out=into, mode="clip")
            line[next_along:].take(taken.corner, out=right, mode="clip")
            np.subtract(right, into, out=right)
            np.multiply(right, taken.along, out=right)
            np.add(into, right, out=into)

        for plane, pixels in _planes(stack, turn, piece):
            work.check()
            line = pixels.ravel()
            between(line, value)
            between(line[next_down:], other)
            np.subtract(other, value, out=other)
            np.multiply(other, taken.down, out=other)
            np.add(value, other, out=value)
            made = along.ufunc.reduceat(value, taken.starts)
            out[plane, taken.rays] = made / counts if along is Along.MEAN else made

    work.each(work.pieces(stack.shape[turn.about], least=PLANES), do)


def _planes(stack: Stack, turn: Turn, piece: range) -> Iterator[tuple[int, Frame]]:
    """Planes across `turn.about` with their modality values, (axis, side), contiguous."""
    view = stack.stored.transpose(turn.about, turn.axis, turn.side)
    for start in range(piece.start, piece.stop, PLANES):
        stop = min(start + PLANES, piece.stop)
        block = view[start:stop].astype(np.float32, order="C")
        stack.scale(block)
        for plane in range(start, stop):
            yield plane, block[plane - start]


def turned_slabs(points: Raster, thickness: float | None, step: float | None) -> Slabs:
    """Slabs along the rays, in mm."""
    return slabs(points.depth, points.pixel, thickness, step)


def turned_affine(turn: Turn, cut: Slabs, points: Raster) -> Affine:
    """Where the slices of such a projection lie in the stack."""
    about, ray = (1, 2) if turn.about < turn.side else (2, 1)
    affine: NDArray[Any] = np.zeros((4, 4))
    affine[3, 3] = affine[turn.about, about] = 1
    for axis, (by_depth, by_ray, offset) in zip((turn.axis, turn.side), points.matrix, strict=True):
        affine[axis, 0] = by_depth * cut.step
        affine[axis, ray] = by_ray
        affine[axis, 3] = offset + by_depth * cut.middle
    return affine


def turned_spacing(stack: Stack, turn: Turn, cut: Slabs, points: Raster) -> tuple[float, float, float]:
    """mm between slabs, and between the pixels of one."""
    about = stack.spacing[turn.about]
    first, second = (about, points.pixel) if turn.about < turn.side else (points.pixel, about)
    return cut.step * points.pixel, first, second
