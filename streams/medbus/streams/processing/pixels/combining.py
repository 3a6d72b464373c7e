"""Pixel by pixel: adding the slices of a stack, and subtracting one stack from another."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import UnsuitableStack
from medbus.streams.processing.pixels.operation import Derived, Operation, Shape
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.projecting import projection
from medbus.streams.processing.pixels.rays import Along
from medbus.streams.processing.pixels.stack import Frame, Stack
from medbus.streams.processing.pixels.sweep import Slices, Step, sweep
from medbus.streams.processing.pixels.work import Work


def add(stack: Stack, *, mean: bool, work: Work) -> Derived:
    """Add the slices of a stack.

    Args:
        stack: (slices, rows, columns), any type.
        mean: divide by their number.
        work: who does it.

    Returns:
        (1, rows, columns), float32 modality values in the stack's units, rounded once from sums that are
        exact for integers. The sum of modality values has the intercept as often as there are slices. No
        border.

    Source: PS3.16 CID 7203 (pixel by pixel addition, pixel by pixel mean).
    """
    return projection(stack, along=Along.MEAN if mean else Along.SUM, axis=0, work=work)


def subtract(
    stack: Stack, mask: Stack, *, down: float = 0.0, along: float = 0.0, work: Work
) -> NDArray[np.float32]:
    """Subtract a mask that is shifted first, as digital subtraction angiography does.

    Args:
        stack: (slices, rows, columns), any type.
        mask: as many slices, or one for all of them; the same rows, columns, pixel spacing and units.
        down: pixels by which the mask's content moves to higher row numbers. Fractions are bilinear.
        along: pixels by which it moves to higher column numbers.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units: the difference of modality values, exact for integers of up
        to 16 bits with equal slope and intercept and a shift of whole pixels. What the shift brings in from
        beyond the border of the mask is its border pixel.

    Raises:
        UnsuitableStack: the two don't fit.

    Source: PS3.3 C.7.6.10 (Mask Module). Its Mask Sub-pixel Shift has the opposite sign for columns: positive
    is to the left there.
    """
    _check_fit(stack, mask)
    rows, columns = stack.shape[1:]
    by_rows, by_columns = _shifted(rows, down, 0), _shifted(columns, along, 1)
    scale = stack.slope, stack.intercept
    same = scale == (mask.slope, mask.intercept) and stack.stored.dtype.itemsize <= 2
    first = Stack(stored=stack.stored, spacing=stack.spacing) if same else stack
    second = Stack(stored=mask.stored, spacing=mask.spacing) if same else mask
    single = by_columns(by_rows(second.load(0))) if len(mask.stored) == 1 else None

    def make() -> Step:
        buffer: Frame = np.empty((rows, columns), np.float32)

        def step(slices: Slices, index: int, out: Frame) -> None:
            shifted = single
            if shifted is None:
                shifted = by_columns(by_rows(second.load(index, buffer)))
            np.subtract(slices(index), shifted, out=out)
            if same and stack.slope != 1:
                out *= stack.slope

        return step

    return sweep(first, make, work=work)


def _shifted(count: int, shift: float, axis: int) -> Callable[[Frame], Frame]:
    """Moves the content of a frame along an axis, the border pixel repeated."""
    if shift == 0:
        return lambda frame: frame
    whole = math.floor(shift)
    share = np.float32(shift - whole)
    near = np.clip(np.arange(count) - whole, 0, count - 1)
    far = np.clip(np.arange(count) - whole - 1, 0, count - 1)

    def move(frame: Frame) -> Frame:
        moved: Frame = np.take(frame, near, axis=axis)
        if share:
            moved += (np.take(frame, far, axis=axis) - moved) * share
        return moved

    return move


def _check_fit(stack: Stack, mask: Stack) -> None:
    """Raises UnsuitableStack: the two don't fit."""
    if mask.shape[1:] != stack.shape[1:] or mask.shape[0] not in (1, stack.shape[0]):
        raise UnsuitableStack(
            f"A mask of the shape {mask.shape} can't be subtracted from {stack.shape}.",
            "Rows and columns are equal; there is one slice of the mask, or as many as there are in the "
            "stack.",
        )
    if not np.allclose(mask.spacing[1:], stack.spacing[1:], rtol=1e-3, atol=0):
        raise UnsuitableStack(
            f"The pixels of the mask are {mask.spacing[1:]} mm apart, those of the stack {stack.spacing[1:]} "
            "mm.",
            "Subtract what was taken with the same pixels.",
        )
    if mask.units != stack.units:
        raise UnsuitableStack(
            f"The values of the mask are in {mask.units or 'no unit'}, those of the stack in "
            f"{stack.units or 'no unit'}.",
            "Subtract values of the same unit.",
        )


def _add(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    return add(stack, mean=settings.word("how") == "mean", work=work)


def _subtract(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    stack, mask = stacks
    pixels = subtract(
        stack, mask, down=settings.number("shift-rows"), along=settings.number("shift-columns"), work=work
    )
    return Derived(stack.like(pixels))


def _shift(name: str, towards: str) -> Parameter:
    return Parameter(
        name=name,
        kind=Kind.NUMBER,
        unit="pixel",
        default="0",
        least=-1000,
        most=1000,
        text=f"how far the mask is moved towards higher {towards} numbers; fractions are bilinear.",
    )


ADD = Operation(
    name="add",
    title="Addition of slices",
    text="Sum or mean of all slices, pixel by pixel. Values keep their unit and become float32, rounded "
    "once. PS3.16 CID 7203 (pixel by pixel addition, pixel by pixel mean).",
    parameters=(
        Parameter(
            name="how", kind=Kind.CHOICE, choices=("sum", "mean"), default="sum", text="the sum or the mean."
        ),
    ),
    shape=Shape.PROJECTION,
    function=_add,
)

SUBTRACT = Operation(
    name="subtract",
    title="Subtraction of a mask",
    text="The first stack minus the second one, the mask, which has as many slices or one for all of them "
    "and can be moved first; what comes in from beyond its border is its border pixel. Values keep their "
    "unit and become float32. PS3.3 C.7.6.10 (Mask Module).",
    parameters=(_shift("shift-rows", "row"), _shift("shift-columns", "column")),
    inputs=2,
    shape=Shape.FRAME,
    function=_subtract,
)
