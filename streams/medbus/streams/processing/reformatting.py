"""Multiplanar reformatting: planes through a stack, across an axis or in any direction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.errors import InvalidParameter, UnsuitableStack
from medbus.streams.processing.operation import Affine, Derived, Operation, Shape
from medbus.streams.processing.parameter import Kind, Parameter, Settings, Vector
from medbus.streams.processing.stack import AXES, Frame, Stack
from medbus.streams.processing.work import Work

MOST_PIXELS = 2**31
"""Of the output."""

ACROSS: dict[str, tuple[Vector, Vector, bool]] = {
    "z": ((1, 0, 0), (0, 1, 0), False),
    "y": ((1, 0, 0), (0, 0, 1), True),
    "x": ((0, 1, 0), (0, 0, 1), False),
}
"""Directions of a row and of a column of the planes across an axis; whether row x column runs against it."""


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
        backwards: from plane to plane against row x column.
        count: planes; if None, one through the point, or all that the stack has room for if there is no
            point.

    Raises:
        InvalidParameter: the directions have no length or no right angle, or there would be too many pixels.
    """
    pixel = min(stack.spacing) if spacing is None else spacing
    apart = pixel if step is None else step
    directions = _directions(row, column)
    if backwards:
        directions[0] *= -1
    size = np.array(stack.shape) * stack.spacing
    room = [max(1, math.floor(float(np.abs(each) @ size) / pixel + 0.5)) for each in directions[1:]]
    middle = (np.array(stack.shape) - 1) / 2 * stack.spacing
    if count is None:
        through = max(1, math.floor(float(np.abs(directions[0]) @ size) / apart + 0.5))
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
        middle = middle + directions[0] * float(directions[0] @ beside)
    steps = directions * np.array([apart, pixel, pixel])[:, np.newaxis]
    first = middle - (np.array(shape) - 1) / 2 @ steps
    affine = np.eye(4)
    affine[:3, :3] = (steps / stack.spacing).T
    affine[:3, 3] = first / stack.spacing
    # An index that is whole but for rounding is whole: pixels that coincide keep their value.
    near = np.round(affine * 2) / 2
    affine = np.where(np.abs(affine - near) < 1e-9, near, affine)
    return Planes(shape=shape, spacing=(apart, pixel, pixel), affine=affine)


def _directions(row: Vector, column: Vector) -> NDArray[np.float64]:
    """Unit vectors across the planes, down a column and along a row, each as (z, y, x)."""
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


def reformat(stack: Stack, grid: Planes, work: Work) -> NDArray[np.float32]:
    """The values of a stack on planes through it, trilinear between pixels.

    Args:
        stack: (slices, rows, columns), any type.
        grid: from `planes`.
        work: who does it.

    Returns:
        (planes, rows, columns), float32 modality values in the stack's units. Within half a pixel beyond the
        outermost centres the border pixel is repeated; farther out is the least value of the stack. Exact
        where pixels coincide, and for values that change linearly.

    Source: PS3.16 CID 7203 (multiplanar reformatting); W. H. Press et al., Numerical Recipes, 3rd edition,
    section 3.6 (interpolation on a grid).
    """
    least = stack.least()
    out = np.empty(grid.shape, np.float32)
    axes = _axes(grid.affine)

    def do(piece: range) -> None:
        for number in piece:
            work.check()
            if axes is None:
                _oblique(stack, grid, number, out[number], least)
            else:
                _straight(stack, grid, axes, number=number, out=out[number], least=least)

    work.each(work.pieces(grid.shape[0]), do)
    return out


def _axes(affine: Affine) -> tuple[int, int, int] | None:
    """The stack's axis along each axis of the output; None if one is along none."""
    along = np.abs(affine[:3, :3]) > 0
    if not (along.sum(axis=0) == 1).all() or not (along.sum(axis=1) == 1).all():
        return None
    across, down, beside = (int(each) for each in along.argmax(axis=0))
    return across, down, beside


@dataclass(frozen=True, slots=True)
class Line:
    """Where points lie along an axis: after which pixel, how far from it, and whether inside at all."""

    corner: NDArray[np.intp]
    share: Frame
    inside: NDArray[np.bool_]


def _line(at: NDArray[np.float64], pixels: int) -> Line:
    edge = 0.5 + 1e-6
    inside = (at >= -edge) & (at <= pixels - 1 + edge)
    index = np.clip(at, 0, pixels - 1)
    corner = np.minimum(np.floor(index), max(pixels - 2, 0))
    return Line(corner.astype(np.intp), (index - corner).astype(np.float32), inside)


def _between(first: Frame, second: Frame, share: Any) -> Frame:
    """Overwrites the second one."""
    second -= first
    second *= share
    second += first
    return second


