"""Sharpening: the unsharp mask."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.kernel import gaussians, separable
from medbus.streams.processing.pixels.operation import EXTENT, Derived, Operation, Shape, shape_by_extent
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.stack import Frame, Stack
from medbus.streams.processing.pixels.sweep import Slices, Step, sweep
from medbus.streams.processing.pixels.work import Work


def unsharp(stack: Stack, *, radius: float, amount: float, volume: bool, work: Work) -> NDArray[np.float32]:
    """Add what a Gaussian takes away: value + amount * (value - smoothed).

    Args:
        stack: (slices, rows, columns), any type.
        radius: sigma of the Gaussian in mm.
        amount: how much is added.
        volume: across the slices as well.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units, beyond the range of the input where it overshoots. Mirrored
        at the border with the border pixel repeated.

    Raises:
        InvalidParameter: the radius is more than 128 pixels.

    Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, section 3.6.
    """
    kernels = gaussians(stack, radius, volume=volume)
    smoothing = separable(stack, kernels)

    def make() -> Step:
        smooth = smoothing()
        sharp: Frame = np.empty(stack.shape[1:], np.float32)

        def step(slices: Slices, index: int, out: Frame) -> None:
            smooth(slices, index, out)
            frame = slices(index)
            np.subtract(frame, out, out=sharp)
            np.multiply(sharp, amount, out=sharp)
            np.add(frame, sharp, out=out)

        return step

    return sweep(stack, make, reach=kernels[0].reach, work=work)


def _unsharp(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    sharp = unsharp(
        stack,
        radius=settings.number("radius"),
        amount=settings.number("amount"),
        volume=settings.word("extent") == "volume",
        work=work,
    )
    return Derived(stack.like(sharp))


UNSHARP = Operation(
    name="unsharp",
    title="Unsharp mask",
    text="Adds amount times what a Gaussian with a sigma of radius takes away; may overshoot the range of "
    "the input. Mirrored at the border. Values keep their unit and become float32. Gonzalez and Woods, "
    "Digital Image Processing, section 3.6.",
    parameters=(
        Parameter(
            name="radius",
            kind=Kind.NUMBER,
            unit="mm",
            required=True,
            least=1e-6,
            most=1e4,
            text="sigma of the Gaussian, the same in mm along each axis.",
        ),
        Parameter(
            name="amount",
            kind=Kind.NUMBER,
            default="1",
            least=0,
            most=100,
            text="how much is added; 0 changes nothing.",
        ),
        EXTENT,
    ),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    function=_unsharp,
)
