"""Smoothing with weights: Gaussian and mean."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.kernel import IDENTITY, box, gaussians, separable
from medbus.streams.processing.pixels.operation import EXTENT, Derived, Operation, Shape, shape_by_extent
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.stack import Stack
from medbus.streams.processing.pixels.sweep import sweep
from medbus.streams.processing.pixels.work import Work

SIGMA = Parameter(
    name="sigma",
    kind=Kind.NUMBER,
    unit="mm",
    required=True,
    least=1e-6,
    most=1e4,
    text="standard deviation of the Gaussian, the same in mm along each axis.",
)


def gaussian(stack: Stack, *, sigma: float, volume: bool, work: Work) -> NDArray[np.float32]:
    """Smooth with a Gaussian.

    Args:
        stack: (slices, rows, columns), any type; modality values are smoothed.
        sigma: in mm; each axis has its own number of pixels.
        volume: across the slices as well.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units. Sampled Gaussian, sum 1, cut at 4 sigma; mirrored at the
        border with the border pixel repeated. A constant stays what it is to float32.

    Raises:
        InvalidParameter: sigma is more than 128 pixels.

    Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, section 3.5.
    """
    kernels = gaussians(stack, sigma, volume=volume)
    return sweep(stack, separable(stack, kernels), reach=kernels[0].reach, work=work)


def mean(
    stack: Stack, *, width: float | None = None, pixels: int | None = None, volume: bool, work: Work
) -> NDArray[np.float32]:
    """Smooth with the mean over a square or a cube.

    Args:
        stack: (slices, rows, columns), any type; modality values are smoothed.
        width: of the square in mm; pixels at its edge count as far as they are in it.
        pixels: the width in pixels, odd, instead of `width`.
        volume: across the slices as well.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units. Mirrored at the border with the border pixel repeated.

    Raises:
        InvalidParameter: the width is more than 1,024 pixels, or there is no width or two.

    Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, section 3.5.
    """
    if (width is None) == (pixels is None):
        raise InvalidParameter("mean needs width or pixels, and one of them only.", "width is in mm.")
    widths = [each if width is None else width / each for each in _per_axis(stack, pixels)]
    across, down, along = map(box, widths)
    kernels = (across if volume else IDENTITY, down, along)
    return sweep(stack, separable(stack, kernels), reach=kernels[0].reach, work=work)


def _per_axis(stack: Stack, pixels: int | None) -> Sequence[float]:
    return stack.spacing if pixels is None else (float(pixels),) * 3


def _gaussian(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    volume = settings.word("extent") == "volume"
    return Derived(stack.like(gaussian(stack, sigma=settings.number("sigma"), volume=volume, work=work)))


def _mean(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    smooth = mean(
        stack,
        width=settings.number("width") if "width" in settings else None,
        pixels=settings.whole("pixels") if "pixels" in settings else None,
        volume=settings.word("extent") == "volume",
        work=work,
    )
    return Derived(stack.like(smooth))


def _check_width(settings: Settings) -> None:
    if ("width" in settings) == ("pixels" in settings):
        raise InvalidParameter("mean needs width or pixels, and one of them only.", "width is in mm.")
    check_odd(settings, "pixels")


def check_odd(settings: Settings, name: str) -> None:
    """A window has a pixel in its middle.

    Raises:
        InvalidParameter: the width is even.
    """
    if name in settings and settings.whole(name) % 2 == 0:
        raise InvalidParameter(
            f"{name} can't be {settings.whole(name)}.", "It is odd, so that a pixel is in the middle."
        )


GAUSSIAN = Operation(
    name="gaussian",
    title="Gaussian smoothing",
    text="Weighted mean with a Gaussian of sigma mm, which every axis has in its own pixels; cut at 4 sigma. "
    "Mirrored at the border. Values keep their unit and become float32. Gonzalez and Woods, Digital Image "
    "Processing, section 3.5.",
    parameters=(SIGMA, EXTENT),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    function=_gaussian,
)

MEAN = Operation(
    name="mean",
    title="Mean smoothing",
    text="Mean over a square, or a cube with extent volume. In mm the pixels at the edge count as far as "
    "they are in it. Mirrored at the border. Values keep their unit and become float32. Gonzalez and Woods, "
    "Digital Image Processing, section 3.5.",
    parameters=(
        Parameter(
            name="width",
            kind=Kind.NUMBER,
            unit="mm",
            least=1e-6,
            most=1e4,
            text="of the square, from edge to edge; or give pixels.",
        ),
        Parameter(
            name="pixels",
            kind=Kind.WHOLE,
            unit="pixel",
            least=1,
            most=1023,
            text="width of the square in pixels, odd; or give width.",
        ),
        EXTENT,
    ),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    check=_check_width,
    function=_mean,
)
