"""Derivatives by mm: along an axis, gradient magnitude, Laplacian, Laplacian of a Gaussian."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import UnsuitableStack
from medbus.streams.processing.pixels.kernel import IDENTITY, Pass, gaussian, second
from medbus.streams.processing.pixels.operation import EXTENT, Derived, Operation, Shape, shape_by_extent
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.smoothing import SIGMA
from medbus.streams.processing.pixels.stack import AXES, Frame, Stack
from medbus.streams.processing.pixels.sweep import Slices, Step, sweep
from medbus.streams.processing.pixels.work import Work


def derivative(stack: Stack, *, axis: int, work: Work) -> NDArray[np.float32]:
    """The derivative along an axis by central differences.

    Args:
        stack: (slices, rows, columns), any type.
        axis: 0 across the slices, 1 down the rows, 2 along a row.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units per mm. At the border the difference of the last two pixels,
        so that a ramp has the same derivative everywhere.

    Raises:
        UnsuitableStack: there is a single pixel along the axis.

    Source: B. Fornberg, Generation of Finite Difference Formulas on Arbitrarily Spaced Grids, Mathematics of
    Computation 51 (1988), 699-706, table 1.
    """
    if stack.shape[axis] == 1:
        raise UnsuitableStack(
            f"There is a single pixel along {AXES[axis]}, so no derivative.", "Choose another axis."
        )

    def step(slices: Slices, index: int, out: Frame) -> None:
        if axis == 0:
            _difference_across(stack, slices, index, out)
        else:
            _difference(slices(index), axis - 1, stack.spacing[axis], out)

    return sweep(stack, lambda: step, reach=1 if axis == 0 else 0, work=work)


def gradient_magnitude(stack: Stack, *, volume: bool, work: Work) -> NDArray[np.float32]:
    """The length of the gradient by central differences.

    Args:
        stack: (slices, rows, columns), any type.
        volume: whether the derivative across the slices counts.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units per mm. The border is as in `derivative`; along an axis with
        a single pixel nothing changes.

    Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, section 3.6.
    """

    def make() -> Step:
        part: Frame = np.empty(stack.shape[1:], np.float32)

        def step(slices: Slices, index: int, out: Frame) -> None:
            frame = slices(index)
            _difference(frame, 0, stack.spacing[1], out)
            np.multiply(out, out, out=out)
            _difference(frame, 1, stack.spacing[2], part)
            np.multiply(part, part, out=part)
            out += part
            if volume and stack.shape[0] > 1:
                _difference_across(stack, slices, index, part)
                np.multiply(part, part, out=part)
                out += part
            np.sqrt(out, out=out)

        return step

    return sweep(stack, make, reach=1 if volume else 0, work=work)


def _difference_across(stack: Stack, slices: Slices, index: int, out: Frame) -> None:
    low, high = max(index - 1, 0), min(index + 1, stack.shape[0] - 1)
    np.subtract(slices(high), slices(low), out=out)
    out *= 1 / ((high - low) * stack.spacing[0])


def _difference(frame: Frame, axis: int, spacing: float, out: Frame) -> None:
    """Central differences along rows (0) or columns (1), one-sided at the border."""
    values, result = (frame, out) if axis == 0 else (frame.T, out.T)
    if len(values) == 1:
        result.fill(0)
        return
    np.subtract(values[2:], values[:-2], out=result[1:-1])
    result[1:-1] *= 0.5 / spacing
    np.subtract(values[1], values[0], out=result[0])
    np.subtract(values[-1], values[-2], out=result[-1])
    result[0] *= 1 / spacing
    result[-1] *= 1 / spacing


def laplacian(stack: Stack, *, volume: bool, work: Work) -> NDArray[np.float32]:
    """The sum of the second derivatives by second differences.

    Args:
        stack: (slices, rows, columns), any type.
        volume: whether the one across the slices counts.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units per mm2. Mirrored at the border with the border pixel
        repeated: nothing flows across it, so the sum over the stack is 0. Exact for a quadratic away from the
            border.

    Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, section 3.6.
    """
    across, down, along = (1 / each**2 for each in stack.spacing)
    rows, columns = stack.shape[1:]

    def make() -> Step:
        flow: Frame = np.empty((rows, columns), np.float32)
        flow_along: Frame = np.empty((rows, columns - 1), np.float32)

        def step(slices: Slices, index: int, out: Frame) -> None:
            frame = slices(index)
            out.fill(0)
            # Differences before sums: they are exact where the sum of large numbers would not be.
            flow_down = flow[:-1]
            np.subtract(frame[1:], frame[:-1], out=flow_down)
            flow_down *= down
            out[:-1] += flow_down
            out[1:] -= flow_down
            np.subtract(frame[:, 1:], frame[:, :-1], out=flow_along)
            np.multiply(flow_along, along, out=flow_along)
            out[:, :-1] += flow_along
            out[:, 1:] -= flow_along
            if volume:
                for neighbour in (index - 1, index + 1):
                    np.subtract(slices(neighbour), frame, out=flow)
                    np.multiply(flow, across, out=flow)
                    out += flow

        return step

    return sweep(stack, make, reach=1 if volume else 0, work=work)


def laplacian_of_gaussian(stack: Stack, *, sigma: float, volume: bool, work: Work) -> NDArray[np.float32]:
    """The Laplacian of the stack smoothed with a Gaussian.

    Args:
        stack: (slices, rows, columns), any type.
        sigma: of the Gaussian in mm.
        volume: across the slices as well.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units per mm2; not normalized by the scale. A bright spot is
        negative. Mirrored at the border with the border pixel repeated. Exact for a quadratic away from the
        border.

    Raises:
        InvalidParameter: sigma is more than 102 pixels.

    Source: D. Marr, E. Hildreth, Theory of Edge Detection, Proceedings of the Royal Society B 207 (1980),
    187-217.
    """
    smooth = [gaussian(sigma / each) for each in stack.spacing]
    curved = [second(sigma / each).times(1 / each**2) for each in stack.spacing]
    smooth_across = smooth[0] if volume else IDENTITY
    reach = max(smooth[0].reach, curved[0].reach) if volume else 0

    def make() -> Step:
        run = Pass(stack.shape[1:])
        base, part, rest = (np.empty(stack.shape[1:], np.float32) for _ in range(3))

        def step(slices: Slices, index: int, out: Frame) -> None:
            # With G and D along each axis: GzGyDx + (GzDy + DzGy)Gx.
            run.across(slices, index, smooth_across, base)
            run.down(base, curved[1], rest)
            if volume:
                run.across(slices, index, curved[0], part)
                run.down(part, smooth[1], part)
                np.add(rest, part, out=rest)
            run.down(base, smooth[1], base)
            run.along(base, curved[2], out)
            run.along(rest, smooth[2], rest)
            out += rest

        return step

    return sweep(stack, make, reach=reach, work=work)


def _derivative(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    pixels = derivative(stack, axis=AXES.index(settings.word("axis")), work=work)
    return Derived(stack.like(pixels, units=stack.units_per("mm")))


def _derivative_shape(_: Operation, settings: Settings) -> Shape:
    return Shape.VOLUME if settings.word("axis") == "z" else Shape.FRAME


def _volume(
    filtered: Callable[..., NDArray[np.float32]], lengths: str
) -> Callable[[Sequence[Stack], Settings, Work], Derived]:
    def function(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
        (stack,) = stacks
        more = {"sigma": settings.number("sigma")} if "sigma" in settings else {}
        pixels = filtered(stack, volume=settings.word("extent") == "volume", work=work, **more)
        return Derived(stack.like(pixels, units=stack.units_per(lengths)))

    return function


DERIVATIVE = Operation(
    name="derivative",
    title="Derivative",
    text="Central differences along an axis, by mm; at the border the difference of the last two pixels. "
    "Values are float32 in the unit of the input per mm. Fornberg, Mathematics of Computation 51 (1988), "
    "699-706.",
    parameters=(
        Parameter(
            name="axis",
            kind=Kind.AXIS,
            required=True,
            text="along which; z needs the whole stack.",
        ),
    ),
    shape=Shape.FRAME,
    shaping=_derivative_shape,
    function=_derivative,
)

GRADIENT_MAGNITUDE = Operation(
    name="gradient-magnitude",
    title="Gradient magnitude",
    text="Length of the gradient by central differences, by mm; at the border the difference of the last two "
    "pixels. Values are float32 in the unit of the input per mm. Gonzalez and Woods, Digital Image "
    "Processing, section 3.6.",
    parameters=(EXTENT,),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    function=_volume(gradient_magnitude, "mm"),
)

LAPLACIAN = Operation(
    name="laplacian",
    title="Laplacian",
    text="Sum of the second differences, by mm2. Mirrored at the border. Values are float32 in the unit of "
    "the input per mm2; bright spots are negative. Gonzalez and Woods, Digital Image Processing, section "
    "3.6.",
    parameters=(EXTENT,),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    function=_volume(laplacian, "mm2"),
)

LOG = Operation(
    name="log",
    title="Laplacian of Gaussian",
    text="Laplacian after Gaussian smoothing, as one filter; cut at 4 to 5 sigma. Mirrored at the border. "
    "Values are float32 in the unit of the input per mm2; bright spots are negative. Marr and Hildreth, "
    "Theory of Edge Detection, Proceedings of the Royal Society B 207 (1980), 187-217.",
    parameters=(SIGMA, EXTENT),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    function=_volume(laplacian_of_gaussian, "mm2"),
)
