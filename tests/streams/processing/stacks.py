"""Stacks for tests, and a short way to process them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.operation import Result, settings
from medbus.streams.processing.pixels.stack import Stack
from medbus.streams.processing.pixels.work import Work

SPACING = (2.5, 0.8, 0.5)


def stack(pixels: Any, spacing: tuple[float, float, float] = SPACING, **more: Any) -> Stack:
    """A stack of these pixels."""
    return Stack(stored=np.asarray(pixels), spacing=spacing, **more)


def noise(*shape: int, seed: int = 1, dtype: Any = np.int16) -> NDArray[Any]:
    """Pixels at random."""
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(dtype)


def smooth(*shape: int, seed: int = 2) -> NDArray[np.float32]:
    """Pixels that change slowly, as those of an image do."""
    grid = np.meshgrid(*(np.linspace(0, 3, each) for each in shape), indexing="ij")
    rough = np.random.default_rng(seed).normal(0, 0.05, shape)
    values = 100 * (np.sin(grid[0]) + np.cos(2 * grid[1]) * np.sin(3 * grid[2]) + rough)
    return np.asarray(values, np.float32)


def process(name: str, *stacks: Stack, work: Work | None = None, **given: object) -> Result:
    """Process; underscores in names of parameters stand for hyphens."""
    operation = OPERATIONS[name]
    read = settings(operation, {key.replace("_", "-"): str(value) for key, value in given.items()})
    return operation.work(stacks, read, work or Work())


def pixels(name: str, *stacks: Stack, work: Work | None = None, **given: object) -> NDArray[Any]:
    """The pixels that come of it."""
    return process(name, *stacks, work=work, **given).stack.stored


def inner(values: NDArray[Any], by: int = 4) -> NDArray[Any]:
    """Without the border, where others do otherwise."""
    cut = tuple(slice(by, -by) if each > 2 * by else slice(None) for each in values.shape)
    return values[cut]