def _straight(
    stack: Stack, grid: Planes, axes: tuple[int, int, int], *, number: int, out: Frame, least: float
) -> None:
    """A plane across an axis: one axis after the other."""
    across, down, along = (
        _line(grid.affine[axis, column] * np.arange(count) + grid.affine[axis, 3], stack.shape[axis])
        for column, (axis, count) in enumerate(zip(axes, grid.shape, strict=True))
    )
    if not across.inside[number]:
        out.fill(least)
        return
    view = stack.stored.transpose(axes)
    corner, share = across.corner[number], across.share[number]
    frame = view[corner].astype(np.float32, order="C")
    if share:
        frame = _between(frame, view[corner + 1].astype(np.float32, order="C"), share)
    stack.scale(frame)
    for axis, line in ((0, down), (1, along)):
        near = frame.take(line.corner, axis=axis)
        if line.share.any():
            far = frame.take(np.minimum(line.corner + 1, frame.shape[axis] - 1), axis=axis)
            near = _between(near, far, line.share[:, np.newaxis] if axis == 0 else line.share)
        frame = near
    np.copyto(out, frame)
    out[~down.inside] = least
    out[:, ~along.inside] = least


def _oblique(stack: Stack, grid: Planes, number: int, out: Frame, least: float) -> None:
    """A plane in any direction: all points that are in the stack, each with its eight pixels."""
    rows, columns = np.arange(grid.shape[1]), np.arange(grid.shape[2])
    lines = []
    inside = np.ones(out.shape, np.bool_)
    for axis in range(3):
        across, down, along, offset = grid.affine[axis]
        at = (down * rows)[:, np.newaxis] + (along * columns + (across * number + offset))
        lines.append(_line(at, stack.shape[axis]))
        inside &= lines[-1].inside
    if not inside.any():
        out.fill(least)
        return
    whole = bool(inside.all())
    corners = [line.corner.ravel() if whole else line.corner[inside] for line in lines]
    down_share, across_share, along_share = (
        line.share.ravel() if whole else line.share[inside] for line in (lines[1], lines[0], lines[2])
    )
    height, width = stack.shape[1:]
    corner = (corners[0] * height + corners[1]) * width + corners[2]
    strides = [
        stride if count > 1 else 0
        for stride, count in zip((height * width, width, 1), stack.shape, strict=True)
    ]
    flat = stack.stored.reshape(-1)

    def take(offset: int) -> Frame:
        return flat[offset:].take(corner, mode="clip").astype(np.float32)

    def row(offset: int) -> Frame:
        return _between(take(offset), take(offset + strides[2]), along_share)

    def face(offset: int) -> Frame:
        return _between(row(offset), row(offset + strides[1]), down_share)

    values = _between(face(0), face(strides[0]), across_share)
    stack.scale(values)
    if whole:
        np.copyto(out, values.reshape(out.shape))
    else:
        out.fill(least)
        out[inside] = values


def _mpr(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    row, column, backwards = (
        ACROSS[settings.word("axis")]
        if "axis" in settings
        else (settings.vector("row"), settings.vector("column"), False)
    )
    grid = planes(
        stack,
        row=row,
        column=column,
        point=settings.vector("point") if "point" in settings else None,
        spacing=settings.number("spacing") if "spacing" in settings else None,
        step=settings.number("step") if "step" in settings else None,
        count=settings.whole("planes") if "planes" in settings else None,
        backwards=backwards,
    )
    if stack.shape[0] == 1:
        raise UnsuitableStack("There is a single slice, so no plane through others.", "Give a series.")
    return Derived(stack.like(reformat(stack, grid, work), spacing=grid.spacing), grid.affine)


def _check_directions(settings: Settings) -> None:
    given = [name for name in ("row", "column") if name in settings]
    if "axis" in settings and given:
        raise InvalidParameter(f"{given[0]} can't be given with axis.", "Give axis, or row and column.")
    if "axis" not in settings:
        if len(given) < 2:
            raise InvalidParameter("mpr needs axis, or row and column.", f"axis is one of {', '.join(AXES)}.")
        _directions(settings.vector("row"), settings.vector("column"))


MPR = Operation(
    name="mpr",
    title="Multiplanar reformatting",
    text="Planes through the stack, across an axis or with directions of row and column, each as large as "
    "the stack needs. Trilinear between pixels; the border pixel is repeated for half a pixel, and farther "
    "out is the least value of the stack. Coordinates are x along a row, y down the rows and z across the "
    "slices, in mm from the centre of the first pixel. Values keep their unit and become float32. Press and "
    "others, Numerical Recipes, 3rd edition, section 3.6.",
    parameters=(
        Parameter(
            name="axis",
            kind=Kind.AXIS,
            text="planes across this axis, in its order; or give row and column.",
        ),
        Parameter(name="row", kind=Kind.VECTOR, text="direction of a row of the planes."),
        Parameter(
            name="column",
            kind=Kind.VECTOR,
            text="direction of a column of the planes, at a right angle to row.",
        ),
        Parameter(
            name="point",
            kind=Kind.VECTOR,
            unit="mm",
            text="on the middle plane; the middle of the stack if it is not given.",
        ),
        Parameter(
            name="spacing",
            kind=Kind.NUMBER,
            unit="mm",
            least=1e-6,
            text="of the pixels; the least one of the stack if it is not given.",
        ),
        Parameter(
            name="step",
            kind=Kind.NUMBER,
            unit="mm",
            least=1e-6,
            text="from plane to plane, along row x column; spacing if it is not given.",
        ),
        Parameter(
            name="planes",
            kind=Kind.WHOLE,
            least=1,
            most=100_000,
            text="how many; if it is not given, one through the point, or through the whole stack without a "
            "point.",
        ),
    ),
    shape=Shape.PROJECTION,
    check=_check_directions,
    function=_mpr,
)
