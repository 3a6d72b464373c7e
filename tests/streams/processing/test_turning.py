"""Projections with rays that are turned about an axis."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody does
from numpy.testing import assert_allclose, assert_array_equal
from tests.streams.processing.stacks import noise, pixels, process, smooth, stack

from medbus.streams.processing.pixels import turning

EVEN = (1.0, 1.0, 1.0)
PAIRS = list(itertools.permutations("zyx", 2))


@pytest.mark.parametrize("name", ["mip", "minip", "mean-projection"])
@pytest.mark.parametrize(("axis", "about"), PAIRS)
def test_without_an_angle_it_is_the_projection_along_the_axis(name: str, axis: str, about: str) -> None:
    values = stack(noise(6, 8, 10), EVEN, slope=2.0, intercept=-100.0)
    straight = process(name, values, axis=axis)
    turned = process(name, values, axis=axis, about=about)
    assert_allclose(turned.stack.values(), straight.stack.values(), rtol=1e-6)
    assert_allclose(turned.affine, straight.affine, atol=1e-12)


@pytest.mark.parametrize("angle", [90, -90, 180, 270])
@pytest.mark.parametrize(("axis", "about"), PAIRS)
def test_at_right_angles_each_value_is_the_greatest_on_the_ray_that_the_affine_names(
    axis: str, about: str, angle: int
) -> None:
    values = noise(6, 8, 10)
    result = process("mip", stack(values, EVEN), axis=axis, about=about, angle=angle)
    made = result.stack.stored
    along = int(np.abs(result.affine[:3, 0]).argmax())
    assert "zyx"[along] == ("xyz".replace(axis, "").replace(about, "") if angle % 180 else axis)
    for index in np.ndindex(made.shape):
        place: list[int | slice] = [int(each) for each in np.rint(result.affine @ (*index, 1))[:3]]
        place[along] = slice(None)
        assert made[index] == values[tuple(place)].max(), index


@pytest.mark.parametrize("angle", [30, 45, -20, 110])
@pytest.mark.parametrize(("axis", "about"), [("y", "z"), ("x", "z"), ("z", "y"), ("z", "x")])
def test_it_is_that_of_itk_on_the_same_rays(axis: str, about: str, angle: int) -> None:
    """Slabs of one pixel are values at the places that the affine names: SimpleITK evaluates them there."""
    spacing = (2.0, 0.8, 0.5)
    values = smooth(12, 18, 20)
    one = min(spacing["zyx".index(axis)], spacing["zyx".index("xyz".replace(axis, "").replace(about, ""))])
    result = process(
        "mip", stack(values, spacing), axis=axis, about=about, angle=angle, thickness=one, step=one
    )
    made = result.stack.stored
    image = sitk.GetImageFromArray(values)
    index = np.stack(np.meshgrid(*map(np.arange, made.shape), indexing="ij"), -1).reshape(-1, 3)
    places = index @ result.affine[:3, :3].T + result.affine[:3, 3]
    last = np.array(values.shape) - 1
    # For half a pixel beyond the outermost centres the border is repeated.
    within = ((places > -0.499) & (places < last + 0.499)).all(axis=1)
    at_border = within & ((places < 0) | (places > last)).any(axis=1)
    assert within.sum() > 1000
    assert at_border.sum() > 100
    expected = [
        image.EvaluateAtContinuousIndex(np.clip(place, 0, last)[::-1].tolist(), sitk.sitkLinear)
        for place in places[within]
    ]
    assert_allclose(made.reshape(-1)[within], expected, atol=1e-3)
    outside = ((places < -0.501) | (places > last + 0.501)).any(axis=1)
    assert_array_equal(made.reshape(-1)[outside], values.min())


@pytest.mark.parametrize(("axis", "about"), PAIRS)
def test_rays_turn_from_their_axis_towards_the_third_one(axis: str, about: str) -> None:
    """By 30 degrees: half of a ray is along the third axis, and what is beside it turns with it."""
    side = "zyx".index("xyz".replace(axis, "").replace(about, ""))
    values = stack(noise(6, 8, 10), EVEN)
    affine = process("mip", values, axis=axis, about=about, angle=30, thickness=1).affine
    ray = affine[:3, 0]
    assert ray["zyx".index(axis)] == pytest.approx(np.sqrt(0.75))
    assert ray[side] == pytest.approx(0.5)
    beside = affine[:3, 1 if "zyx".index(about) > side else 2]
    assert beside["zyx".index(axis)] == pytest.approx(-0.5)
    assert beside[side] == pytest.approx(np.sqrt(0.75))


def test_places_that_are_worked_out_apart_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    values = stack(smooth(3, 14, 15), (2.0, 0.8, 0.5))
    whole = pixels("mip", values, axis="y", about="z", angle=33, thickness=3)
    monkeypatch.setattr(turning, "POINTS", 20)
    assert_array_equal(pixels("mip", values, axis="y", about="z", angle=33, thickness=3), whole)


def test_the_whole_is_the_greatest_of_its_slabs() -> None:
    values = stack(smooth(6, 14, 15), (2.0, 0.8, 0.5))
    slabs = process("mip", values, axis="y", about="z", angle=33, thickness=2, step=1)
    whole = process("mip", values, axis="y", about="z", angle=33)
    assert_allclose(slabs.stack.stored.max(axis=0), whole.stack.stored[0])
    assert slabs.stack.spacing == (1.0, 2.0, 0.5)
    assert whole.stack.shape[0] == 1


@pytest.mark.parametrize("angle", [0, 17, 45, 90])
def test_the_mean_of_a_constant_is_that_constant(angle: int) -> None:
    values = stack(np.full((3, 9, 12), 7, np.int16), (2.0, 0.8, 0.5), intercept=-1000.0)
    found = pixels("mean-projection", values, axis="y", about="z", angle=angle)
    assert_allclose(found, -993, rtol=1e-6)


def test_a_ball_looks_the_same_from_everywhere_in_mm() -> None:
    """Of 8 mm on pixels of 2 x 0.8 x 0.5 mm: the shadow keeps its area to 5 percent."""
    spacing = (2.0, 0.8, 0.5)
    z, y, x = (np.arange(n) * mm for n, mm in zip((20, 50, 80), spacing, strict=True))
    distance = np.sqrt((z[:, None, None] - 19) ** 2 + (y[:, None] - 19.6) ** 2 + (x - 19.75) ** 2)
    ball = stack((distance < 8).astype(np.float32), spacing)
    for angle in (0, 25, 45, 90, 160):
        result = process("mip", ball, axis="y", about="z", angle=angle)
        area = (result.stack.stored > 0.5).sum() * result.stack.spacing[1] * result.stack.spacing[2]
        assert area == pytest.approx(np.pi * 64, rel=0.05), angle


def test_what_no_ray_meets_has_the_least_value() -> None:
    values = stack(np.full((2, 20, 20), 5, np.int16), EVEN, slope=1.0, intercept=-1024.0)
    made = pixels("mip", values, axis="y", about="z", angle=45, thickness=1)
    assert_array_equal(made, np.float32(-1019))
    lit = noise(2, 20, 20)
    lit[0, 0, 0] = -7
    corner = pixels("minip", stack(lit, EVEN), axis="y", about="z", angle=45, thickness=1)[0]
    assert corner[1, 0] == -7, "the first slab holds a corner of the stack only"


def test_a_single_row_can_be_turned() -> None:
    values = noise(3, 1, 8)
    found = pixels("mip", stack(values, EVEN), axis="y", about="z", angle=0)
    assert_array_equal(found[0], values[:, 0])


@pytest.mark.parametrize("name", ["mip", "minip", "mean-projection"])
def test_straight_projections_have_the_orientation_that_itk_has(name: str) -> None:
    """No turn, no flip: planes, then rows, then columns in the order of the stack."""
    project = {"mip": sitk.MaximumProjection, "minip": sitk.MinimumProjection}.get(name, sitk.MeanProjection)
    values = noise(7, 9, 11)
    for number, axis in enumerate("xyz"):
        expected = sitk.GetArrayFromImage(project(sitk.GetImageFromArray(values), number))
        found = pixels(name, stack(values), axis=axis)
        assert_allclose(found, np.moveaxis(expected, 2 - number, 0), rtol=1e-6)


def test_tapering_slabs_are_kept() -> None:
    values = noise(10, 4, 5)
    found = pixels("mip", stack(values, EVEN), axis="z", thickness=4, step=3)
    assert_array_equal(found, [values[a : a + 4].max(axis=0) for a in (0, 3, 6)])
    assert_array_equal(pixels("mip", stack(values, EVEN), thickness=4)[2], values[8:].max(axis=0))
    along_rows = pixels("mip", stack(values, EVEN), axis="x", thickness=2)
    assert_array_equal(along_rows[1], values[:, :, 2:4].max(axis=2))
    assert_array_equal(along_rows[2], values[:, :, 4])
