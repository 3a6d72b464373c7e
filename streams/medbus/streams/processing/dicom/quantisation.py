"""Values as the integers that DICOM stores, with slope and intercept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.stack import Stack

FINER = 5
"""An intercept is taken where it makes the steps at least so many times finer."""
SAMPLE = 200_000
"""Pixels that a window is chosen by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an IOD stores pixels.

    Attributes:
        signed: whether two's complement is allowed.
        rescaled: whether slope and intercept are; otherwise values are rounded to whole numbers.
        intercept: whether one other than 0 is.
        bits: allocated: 8 or 16.
    """

    signed: bool = True
    rescaled: bool = True
    intercept: bool = True
    bits: int = 16


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Quantisation:
    """How the values of a result are stored: value = stored * slope + intercept.

    Attributes:
        dtype: int16, uint16 or uint8.
        slope: as it stands in the header: exact in 16 characters.
        intercept: as it stands in the header.
        padding: stored value of places without a pixel; None if there are none.
        exact: whether stored values of the stack are stored as they are.
        error: the greatest difference between a value and what is stored for it, in its unit, float32's own
            rounding apart: 0 if exact, else half of the slope.
    """

    dtype: "np.dtype[Any]"
    slope: float
    intercept: float
    padding: int | None
    exact: bool
    error: float

    def stored(self, stack: Stack, index: int, padding: NDArray[np.bool_] | None) -> NDArray[Any]:
        """A slice of the stack as it is stored, (rows, columns)."""
        out: NDArray[Any]
        if self.exact:
            out = stack.stored[index].astype(self.dtype)
        else:
            values = stack.stored[index].astype(np.float64) * stack.slope + stack.intercept
            nowhere = ~np.isfinite(values)
            if nowhere.any():
                values[nowhere] = self.intercept
                padding = nowhere if padding is None else padding | nowhere
            limits = np.iinfo(self.dtype)
            out = np.clip(np.rint((values - self.intercept) / self.slope), limits.min, limits.max).astype(
                self.dtype
            )
        if padding is not None and self.padding is not None:
            out[padding] = self.padding
        return out


@dataclass(frozen=True, slots=True)
class _Extent:
    least: float
    greatest: float
    whole: bool
    finite: bool


def quantised(stack: Stack, form: Form, *, padded: bool, padding: int | None) -> Quantisation | None:
    """Choose how to store a stack.

    Integers stay what they are, with their slope and intercept, where the form allows it. Otherwise the slope
    is the least of 1, 2 and 5 times a power of ten with which all values fit, 1 if they are whole numbers
    that fit; the intercept is 0 unless another one makes the steps five times finer. The error is at most
    half of the slope, and so at most 1/26,000 of the greatest magnitude of the values; whole numbers that fit
    have none.

    Without rescaling, values are rounded: the error is at most half a unit.

    Args:
        stack: any type.
        form: what the IOD allows.
        padded: whether there are places without a pixel.
        padding: what the source stores there.

    Returns:
        None if the values do not fit the form.
    """
    found = _extent(stack)
    if stack.stored.dtype.kind in "iu" and (exact := _exact(stack, form, padded, padding)) is not None:
        return exact
    padded = padded or not found.finite
    if not form.rescaled:
        return _rounded(found, form, padded, padding)
    signed = form.signed and (padded or found.least < 0)
    lowest, highest = (-32767, 32767) if signed else (0, 65535 - padded)
    magnitude = max(abs(found.least), abs(found.greatest))
    # With both signs, 0 is in the middle; a stack that can't be signed needs an intercept for negative
    # values.
    plain = _step(magnitude / highest) if signed or found.least >= 0 else math.inf
    slope, intercept = plain, 0.0
    if found.whole and magnitude <= highest and math.isfinite(plain):
        slope = 1.0
    elif form.intercept:
        # Steps finer than those of float32 would say nothing.
        across = max((found.greatest - found.least) / (highest - lowest - 1), magnitude / 2**26)
        finer = 1.0 if found.whole and across <= 1 else _step(across)
        if plain >= finer * FINER:
            slope = finer
            intercept = _decimal(math.floor(found.least / slope - lowest), slope)
            if not math.isfinite(intercept):
                return None
    if not math.isfinite(slope):
        return None
    return Quantisation(
        dtype=np.dtype(np.int16 if signed else np.uint16),
        slope=slope,
        intercept=intercept,
        padding=(-32768 if signed else 65535) if padded else None,
        exact=False,
        error=slope / 2,
    )


def _extent(stack: Stack) -> _Extent:
    least, greatest, whole, finite = math.inf, -math.inf, True, True
    for values in _slices(stack):
        good = values[np.isfinite(values)]
        finite = finite and good.size == values.size
        if good.size:
            least, greatest = min(least, float(good.min())), max(greatest, float(good.max()))
            whole = whole and bool((good == np.rint(good)).all())
    if least > greatest:
        least = greatest = 0.0
    return _Extent(least, greatest, whole, finite)


def _slices(stack: Stack) -> Iterator[NDArray[np.float32]]:
    for index in range(stack.shape[0]):
        yield stack.load(index)


def _exact(stack: Stack, form: Form, padded: bool, padding: int | None) -> Quantisation | None:
    least, greatest = int(stack.stored.min()), int(stack.stored.max())
    if not form.rescaled and (stack.slope, stack.intercept) != (1.0, 0.0):
        return None
    if not form.intercept and stack.intercept:
        return None
    unsigned: np.dtype[Any] = np.dtype(np.uint8 if form.bits == 8 else np.uint16)
    choices: list[np.dtype[Any]] = [unsigned]
    if form.signed and form.bits == 16:
        signed_first = stack.stored.dtype.kind == "i"
        choices = [np.dtype(np.int16), unsigned] if signed_first else [unsigned, np.dtype(np.int16)]
    for dtype in choices:
        limits = np.iinfo(dtype)
        if limits.min <= least and greatest <= limits.max:
            code = _free(least, greatest, limits.min, limits.max, padding) if padded else None
            return Quantisation(
                dtype=dtype, slope=stack.slope, intercept=stack.intercept, padding=code, exact=True, error=0.0
            )
    return None


def _rounded(found: _Extent, form: Form, padded: bool, padding: int | None) -> Quantisation | None:
    dtype: np.dtype[Any] = np.dtype(np.uint8 if form.bits == 8 else np.uint16)
    limits = np.iinfo(dtype)
    least, greatest = round(found.least), round(found.greatest)
    if least < limits.min or greatest > limits.max:
        return None
    code = _free(least, greatest, limits.min, limits.max, padding) if padded else None
    return Quantisation(
        dtype=dtype, slope=1.0, intercept=0.0, padding=code, exact=False, error=0.0 if found.whole else 0.5
    )


def _free(least: int, greatest: int, low: int, high: int, wanted: int | None) -> int | None:
    """A stored value that no pixel has: that of the source if it is one."""
    candidates = [] if wanted is None else [wanted]
    for code in (*candidates, least - 1, greatest + 1):
        if low <= code <= high and not least <= code <= greatest:
            return code
    return None


def _step(least: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is no less than this."""
    if least <= 0:
        return 1.0
    power = math.floor(math.log10(least))
    for exponent in (power - 1, power, power + 1):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{exponent}")
            if step >= least:
                return step
    raise AssertionError(least)


