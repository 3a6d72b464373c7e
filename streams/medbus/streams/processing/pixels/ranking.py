"""The median, by a network that sorts whole slices of pixels at once."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import EXTENT, Derived, Operation, Shape, shape_by_extent
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.smoothing import check_odd
from medbus.streams.processing.pixels.stack import Stack
from medbus.streams.processing.pixels.sweep import Window
from medbus.streams.processing.pixels.work import Work

BLOCK_BYTES = 256 * 1024
"""Of each wire of the network: less of it and threads wait for each other, more and it leaves the cache."""

MOST_WIRES = 343
"""Pixels in a window: 7 x 7 x 7."""


class Exchange(NamedTuple):
    """Puts two wires in order: the lesser value to the first. A value that nobody needs is not made."""

    first: int
    second: int
    lesser: bool
    greater: bool


def merge_exchange(wires: int) -> Iterator[tuple[int, int]]:
    """The comparators of Batcher's sorting network for any number of wires.

    Source: D. E. Knuth, The Art of Computer Programming, volume 3, section 5.2.2, algorithm M.
    """
    top = 1 << max(0, (wires - 1).bit_length() - 1)
    bit = top if wires > 1 else 0
    while bit:
        probe, remainder, distance = top, 0, bit
        while True:
            for first in range(wires - distance):
                if first & bit == remainder:
                    yield first, first + distance
            if probe == bit:
                break
            distance, probe, remainder = probe - bit, probe // 2, bit
        bit //= 2


@cache
def selection(wires: int) -> tuple[Exchange, ...]:
    """What of the sorting network is needed for the median: an odd number of wires, their middle one."""
    needed = {wires // 2}
    chosen = []
    for first, second in reversed(list(merge_exchange(wires))):
        if first in needed or second in needed:
            chosen.append(Exchange(first, second, first in needed, second in needed))
            needed |= {first, second}
    return tuple(reversed(chosen))


def select(inputs: Sequence[NDArray[Any]], out: NDArray[Any], pool: list[NDArray[Any]]) -> None:
    """The median of arrays, pixel by pixel.

    Args:
        inputs: an odd number of arrays of one shape and type; only read.
        out: where to write it; the same shape and type.
        pool: buffers of this shape and type; filled as needed.
    """
    wires, mine = list(inputs), [False] * len(inputs)

    def buffer() -> NDArray[Any]:
        return pool.pop() if pool else np.empty_like(out)

    for first, second, lesser, greater in selection(len(wires)):
        low, high = wires[first], wires[second]
        # The lesser one first: the greater one may then be written over what it was made from.
        if lesser:
            made = buffer()
            np.minimum(low, high, out=made)
        if greater:
            wires[second] = high if mine[second] else buffer()
            np.maximum(low, high, out=wires[second])
        elif mine[second]:
            pool.append(high)
        if mine[first]:
            pool.append(low)
        if lesser:
            wires[first] = made
        mine[first], mine[second] = lesser, greater
    np.copyto(out, wires[len(wires) // 2])
    pool.extend(wire for wire, own in zip(wires, mine, strict=True) if own)


def median(stack: Stack, *, width: int, volume: bool, work: Work) -> NDArray[Any]:
    """The median of a square or a cube around each pixel.

    Args:
        stack: (slices, rows, columns), any type. A NaN makes every median NaN that it is in the window of.
        width: of the window in pixels, odd.
        volume: across the slices as well.
        work: who does it.

    Returns:
        Stored values: the stack's shape and type, exact. Mirrored at the border with the border pixel
        repeated.

    Raises:
        InvalidParameter: the window has more than `MOST_WIRES` pixels.

    Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th edition, section 5.3.
    """
    wires = width ** (3 if volume else 2)
    if wires > MOST_WIRES:
        raise InvalidParameter(
            f"A window of {width} pixels {'in a volume ' if volume else ''}has {wires} pixels.",
            f"The most is {MOST_WIRES}: a width of {7 if volume else 17}.",
        )
    count, rows, columns = stack.shape
    reach = width // 2
    depth = reach if volume else 0
    height = max(1, BLOCK_BYTES // (columns * stack.stored.itemsize))
    out = np.empty_like(stack.stored)

    def load(index: int, _: NDArray[Any] | None) -> NDArray[Any]:
        return np.pad(stack.stored[index], reach, mode="symmetric")

    def do(piece: range) -> None:
        slices: Window[NDArray[Any]] = Window(count, depth, load)
        pools: dict[int, list[NDArray[Any]]] = {}
        for index in piece:
            work.check()
            around = [slices(index + each) for each in range(-depth, depth + 1)]
            for start in range(0, rows, height):
                stop = min(start + height, rows)
                inputs = [
                    padded[start + down : stop + down, along : along + columns]
                    for padded in around
                    for down in range(width)
                    for along in range(width)
                ]
                select(inputs, out[index, start:stop], pools.setdefault(stop - start, []))

    work.each(work.pieces(count, least=max(4, depth)), do)
    return out


def _median(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
    (stack,) = stacks
    volume = settings.word("extent") == "volume"
    return Derived(stack.unscaled(median(stack, width=settings.whole("width"), volume=volume, work=work)))


def _check_window(settings: Settings) -> None:
    check_odd(settings, "width")
    if settings.word("extent") == "volume" and settings.whole("width") > 7:
        raise InvalidParameter(
            f"width can't be {settings.whole('width')} in a volume.", "The most is 7 pixels there."
        )


MEDIAN = Operation(
    name="median",
    title="Median smoothing",
    text="Median of a square around each pixel, or of a cube with extent volume. Mirrored at the border. "
    "Values stay exact: the type, slope and intercept of the input. Gonzalez and Woods, Digital Image "
    "Processing, section 5.3.",
    parameters=(
        Parameter(
            name="width",
            kind=Kind.WHOLE,
            unit="pixel",
            default="3",
            least=1,
            most=17,
            text="of the window, odd; up to 7 in a volume.",
        ),
        EXTENT,
    ),
    shape=Shape.FRAME,
    shaping=shape_by_extent,
    check=_check_window,
    function=_median,
)
