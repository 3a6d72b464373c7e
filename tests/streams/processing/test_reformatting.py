"""Planes through a stack."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody does
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tests.streams.processing.stacks import SPACING, noise, pixels, process, smooth, stack

from medbus.streams.processing.pixels.errors import InvalidParameter, UnsuitableStack
from medbus.streams.processing.pixels.grid import planes
from medbus.streams.processing.pixels.operation import Result
from medbus.streams.processing.pixels.reformatting import reformat
from medbus.streams.processing.pixels.work import Work

OBLIQUE: dict[str, Any] = {"row": "0.8,0,0.6", "column": "0,1,0"}


def on_grid_of(result: Result, values: Any) -> Any:
    """What SimpleITK makes of the planes that the affine names; -1 outside."""
    image = sitk.GetImageFromArray(values)
    transform = sitk.AffineTransform(3)
    # In its coordinates x comes first, and pixels of both grids are 1 apart.
    swapped = result.affine[:3, :3][::-1, ::-1]
    transform.SetMatrix(swapped.ravel().tolist())
    transform.SetTranslation(result.affine[:3, 3][::-1].tolist())
    size = [int(each) for each in result.stack.shape[::-1]]
    made = sitk.Resample(
        image, size, transform, sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist(), -1e6
    )
    return sitk.GetArrayFromImage(made)


@pytest.mark.parametrize(
    "given_",
    [
        OBLIQUE,
        OBLIQUE | {"point": "5,4,20", "planes": "3", "step": "2"},
        {"row": "1,1,0", "column": "-1,1,1.5", "spacing": "0.9"},
        {"row": "1,2,3", "column": "2,-1,0"},
        {"axis": "y", "spacing": "0.65"},
        {"axis": "x", "spacing": "0.65", "step": "1.1"},
        {"axis": "z", "step": "0.7"},
    ],
)
def test_it_is_the_linear_resampling_of_itk(given_: dict[str, Any]) -> None:
    """Where all eight pixels are in the stack; farther out SimpleITK does otherwise."""
    values = smooth(14, 18, 20)
    result = process("mpr", stack(values), **given_)
    expected = on_grid_of(result, values)
    index = np.stack(np.meshgrid(*map(np.arange, result.stack.shape), indexing="ij"), -1)
    places = index @ result.affine[:3, :3].T + result.affine[:3, 3]
    within = ((places > 1e-6) & (places < np.array(values.shape) - 1 - 1e-6)).all(axis=-1)
    assert within.sum() > 300
    assert_allclose(result.stack.stored[within], expected[within], atol=2e-3)


def test_a_value_that_changes_linearly_stays_exact_in_any_direction() -> None:
    z, y, x = np.meshgrid(
        *(np.arange(n) * mm for n, mm in zip((16, 18, 20), SPACING, strict=True)), indexing="ij"
    )
    result = process(
        "mpr", stack((2 * z - 3 * y + 5 * x).astype(np.float32)), row="1,2,2", column="2,1,-2", point="5,7,18"
    )
    made = result.stack.stored[0]
    index = np.stack(np.meshgrid(*map(np.arange, result.stack.shape), indexing="ij"), -1)[0]
    places = index @ result.affine[:3, :3].T + result.affine[:3, 3]
    within = ((places >= 0) & (places <= np.array((16, 18, 20)) - 1)).all(axis=-1)
    assert within.sum() > 100
    assert_allclose(made[within], places[within] * SPACING @ (2, -3, 5), atol=1e-3)


def test_the_point_is_on_the_plane_and_pixels_have_their_size() -> None:
    result = process("mpr", stack(noise(14, 18, 20)), point="4,9,20", spacing=0.5, **OBLIQUE)
    assert result.stack.shape[0] == 1
    mm = result.affine[:3, :3].T * SPACING
    assert_allclose(np.linalg.norm(mm, axis=1), 0.5)
    assert_allclose(mm @ mm.T, np.eye(3) * 0.25, atol=1e-12)
    origin = result.affine[:3, 3] * SPACING
    assert float((np.array((20, 9, 4)) - origin) @ mm[0]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_planes_across_an_axis_run_in_its_order(axis: str) -> None:
    result = process("mpr", stack(noise(5, 6, 7)), axis=axis)
    directions = np.sign(result.affine[:3, :3])
    assert directions.min() >= 0, "no axis is turned round"
    assert directions[:, 0].argmax() == "zyx".index(axis)


def test_a_native_plane_is_the_slice_itself() -> None:
    values = noise(5, 6, 7)
    even = stack(values, (1.0, 1.0, 1.0), slope=2.0, intercept=-3.0)
    assert_array_equal(pixels("mpr", even, axis="z"), values * 2.0 - 3)
    assert_array_equal(pixels("mpr", even, axis="y"), (values * 2.0 - 3).transpose(1, 0, 2))
    assert_array_equal(pixels("mpr", even, axis="x"), (values * 2.0 - 3).transpose(2, 0, 1))


def test_outside_is_the_least_value() -> None:
    """A plane on the slant, off the middle, is as wide as the one in the middle: its ends stick out."""
    values = np.full((6, 6, 6), 9, np.int16)
    values[5, 5, 5] = 2
    made = pixels(
        "mpr",
        stack(values, (1.0, 1.0, 1.0), intercept=-1024.0),
        row="1,1,0",
        column="0,0,1",
        point="0,4,2",
    )
    assert_array_equal(made[0, :, 0], -1022)
    assert_array_equal(made[0, :, -1], -1022)
    assert_array_equal(made[0, :, made.shape[2] // 2], -1015)


def test_a_grid_that_is_larger_than_the_stack_has_the_least_value_around_it() -> None:
    values = noise(3, 4, 5)
    grid = planes(stack(values, (1.0, 1.0, 1.0)), row=(1, 0, 0), column=(0, 1, 0), spacing=1)
    affine = grid.affine.copy()
    affine[:3, 3] -= 1
    around = replace(grid, shape=(5, 6, 7), affine=affine)
    made = reformat(stack(values, (1.0, 1.0, 1.0)), around, Work())
    assert_array_equal(made, np.pad(values, 1, constant_values=values.min()))


@given(
    row=st.tuples(*[st.integers(-5, 5)] * 3).filter(any),
    turn=st.tuples(*[st.integers(-5, 5)] * 3),
)
def test_any_two_directions_make_a_grid_that_keeps_lengths(
    row: tuple[int, int, int], turn: tuple[int, int, int]
) -> None:
    column = np.cross(row, turn)
    if not column.any():
        return
    words: dict[str, Any] = {
        name: ",".join(map(str, each)) for name, each in (("row", row), ("column", column.tolist()))
    }
    result = process(
        "mpr",
        stack(noise(3, 4, 5)),
        spacing=1,
        planes=2,
        **words,
    )
    mm = result.affine[:3, :3].T * SPACING
    assert_allclose(mm @ mm.T, np.eye(3), atol=1e-8)
    assert np.linalg.det(mm[::-1, ::-1]) == pytest.approx(1), (
        "right-handed: x, y and z as rows, columns, planes"
    )
    assert np.isfinite(result.stack.stored).all()


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"row": "1,0,0"}, "mpr needs axis, or row and column"),
        ({"axis": "x", "row": "1,0,0", "column": "0,1,0"}, "row can't be given with axis"),
        ({"row": "1,0,0", "column": "1,1,0"}, "45.0 degrees apart"),
        ({"row": "0,0,0", "column": "1,1,0"}, "can't be 0,0,0"),
        ({"row": "1,0", "column": "0,1,0"}, "row can't be '1,0'"),
        ({"axis": "z", "spacing": "0.00001"}, "are too many"),
    ],
)
def test_planes_that_can_not_be(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        process("mpr", stack(noise(3, 4, 5)), **given_)
    assert message in caught.value.message
    assert caught.value.advice


def test_one_slice_has_no_planes_through_others() -> None:
    with pytest.raises(UnsuitableStack, match="single slice"):
        process("mpr", stack(noise(1, 4, 5)), axis="x")
