"""Operations on what has a closed-form answer."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tests.streams.processing.stacks import SPACING, inner, noise, pixels, process, smooth, stack

from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import InvalidParameter, UnsuitableStack
from medbus.streams.processing.pixels.operation import settings
from medbus.streams.processing.pixels.work import Work

SHAPE = (16, 18, 20)
Z, Y, X = (np.arange(n) * mm for n, mm in zip(SHAPE, SPACING, strict=True))
IN_MM = np.meshgrid(Z, Y, X, indexing="ij")

SETTINGS: dict[str, dict[str, Any]] = {
    "gaussian": {"sigma": 1.2},
    "mean": {"pixels": 3},
    "median": {"width": 3},
    "derivative": {"axis": "x"},
    "gradient-magnitude": {},
    "laplacian": {},
    "log": {"sigma": 1.2},
    "sobel": {},
    "band-pass": {"low": 2, "high": 6},
    "unsharp": {"radius": 1, "amount": 0.5},
    "mip": {"axis": "z"},
    "minip": {"axis": "x"},
    "mean-projection": {"axis": "y"},
    "add": {},
}
LINEAR = (
    "gaussian",
    "mean",
    "derivative",
    "laplacian",
    "log",
    "band-pass",
    "unsharp",
    "mean-projection",
    "add",
)


def test_a_ramp_has_one_derivative_everywhere() -> None:
    ramp = stack(np.float32(3 * IN_MM[0] - 5 * IN_MM[1] + 7 * IN_MM[2]), units="HU")
    for axis, slope in (("z", 3), ("y", -5), ("x", 7)):
        result = process("derivative", ramp, axis=axis)
        assert_allclose(result.stack.stored, slope, atol=1e-3)
        assert result.stack.units == "HU/mm"
    assert_allclose(pixels("gradient-magnitude", ramp, extent="volume"), np.sqrt(9 + 25 + 49), atol=1e-3)
    assert_allclose(inner(pixels("sobel", ramp, extent="volume"), 1), np.sqrt(83), atol=1e-3)


@pytest.mark.parametrize(("name", "given_"), [("laplacian", {}), ("log", {"sigma": 0.6})])
def test_the_laplacian_of_a_quadratic_is_constant(name: str, given_: dict[str, Any]) -> None:
    bowl = stack(np.float32(IN_MM[0] ** 2 + 2 * IN_MM[1] ** 2 - 0.5 * IN_MM[2] ** 2), units="HU")
    result = process(name, bowl, extent="volume", **given_)
    assert_allclose(inner(result.stack.stored, 6), 2 + 4 - 1, atol=0.02)
    assert result.stack.units == "HU/mm2"


def test_a_band_passes_its_cosines_and_stops_others() -> None:
    along = np.arange(128) + 0.5
    kept, long, short = (np.cos(2 * np.pi * along / each) for each in (16, 128, 2.56))
    frame = np.float32(np.tile(kept + long + short + 9, (1, 8, 1)))
    found = pixels("band-pass", stack(frame, (1, 1, 1)), low=8, high=32, order=4)
    assert_allclose(found[0, 3], kept, atol=0.03)
    by_frequency = pixels(
        "band-pass", stack(frame, (1, 1, 1)), low=1 / 32, high=1 / 8, unit="cycles/mm", order=4
    )
    assert_allclose(found, by_frequency, atol=1e-4)


@pytest.mark.parametrize(("angle", "width"), [(0, 5), (45, 7), (90, 5)])
def test_the_projection_of_a_rod_from_any_side(angle: float, width: int) -> None:
    """A square rod of 5 x 5 mm along z, off the middle: seen from its corner it is wider by a root of 2."""
    values = np.zeros((6, 41, 41), np.int16)
    values[:, 18:23, 26:31] = 100
    found = pixels("mip", stack(values, (1, 1, 1)), axis="y", about="z", angle=angle)
    line = np.squeeze(found).max(axis=0)
    assert line.max() == pytest.approx(100, abs=1e-3)
    assert abs(int((line > 50).sum()) - width) <= 1


def test_a_mask_that_is_moved_back_leaves_what_came_between() -> None:
    base = noise(1, 40, 40, dtype=np.int16)
    vessel = np.zeros_like(base)
    vessel[0, 18:22] = 300
    moved = np.roll(base, (3, -2), (1, 2))
    found = pixels("subtract", stack(base + vessel), stack(moved), shift_rows=-3, shift_columns=2)
    assert_array_equal(inner(found, 4), inner(vessel, 4))


def test_slabs_have_their_thickness_in_mm() -> None:
    values = noise(12, 5, 6)
    result = process("mip", stack(values), axis="z", thickness=10)
    assert result.stack.shape == (3, 5, 6)
    assert result.stack.spacing == (10, 0.8, 0.5)
    assert_array_equal(result.stack.stored[1], values[4:8].max(axis=0))
    assert result.stack.stored.dtype == np.int16


def test_values_are_in_modality_units() -> None:
    values = np.array([[[0, 100], [200, 300]]], np.int16)
    scaled = stack(values, slope=2.0, intercept=-1000.0, units="HU")
    assert_allclose(pixels("gaussian", scaled, sigma=0.001), values * 2.0 - 1000)
    mip = process("mip", scaled)
    assert mip.stack.values().max() == -400
    assert (mip.stack.slope, mip.stack.intercept, mip.stack.units) == (2.0, -1000.0, "HU")
    assert_allclose(
        pixels("add", stack(np.repeat(values, 3, 0), slope=2.0, intercept=-1000.0)), 3 * (values * 2.0 - 1000)
    )


def test_with_a_falling_slope_the_greatest_value_is_the_least_that_is_stored() -> None:
    values = noise(5, 4, 4)
    found = process("mip", stack(values, slope=-1.0))
    assert_allclose(found.stack.values()[0], -values.min(axis=0).astype(np.float32))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_reformatting_across_an_axis_shows_the_planes_that_are_there(axis: str) -> None:
    values = noise(6, 7, 8)
    even = stack(values, (1.0, 1.0, 1.0))
    result = process("mpr", even, axis=axis, spacing=1, step=1)
    made = result.stack.stored
    for index in np.ndindex(made.shape):
        place = result.affine @ (*index, 1)
        assert_allclose(place, np.rint(place), atol=1e-9)
        where = tuple(np.rint(place[:3]).astype(int))
        if all(0 <= at < size for at, size in zip(where, values.shape, strict=True)):
            assert made[index] == values[where]


@pytest.mark.parametrize("name", SETTINGS)
@given(slab=st.integers(1, 9), workers=st.sampled_from([1, 2]), seed=st.integers(0, 3))
def test_slabs_and_threads_change_no_bit(name: str, slab: int, workers: int, seed: int) -> None:
    values = stack(noise(9, 12, 10, seed=seed))
    more = dict(SETTINGS[name])
    if any(each.name == "extent" for each in OPERATIONS[name].parameters):
        more["extent"] = "volume"
    whole = pixels(name, values, **more)
    assert_array_equal(pixels(name, values, work=Work(workers=workers, slab=slab), **more), whole)


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_is_linear(name: str) -> None:
    one, other = smooth(8, 12, 12, seed=4), smooth(8, 12, 12, seed=5)
    more = SETTINGS[name]
    both = pixels(name, stack(2 * one - 3 * other), **more)
    apart = 2 * pixels(name, stack(one), **more) - 3 * pixels(name, stack(other), **more)
    assert_allclose(both, apart, atol=1e-3 * max(1.0, float(np.abs(apart).max())))


@pytest.mark.parametrize("name", ["gaussian", "mean", "median", "laplacian", "sobel", "unsharp"])
def test_what_is_moved_leads_to_what_is_moved(name: str) -> None:
    values = smooth(3, 40, 40)
    moved = np.roll(values, (2, 3), (1, 2))
    found, expected = (
        pixels(name, stack(moved), **SETTINGS[name]),
        pixels(name, stack(values), **SETTINGS[name]),
    )
    assert_allclose(inner(found, 16), inner(np.roll(expected, (2, 3), (1, 2)), 16), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "given_", "message"),
    [
        ("gaussian", {}, "gaussian needs sigma"),
        ("gaussian", {"sigma": "wide"}, "sigma can't be 'wide'"),
        ("gaussian", {"sigma": "-1"}, "sigma can't be -1 mm"),
        ("gaussian", {"sigma": "NaN"}, "sigma can't be 'NaN'"),
        ("gaussian", {"sigma": "1", "colour": "red"}, "gaussian has no parameter 'colour'"),
        ("mean", {}, "mean needs width or pixels"),
        ("mean", {"pixels": "4"}, "pixels can't be 4"),
        ("median", {"width": "2"}, "width can't be 2"),
        ("derivative", {"axis": "w"}, "axis can't be 'w'"),
        ("band-pass", {"low": "8", "high": "4"}, "low can't be 8, not below high"),
        ("mip", {"axis": "z", "about": "z"}, "about can't be z"),
        ("mip", {"angle": "10"}, "angle needs about"),
        ("mip", {"step": "2"}, "step needs thickness"),
        ("mpr", {}, "mpr needs axis, or row and column"),
    ],
)
def test_parameters_that_can_not_be(name: str, given_: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        settings(OPERATIONS[name], given_)
    assert message in caught.value.message
    assert caught.value.advice


def test_stacks_that_can_not_be() -> None:
    with pytest.raises(UnsuitableStack, match="have the shape"):
        stack(np.zeros((3, 3), np.int16))
    with pytest.raises(UnsuitableStack, match="complex"):
        stack(np.zeros((1, 3, 3), np.complex64))
    with pytest.raises(UnsuitableStack, match="is not three distances"):
        stack(noise(1, 3, 3), (1, 0, 1))
    with pytest.raises(UnsuitableStack, match="no derivative"):
        pixels("derivative", stack(noise(1, 3, 3)), axis="z")


def test_every_operation_explains_itself() -> None:
    for operation in OPERATIONS.values():
        assert operation.title
        assert len(operation.text) > 80
        assert all(parameter.text.endswith(".") for parameter in operation.parameters), operation.name


def test_a_result_says_what_was_done() -> None:
    assert (
        process("gaussian", stack(noise(2, 8, 8)), sigma=1.5).text
        == "Gaussian smoothing: sigma 1.5 mm, extent frame"
    )
