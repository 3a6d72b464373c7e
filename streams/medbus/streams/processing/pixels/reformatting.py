"""Multiplanar reformatting: planes through a stack, across an axis or in any direction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import InvalidParameter, UnsuitableStack
from medbus.streams.processing.pixels.grid import Planes, directions, planes
from medbus.streams.processing.pixels.oblique import EDGE, Oblique, between
from medbus.streams.processing.pixels.operation import Affine, Derived, Operation, Shape
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings, Vector
from medbus.streams.processing.pixels.stack import AXES, Frame, Stack
from medbus.streams.processing.pixels.work import Work

ACROSS: dict[str, tuple[Vector, Vector, bool]] = {
    "z": ((1, 0, 0), (0, 1, 0), False),
    "y": ((1, 0, 0), (0, 0, 1), True),
    "x": ((0, 1, 0), (0, 0, 1), False),
}
"""Directions of a row and of a column of the planes across an axis; whether row x column runs against it."""


def reformat(stack: Stack, grid: Planes, work: Work) -> NDArray[np.float32]:
    """The values of a stack on planes through it, trilinear between pixels.

    Args:
        stack: (slices, rows, columns), any type.
        grid: from `grid.planes`.
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
        oblique = Oblique(stack, grid, least) if axes is None else None
        for number in piece:
            work.check()
            if oblique is not None:
                oblique(number, out[number])
            elif axes is not None:
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
    inside = (at >= -EDGE) & (at <= pixels - 1 + EDGE)
    index = np.clip(at, 0, pixels - 1)
    corner = np.minimum(np.floor(index), max(pixels - 2, 0))
    return Line(corner.astype(np.intp), (index - corner).astype(np.float32), inside)


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
        frame = between(frame, view[corner + 1].astype(np.float32, order="C"), share)
    stack.scale(frame)
    for axis, line in ((0, down), (1, along)):
        near = frame.take(line.corner, axis=axis)
        if line.share.any():
            far = frame.take(np.minimum(line.corner + 1, frame.shape[axis] - 1), axis=axis)
            near = between(near, far, line.share[:, np.newaxis] if axis == 0 else line.share)
        frame = near
    np.copyto(out, frame)
    out[~down.inside] = least
    out[:, ~along.inside] = least


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
        directions(settings.vector("row"), settings.vector("column"))


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
