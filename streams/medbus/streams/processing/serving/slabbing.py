"""Stacks that are too large for memory: kept in files, and processed a few slices at a time."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.dicom.filling import Volume
from medbus.streams.processing.pixels.operation import Operation, Result, Shape
from medbus.streams.processing.pixels.parameter import Settings
from medbus.streams.processing.pixels.stack import Stack
from medbus.streams.processing.pixels.work import Work
from medbus.streams.processing.serving.scratch import Scratch

SLAB_BYTES: Final = 64 * 1024**2
"""Of a result that is made at once."""

_RESULT: Final = np.dtype(np.float32)

_REACH: Final = 5.5
"""No filter sees farther than so many times the lengths it is told: five standard deviations, rounded up."""


def reach(operation: Operation, settings: Settings, between: float) -> int:
    """Slices on either side of one that its result may depend on; never too few.

    Args:
        operation: that does not project.
        settings: that it has.
        between: mm from slice to slice.
    """
    if operation.shape_for(settings) is Shape.FRAME:
        return 0
    most = 0.0
    for parameter in operation.parameters:
        value = settings.get(parameter.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            most = max(most, {"mm": _REACH * value / between, "pixel": float(value)}.get(parameter.unit, 0))
    return math.ceil(most) + 2


def fits(operation: Operation, settings: Settings, volumes: Sequence[Volume], scratch: Scratch) -> bool:
    """Whether there is memory for volumes, and for a result with their grid; then it is taken."""
    stacks = [stack for volume in volumes for stack in volume.stacks]
    size = sum(stack.stored.nbytes for stack in stacks)
    if operation.shape_for(settings) is not Shape.PROJECTION:
        size += sum(stack.stored.size for stack in volumes[0].stacks) * _RESULT.itemsize
    return scratch.claim(size)


def kept(volume: Volume, scratch: Scratch) -> Volume:
    """A volume whose stacks are in files."""
    return replace(volume, stacks=tuple(_kept(each, scratch) for each in volume.stacks))


def _kept(stack: Stack, scratch: Scratch) -> Stack:
    stored = scratch.room(stack.shape, stack.stored.dtype)
    step = max(1, SLAB_BYTES // stack.stored[0].nbytes)
    for start in range(0, len(stored), step):
        np.copyto(stored[start : start + step], stack.stored[start : start + step])
        scratch.trim()
    return replace(stack, stored=stored)


def run(operation: Operation, stacks: Sequence[Stack], settings: Settings, scratch: Scratch) -> Result:
    """Process as `Operation.run` does, with the same result but in a file.

    What has the grid of the stack is made slab by slab, each from the slices that it depends on. Projections
    and planes are made at once, in memory.
    """
    if operation.shape_for(settings) is Shape.PROJECTION:
        return operation.work(stacks, settings, Work())
    first = stacks[0]
    slices, rows, columns = first.shape
    halo = reach(operation, settings, first.spacing[0])
    step = max(1, halo, SLAB_BYTES // (rows * columns * _RESULT.itemsize))
    made: NDArray[Any] | None = None
    for start in range(0, slices, step):
        stop = min(start + step, slices)
        low, high = max(0, start - halo), min(slices, stop + halo)
        part = operation.work([_part(each, slices, low, high) for each in stacks], settings, Work())
        stored = part.stack.stored
        if made is None:
            made = scratch.room(first.shape, stored.dtype)
        np.copyto(made[start:stop], stored[start - low : stop - low])
        scratch.trim()
    assert made is not None  # noqa: S101  a stack has slices
    return replace(part, stack=replace(part.stack, stored=made))


def _part(stack: Stack, slices: int, low: int, high: int) -> Stack:
    """Some slices of a stack; a mask may have a single one for all of them."""
    return stack if stack.shape[0] != slices else replace(stack, stored=stack.stored[low:high])
