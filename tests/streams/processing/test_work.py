"""Slabs, threads, memory, and an early end."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from tests.streams.processing.stacks import noise, pixels, process, stack

from medbus.streams.processing.pixels import sweep
from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import ProcessingCancelled, UnsuitableStack
from medbus.streams.processing.pixels.operation import settings
from medbus.streams.processing.pixels.work import Work

GIVEN: dict[str, dict[str, Any]] = {
    "gaussian": {"sigma": 1.2, "extent": "volume"},
    "mean": {"width": 1.7, "extent": "volume"},
    "median": {"width": 3, "extent": "volume"},
    "derivative": {"axis": "z"},
    "gradient-magnitude": {"extent": "volume"},
    "laplacian": {"extent": "volume"},
    "log": {"sigma": 1.2, "extent": "volume"},
    "sobel": {"extent": "volume"},
    "canny": {"sigma": 0.8, "low": 20, "high": 60},
    "band-pass": {"low": 2, "high": 6},
    "unsharp": {"radius": 1, "amount": 0.5, "extent": "volume"},
    "add": {},
    "subtract": {"shift_rows": 0.3, "shift_columns": -1.6},
    "mip": {"axis": "y", "about": "z", "angle": 30},
    "minip": {"axis": "z", "about": "y", "angle": 30, "thickness": 3, "step": 2},
    "mean-projection": {"axis": "x", "about": "z", "angle": 100},
    "mpr": {"row": "0.8,0,0.6", "column": "0,1,0"},
}


def inputs(name: str, values: NDArray[Any]) -> list[Any]:
    return [stack(np.roll(values, number, 0)) for number in range(OPERATIONS[name].inputs)]


def test_each_operation_is_here() -> None:
    assert set(GIVEN) == set(OPERATIONS)


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_each_type_is_processed_into_a_stack_of_its_own(name: str, dtype: Any) -> None:
    given_ = inputs(name, noise(6, 9, 8).astype(dtype) % 100)
    before = [each.stored.copy() for each in given_]
    made = process(name, *given_, **GIVEN[name]).stack
    exact = name == "median"
    mask = name == "canny"
    assert made.stored.dtype == (dtype if exact else np.uint8 if mask else np.float32)
    assert not made.stored.flags.writeable
    if OPERATIONS[name].shape_for(settings(OPERATIONS[name], _words(name))).value != "projection":
        assert made.shape == (6, 9, 8)
    for each, was in zip(given_, before, strict=True):
        assert_array_equal(each.stored, was)
        assert not np.shares_memory(each.stored, made.stored)


def _words(name: str) -> dict[str, str]:
    return {key.replace("_", "-"): str(value) for key, value in GIVEN[name].items()}


@pytest.mark.parametrize("name", GIVEN)
@given(slab=st.integers(1, 9), workers=st.integers(1, 3), seed=st.integers(0, 9))
def test_slabs_and_threads_change_no_bit(name: str, slab: int, workers: int, seed: int) -> None:
    given_ = inputs(name, noise(9, 12, 10, seed=seed))
    whole = pixels(name, *given_, **GIVEN[name])
    assert_array_equal(pixels(name, *given_, work=Work(workers=workers, slab=slab), **GIVEN[name]), whole)


@pytest.mark.parametrize("name", ["gaussian", "median", "log", "unsharp"])
def test_slices_that_are_too_large_to_be_kept_change_no_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = stack(noise(9, 12, 10))
    whole = pixels(name, values, **GIVEN[name])
    monkeypatch.setattr(sweep, "WINDOW_BYTES", 0)
    assert_array_equal(pixels(name, values, **GIVEN[name]), whole)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (1, 7, 1), (5, 1, 1), (2, 3, 2)])
@pytest.mark.parametrize("name", [name for name in GIVEN if name not in ("derivative", "mpr")])
def test_small_stacks_and_wide_filters(name: str, shape: tuple[int, int, int]) -> None:
    given_ = GIVEN[name] | ({"sigma": 6} if "sigma" in GIVEN[name] else {})
    found = pixels(name, *inputs(name, noise(*shape)), **given_)
    assert np.isfinite(found).all()
    assert found.size >= 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", GIVEN)
def test_it_ends_when_it_is_asked_to(name: str, workers: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return True

    operation = OPERATIONS[name]
    with pytest.raises(ProcessingCancelled):
        operation.run(
            inputs(name, noise(8, 9, 8)),
            settings(operation, _words(name)),
            workers=workers,
            cancelled=cancelled,
        )
    assert 1 <= asked <= 8


@pytest.mark.parametrize("workers", [1, 2])
def test_it_ends_in_the_middle_of_a_slab(workers: int) -> None:
    left = 10

    def cancelled() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    operation = OPERATIONS["sobel"]
    with pytest.raises(ProcessingCancelled):
        operation.run([stack(noise(60, 8, 8))], settings(operation, {}), workers=workers, cancelled=cancelled)
    assert left > -60


@pytest.mark.parametrize("name", ["gaussian", "gradient-magnitude", "laplacian", "log", "sobel", "unsharp"])
def test_memory_beside_the_output_does_not_grow_with_the_stack(name: str) -> None:
    """A step and its window: 40 slices at most, whatever there is."""
    values = stack(noise(400, 64, 64))
    tracemalloc.start()
    try:
        made = pixels(name, values, **GIVEN[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - made.nbytes < 40 * 64 * 64 * 4


@pytest.mark.parametrize(("axis", "about"), [("y", "x"), ("x", "y"), ("y", "z")])
def test_a_projection_keeps_no_copy_of_the_stack(axis: str, about: str) -> None:
    """A few planes at a time, however many there are along the axis of the turn."""
    shape = [48, 48, 48]
    shape["zyx".index(about)] = 512
    values = stack(noise(*shape), (1.0, 1.0, 1.0))
    tracemalloc.start()
    try:
        pixels("mip", values, axis=axis)
        pixels("mean-projection", values, axis=axis)
        pixels("mip", values, axis=axis, about=about, angle=20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < values.stored.nbytes / 2


def test_a_turned_plane_of_thick_slices_needs_little_beside_its_own_points() -> None:
    """150 slices 5 mm apart, pixels of 0.4 mm: six times as many points lie around the plane as in it."""
    values = stack(noise(150, 2, 200), (5.0, 1.0, 0.4))
    tracemalloc.start()
    try:
        pixels("mip", values, axis="z", about="y", angle=45)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    points = 150 * 5.0 * 200 * 0.4 / 0.4**2
    assert peak < 50 * points + 50 * 256 * 1024


def test_the_number_of_stacks_is_that_of_the_operation() -> None:
    with pytest.raises(UnsuitableStack, match="takes 2 stacks, not 1"):
        process("subtract", stack(noise(1, 3, 3)))
    with pytest.raises(UnsuitableStack, match="takes 1 stack, not 2"):
        process("sobel", stack(noise(1, 3, 3)), stack(noise(1, 3, 3)))
