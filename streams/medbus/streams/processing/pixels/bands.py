"""Band pass by spatial frequency, frame by frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Derived, Operation, Shape
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.stack import Frame, Stack
from medbus.streams.processing.pixels.sweep import Slices, Step, sweep
from medbus.streams.processing.pixels.work import Work


def butterworth(frequency: NDArray[np.float64], cutoff: float, order: int) -> NDArray[np.float64]:
    """The gain of Butterworth's low pass, squared: 1 at 0, 1/2 at the cutoff.

    Args:
        frequency: any shape, in the unit of the cutoff.
        cutoff: greater than 0.
        order: the gain falls by 12 dB in each octave for each order.
    """
    with np.errstate(over="ignore"):
        return 1 / (1 + (frequency / cutoff) ** (2 * order))


def gains(
    shape: tuple[int, int], spacing: tuple[float, float], *, low: float, high: float, order: int
) -> NDArray[np.float32]:
    """The gain of each cosine of a frame: the low pass at `high` times what the one at `low` leaves.

    Args:
        shape: rows and columns.
        spacing: mm between rows and between columns.
        low: lower cutoff in cycles/mm.
        high: upper cutoff in cycles/mm.
        order: of both.

    Returns:
        (rows, columns), for the coefficients of the discrete cosine transform of type II.
    """
    down, along = (
        np.arange(count, dtype=np.float64) / (2 * count * each)
        for count, each in zip(shape, spacing, strict=True)
    )
    frequency = np.hypot(down[:, np.newaxis], along)
    passed = butterworth(frequency, high, order) * (1 - butterworth(frequency, low, order))
    return passed.astype(np.float32)


def band_pass(stack: Stack, *, low: float, high: float, order: int, work: Work) -> NDArray[np.float32]:
    """Keep spatial frequencies in a band, in all directions of a frame alike.

    Through the discrete cosine transform of type II, whose cosines are those of a frame mirrored at its
    border: no opposite borders meet, as they do in a Fourier transform.

    Args:
        stack: (slices, rows, columns), any type.
        low: lower cutoff in cycles/mm, greater than 0; the gain is 1/2 there if the band is wide.
        high: upper cutoff in cycles/mm, greater than `low`.
        order: of Butterworth's filter.
        work: who does it.

    Returns:
        The stack's shape, float32, in its units. The mean of each frame is taken away. Mirrored at the border
        with the border pixel repeated.

    Raises:
        InvalidParameter: the cutoffs are out of order.

    Source: S. Butterworth, On the Theory of Filter Amplifiers, Wireless Engineer 7 (1930), 536-541;
    R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, sections 4.8 to 4.10; S. A. Martucci,
    Symmetric Convolution and the Discrete Sine and Cosine Transforms, IEEE Transactions on Signal Processing
    42 (1994), 1038-1051.
    """
    if not 0 < low < high:
        raise InvalidParameter(f"A band from {low:g} to {high:g} cycles/mm is none.", "low is below high.")
    gain = gains(stack.shape[1:], (stack.spacing[1], stack.spacing[2]), low=low, high=high, order=order)

    def make() -> Step:
        buffer: Frame = np.empty(stack.shape[1:], np.float32)

        def step(slices: Slices, index: int, out: Frame) -> None:
            np.copyto(buffer, slices(index))
            cosines = fft.dctn(buffer, norm="ortho", overwrite_x=True)
            cosines *= gain
            np.copyto(out, fft.idctn(cosines, norm="ortho", overwrite_x=True))

        return step

    return sweep(stack, make, work=work)


def _band_pass(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    low, high = settings.number("low"), settings.number("high")
    if settings.word("unit") == "mm":
        low, high = 1 / high, 1 / low
    return Derived(stack.like(band_pass(stack, low=low, high=high, order=settings.whole("order"), work=work)))


def _check_band(settings: Settings) -> None:
    low, high = settings.number("low"), settings.number("high")
    if low >= high:
        raise InvalidParameter(f"low can't be {low:g}, not below high.", f"It is below {high:g}.")


BAND_PASS = Operation(
    name="band-pass",
    title="Band pass",
    text="Keeps what repeats at wavelengths from low to high (in mm), or at frequencies from low to high (in "
    "cycles/mm): Butterworth's filter, with half the gain at each end of a wide band, in all directions "
    "alike, frame by frame. Mirrored at the border. Values keep their unit, without their mean, and become "
    "float32. Butterworth, Wireless Engineer 7 (1930), 536-541; Gonzalez and Woods, Digital Image "
    "Processing, 4.8 to 4.10.",
    parameters=(
        Parameter(
            name="low",
            kind=Kind.NUMBER,
            required=True,
            least=1e-9,
            most=1e9,
            text="shortest wavelength, or lowest frequency, as unit says.",
        ),
        Parameter(
            name="high",
            kind=Kind.NUMBER,
            required=True,
            least=1e-9,
            most=1e9,
            text="longest wavelength, or highest frequency, as unit says.",
        ),
        Parameter(
            name="unit",
            kind=Kind.CHOICE,
            choices=("mm", "cycles/mm"),
            default="mm",
            text="of low and high: wavelengths in mm or frequencies in cycles/mm.",
        ),
        Parameter(
            name="order",
            kind=Kind.WHOLE,
            default="2",
            least=1,
            most=10,
            text="how steep the band ends: 12 dB in each octave for each order; a high one rings.",
        ),
    ),
    shape=Shape.FRAME,
    check=_check_band,
    function=_band_pass,
)