def _decimal(steps: int, slope: float) -> float:
    """So many steps, as a number that stands in 16 characters; infinite if it does not."""
    value = Decimal(steps) * Decimal(str(slope))
    return float(value) if len(ds(float(value))) <= 16 else math.inf


def ds(value: float) -> str:
    """A decimal string (PS3.5 6.2): the shortest that reads as the same number, else 10 digits of it."""
    for written in (f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else "", repr(value)):
        if written and len(written) <= 16:
            return written
    return f"{value:.9e}" if value < 0 else f"{value:.10g}"


def window(stacks: Sequence[Stack]) -> tuple[float, float]:
    """Centre and width of a window that shows all but the darkest and the brightest hundredth of the
    pixels."""
    sampled = []
    for stack in stacks:
        every = max(1, math.ceil(math.sqrt(stack.stored.size / SAMPLE)))
        values = stack.stored[:, ::every, ::every].astype(np.float64) * stack.slope + stack.intercept
        sampled.append(values[np.isfinite(values)])
    values = np.concatenate(sampled)
    if not values.size:
        return 0.0, 1.0
    low, high = (float(each) for each in np.percentile(values, (1, 99)))
    if low == high:
        low, high = float(values.min()), float(values.max())
    width = float(f"{high - low:.6g}") or 1.0
    return float(f"{(low + high) / 2:.6g}"), width
