"""Going through a stack slice by slice, seeing a few slices before and after each one."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.stack import Frame, Stack
from medbus.streams.processing.pixels.work import Work

A = TypeVar("A", bound=NDArray[Any])

WINDOW_BYTES = 64 * 1024**2
"""Slices that a thread keeps take no more; those beyond are loaded each time they are needed."""


def mirrored(index: int, count: int) -> int:
    """Where an index beyond the border is found: b a | a b c | c b, with the border pixel repeated."""
    index %= 2 * count
    return index if index < count else 2 * count - 1 - index


class Window(Generic[A]):
    """Slices around the one that is at work, each loaded once; the stack is mirrored at its ends.

    Args:
        count: slices of the stack.
        reach: slices that are needed on either side.
        load: makes a slice ready, in a new array or in the one given, which nobody needs any more.
    """

    def __init__(self, count: int, reach: int, load: Callable[[int, A | None], A]) -> None:
        self._count = count
        self._load = load
        self._width = 2 * reach + 1
        self._kept: dict[int, A] = {}

    def __call__(self, index: int) -> A:
        """A slice, to be read; valid until the next slice is at work."""
        index = mirrored(index, self._count)
        found = self._kept.get(index)
        if found is not None:
            return found
        spare = None
        if len(self._kept) >= self._width:
            # Slices come in order, so the first one is the one that is out of reach.
            spare = self._kept.pop(min(self._kept))
        loaded = self._load(index, spare)
        if self._width * loaded.nbytes <= WINDOW_BYTES or self._width == 1:
            self._kept[index] = loaded
        return loaded


Slices = Window[Frame]
"""Modality values of slices."""

Step = Callable[[Slices, int, NDArray[Any]], None]
"""Makes one slice of the output from the slices around it: slices, index, where to write it."""


def sweep(
    stack: Stack,
    make: Callable[[], Step],
    *,
    reach: int = 0,
    work: Work,
    dtype: type[np.generic] = np.float32,
) -> NDArray[Any]:
    """Make an output of the stack's shape, slice by slice.

    Memory beside the output: for each thread 2 * `reach` + 1 slices, at most `WINDOW_BYTES`, and what a step
    keeps. Each slice is made in the same way whatever the slabs are, so they never show in the result.

    Args:
        stack: what is processed.
        make: called once for each piece of work, for a step with buffers of its own.
        reach: slices on either side that a step needs.
        work: who does it.
        dtype: of the output.

    Returns:
        (slices, rows, columns).
    """
    count = stack.shape[0]
    out = np.empty(stack.shape, dtype)

    def do(piece: range) -> None:
        slices: Slices = Window(count, reach, stack.load)
        step = make()
        for index in piece:
            work.check()
            step(slices, index, out[index])

    work.each(work.pieces(count, least=max(4, reach)), do)
    return out
