"""Edges: the magnitude of Sobel's gradient, and Canny's thin lines."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.kernel import DIFFERENCE, IDENTITY, TRIANGLE, Kernel, Pass, gaussian
from medbus.streams.processing.pixels.operation import EXTENT, Derived, Operation, Shape, shape_by_extent
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.smoothing import SIGMA
from medbus.streams.processing.pixels.stack import Frame, Stack
from medbus.streams.processing.pixels.sweep import Slices, Step, sweep
from medbus.streams.processing.pixels.work import Work

NEIGHBOURS = np.ones((3, 3), np.bool_)


def sobel(stack: Stack, *, volume: bool, work: Work) -> NDArray[np.float32]:
    """The length of the gradient by Sobel's operator: central differences, smoothed 1 2 1 along the other
    axes.

    Args:
        stack: (slices, rows, columns), any type.
        volume: with the derivative across the slices, and the smoothing.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units per mm: weights are scaled so that a ramp of 1 per mm gives
        1. Mirrored at the border with the border pixel repeated.

    Source: I. Sobel, G. Feldman, An Isotropic 3x3 Image Gradient Operator (1968); R. C. Gonzalez, R. E.
    Woods, Digital Image Processing, 4th edition, section 3.6.
    """
    across, down, along = (DIFFERENCE.times(1 / each) for each in stack.spacing)
    smooth_across = TRIANGLE if volume else IDENTITY

    def make() -> Step:
        run = Pass(stack.shape[1:])
        base, part = (np.empty(stack.shape[1:], np.float32) for _ in range(2))

        def step(slices: Slices, index: int, out: Frame) -> None:
            run.across(slices, index, smooth_across, base)
            _squared(run, base, down, TRIANGLE, out)
            _squared(run, base, TRIANGLE, along, part)
            out += part
            if volume:
                run.across(slices, index, across, base)
                _squared(run, base, TRIANGLE, TRIANGLE, part)
                out += part
            np.sqrt(out, out=out)

        return step

    return sweep(stack, make, reach=1 if volume else 0, work=work)


def _squared(run: Pass, frame: Frame, down: Kernel, along: Kernel, out: Frame) -> None:
    run.down(frame, down, out)
    run.along(out, along, out)
    np.multiply(out, out, out=out)


def canny(stack: Stack, *, sigma: float, low: float, high: float, work: Work) -> NDArray[np.uint8]:
    """Edges one pixel wide, frame by frame.

    Smoothed with a Gaussian; Sobel's gradient by mm; what is no maximum along its gradient is dropped, with
    the neighbours interpolated between pixels (on anisotropic pixels in the direction that the gradient has
    in mm); what is left and below `high` stays only if it hangs together with something above it, by pixels
    of at least `low`.

    Args:
        stack: (slices, rows, columns), any type.
        sigma: of the Gaussian in mm.
        low: least magnitude of an edge, in the stack's units per mm.
        high: least magnitude of some pixel of an edge; not below `low`.
        work: who does it.

    Returns:
        The stack's shape, uint8: 1 on edges, 0 elsewhere. The outermost pixels are never edges; the smoothing
        is mirrored at the border.

    Raises:
        InvalidParameter: `high` is below `low`, or sigma is more than 128 pixels.

    Source: J. Canny, A Computational Approach to Edge Detection, IEEE Transactions on Pattern Analysis and
    Machine Intelligence 8 (1986), 679-698.
    """
    _check_order(low, high)
    spacing = stack.spacing[1], stack.spacing[2]
    smooth_down, smooth_along = (gaussian(sigma / each) for each in spacing)
    down, along = (DIFFERENCE.times(1 / each) for each in spacing)

    def make() -> Step:
        run = Pass(stack.shape[1:])
        smooth, by_row, by_column = (np.empty(stack.shape[1:], np.float32) for _ in range(3))

        def step(slices: Slices, index: int, out: NDArray[np.uint8]) -> None:
            run.down(slices(index), smooth_down, smooth)
            run.along(smooth, smooth_along, smooth)
            run.down(smooth, down, by_row)
            run.along(by_row, TRIANGLE, by_row)
            run.down(smooth, TRIANGLE, by_column)
            run.along(by_column, along, by_column)
            magnitude = np.sqrt(by_row * by_row + by_column * by_column)
            np.multiply(by_row, 1 / spacing[0], out=by_row)
            np.multiply(by_column, 1 / spacing[1], out=by_column)
            thin = _maxima(magnitude, by_row, by_column, low)
            labels, count = ndimage.label(thin, NEIGHBOURS)
            strong = np.zeros(count + 1, np.uint8)
            strong[labels[thin & (magnitude >= high)]] = 1
            np.take(strong, labels, out=out)

        return step

    return sweep(stack, make, work=work, dtype=np.uint8)


def _maxima(magnitude: Frame, by_row: Frame, by_column: Frame, low: float) -> NDArray[np.bool_]:
    """Where the magnitude is at least `low` and a maximum along its gradient.

    Args:
        magnitude: of the gradient.
        by_row: direction of the gradient in rows.
        by_column: and in columns, both in pixels.
        low: see above.
    """
    rows, columns = magnitude.shape
    thin = np.zeros((rows, columns), np.bool_)
    inside = np.zeros((rows, columns), np.bool_)
    inside[1:-1, 1:-1] = magnitude[1:-1, 1:-1] >= max(low, float(np.finfo(np.float32).tiny))
    at = np.flatnonzero(inside)
    flat = magnitude.ravel()
    here, down, along = flat[at], by_row.ravel()[at], by_column.ravel()[at]
    to_row = np.where(down < 0, -columns, columns)
    to_column = np.where(along < 0, -1, 1)
    down, along = np.abs(down), np.abs(along)
    steep = down >= along
    straight = np.where(steep, to_row, to_column)
    slanted = to_row + to_column
    share = np.minimum(down, along) / np.maximum(down, along)
    ahead = flat[at + straight] * (1 - share) + flat[at + slanted] * share
    behind = flat[at - straight] * (1 - share) + flat[at - slanted] * share
    thin.ravel()[at[(here >= ahead) & (here >= behind)]] = True
    return thin


def _check_order(low: float, high: float) -> None:
    if high < low:
        raise InvalidParameter(f"high can't be {high:g}, below low.", f"It is at least {low:g}.")


def _sobel(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    pixels = sobel(stack, volume=settings.word("extent") == "volume", work=work)
    return Derived(stack.like(pixels, units=stack.units_per("mm")))


def _canny(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    sigma, low, high = (settings.number(each) for each in ("sigma", "low", "high"))
    return Derived(stack.like(canny(stack, sigma=sigma, low=low, high=high, work=work), units=""))


SOBEL = Operation(
    name="sobel",
    title="Sobel edges",
    text="Length of the gradient by Sobel's operator, by mm: a ramp of 1 per mm gives 1. Mirrored at the "
    "border. Values are float32 in the unit of the input per mm. Sobel and Feldman (1968); Gonzalez and "
    "Woods, Digital Image Processing, section 3.6.",
    parameters=(EXTENT,),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    function=_sobel,
)

CANNY = Operation(
    name="canny",
    title="Canny edges",
    text="Thin lines where the smoothed image changes fastest: 1 on an edge, 0 elsewhere. The outermost "
    "pixels are never edges. Canny, IEEE Transactions on Pattern Analysis and Machine Intelligence 8 (1986), "
    "679-698.",
    parameters=(
        SIGMA,
        Parameter(
            name="low",
            kind=Kind.NUMBER,
            unit="per mm",
            required=True,
            least=0,
            text="least gradient of an edge, in the unit of the values per mm.",
        ),
        Parameter(
            name="high",
            kind=Kind.NUMBER,
            unit="per mm",
            required=True,
            least=0,
            text="least gradient that some pixel of an edge has, in the unit of the values per mm.",
        ),
    ),
    shape=Shape.FRAME,
    check=lambda settings: _check_order(settings.number("low"), settings.number("high")),
    function=_canny,
)
