"""Filters to the border and to the bit, and what a mask must have to be subtracted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from skimage import feature, filters
from tests.streams.processing.stacks import SPACING, noise, pixels, process, smooth, stack

from medbus.streams.processing.pixels import kernel
from medbus.streams.processing.pixels.errors import InvalidParameter, UnsuitableStack
from medbus.streams.processing.pixels.ranking import merge_exchange, selection

EVEN = (1.0, 1.0, 1.0)


@pytest.mark.parametrize("width", [1, 3, 5, 7])
@pytest.mark.parametrize("extent", ["frame", "volume"])
def test_median_is_that_of_scipy_to_the_border(width: int, extent: str) -> None:
    values = noise(4, 9, 11)
    size = (width if extent == "volume" else 1, width, width)
    expected = ndimage.median_filter(values, size, mode="reflect")
    assert_array_equal(pixels("median", stack(values), width=width, extent=extent), expected)


@pytest.mark.parametrize("wires", [1, 3, 5, 9, 15, 25, 27])
@given(seed=st.integers(0, 1000))
def test_the_network_selects_the_median_of_any_bits(wires: int, seed: int) -> None:
    """A network that sorts all zeros and ones sorts everything (Knuth, section 5.3.4, theorem Z)."""
    values = np.random.default_rng(seed).integers(0, 2, (wires, 300))
    whole, part = values.copy(), values.copy()
    for first, second in merge_exchange(wires):
        whole[[first, second]] = (
            np.minimum(whole[first], whole[second]),
            np.maximum(whole[first], whole[second]),
        )
    assert_array_equal(whole, np.sort(values, axis=0))
    for each in selection(wires):
        low, high = part[each.first].copy(), part[each.second].copy()
        part[each.first] = np.minimum(low, high) if each.lesser else -9
        part[each.second] = np.maximum(low, high) if each.greater else -9
    assert_array_equal(part[wires // 2], np.median(values, axis=0))


@pytest.mark.parametrize("pixels_", [1, 3, 5])
def test_mean_is_that_of_scipy_to_the_border(pixels_: int) -> None:
    values = smooth(6, 9, 11)
    expected = ndimage.uniform_filter(values, pixels_, mode="reflect")
    assert_allclose(pixels("mean", stack(values), pixels=pixels_, extent="volume"), expected, atol=1e-4)


def test_a_mean_in_mm_counts_pixels_at_its_edge_in_part() -> None:
    """2 mm over pixels of 0.8 mm are 2.5 pixels: one whole one, and three quarters of each neighbour."""
    spike = np.zeros((1, 1, 9), np.float32)
    spike[0, 0, 4] = 10
    found = pixels("mean", stack(spike, (1.0, 1.0, 0.8)), width=2)
    assert_allclose(found[0, 0], [0, 0, 0, 3, 4, 3, 0, 0, 0], rtol=1e-6)


@given(width=st.floats(0.01, 40))
def test_a_box_has_the_sum_one_and_no_negative_weight(width: float) -> None:
    weights = kernel.box(width).weights
    assert weights[0] + 2 * sum(weights[1:]) == pytest.approx(1)
    assert min(weights) >= -1e-9


@given(sigma=st.floats(0.01, 30))
def test_kernels_of_a_gaussian_have_their_moments(sigma: float) -> None:
    smooth_, curved = kernel.gaussian(sigma).weights, kernel.second(sigma).weights
    assert smooth_[0] + 2 * sum(smooth_[1:]) == pytest.approx(1)
    assert curved[0] + 2 * sum(curved[1:]) == pytest.approx(0, abs=1e-9)
    assert sum(weight * at**2 for at, weight in enumerate(curved)) == pytest.approx(1)


def test_a_filter_that_is_too_wide_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="reach over 800 pixels"):
        pixels("gaussian", stack(noise(1, 4, 4), EVEN), sigma=200)


def test_log_is_that_of_scipy_for_a_wide_gaussian() -> None:
    """Its kernel is sampled, ours is corrected: within 1 percent of the range at 2.5 pixels."""
    values = smooth(1, 40, 44)
    expected = ndimage.gaussian_laplace(values[0], 2.5, mode="reflect")
    found = pixels("log", stack(values, EVEN), sigma=2.5)[0]
    assert_allclose(found, expected, atol=0.01 * float(np.ptp(expected)))


def test_log_of_a_cosine_is_the_cosine_times_its_gain() -> None:
    wavelength, sigma, mm = 12.0, 2.0, 0.5
    at = (np.arange(96) + 0.5) * mm
    wave = np.cos(2 * np.pi * at / wavelength)
    found = pixels("log", stack(np.float32(wave[None, None]), (1.0, 1.0, mm)), sigma=sigma)
    radian = 2 * np.pi / wavelength
    gain = -(radian**2) * np.exp(-((radian * sigma) ** 2) / 2)
    assert_allclose(found[0, 0], gain * wave, atol=0.002 * abs(gain))


@pytest.mark.parametrize("dimensions", ["frame", "volume"])
def test_sobel_is_that_of_scikit_image_to_the_border(dimensions: str) -> None:
    """It divides by the root of the number of axes, and has twice the derivative."""
    values = smooth(7, 12, 13)
    found = pixels("sobel", stack(values, EVEN), extent=dimensions)
    if dimensions == "volume":
        expected = filters.sobel(values, mode="reflect") * np.sqrt(3) / 2
    else:
        expected = np.stack([filters.sobel(each, mode="reflect") for each in values]) * np.sqrt(2) / 2
    assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_canny_is_that_of_scikit_image_with_thresholds_that_matter(seed: int) -> None:
    """Its gradient is 8 times that of ours. Only its smoothing at the border is another one: 10 pixels."""
    values = ndimage.gaussian_filter(noise(96, 96, seed=seed, dtype=np.float32), 1.0)
    found = pixels("canny", stack(values[None], EVEN), sigma=1.5, low=8, high=16)[0] > 0
    expected = feature.canny(values, sigma=1.5, low_threshold=64, high_threshold=128, mode="reflect")
    all_edges = pixels("canny", stack(values[None], EVEN), sigma=1.5, low=0, high=0)[0] > 0
    core = (slice(10, -10),) * 2
    assert 50 < found[core].sum() < all_edges[core].sum() - 50, "the thresholds decide something"
    assert (found[core] != expected[core]).sum() <= 0.01 * found[core].sum()


def test_canny_sees_mm_and_not_pixels() -> None:
    """A slanted edge on pixels twice as high as wide is found where its stretched twin is."""
    rows, columns = np.mgrid[:60, :60]
    edge = (100 / (1 + np.exp(-(2.0 * rows + columns - 90) / 3))).astype(np.float32)
    found = pixels("canny", stack(edge[None], (1.0, 2.0, 1.0)), sigma=1.5, low=1, high=5)[0]
    lit = np.argwhere(found)
    lit = lit[((lit > 4) & (lit < 55)).all(axis=1)]  # its ends bend where the frame is mirrored
    assert len(lit) > 40
    assert np.abs(2.0 * lit[:, 0] + lit[:, 1] - 90).max() <= 1.5


def test_a_maximum_is_one_along_the_gradient_in_mm() -> None:
    """Beside each pixel along its gradient, one pixel farther down or along, bilinear between pixels."""
    spacing = np.array((3.0, 0.7))
    values = noise(30, 34, dtype=np.float64)
    smoothed = ndimage.gaussian_filter(values, 2.0 / spacing, mode="reflect", truncate=4)
    gradient = np.stack([ndimage.sobel(smoothed, axis) / 8 / spacing[axis] for axis in (0, 1)])
    magnitude = np.hypot(*gradient)
    towards = gradient / spacing[:, None, None]
    towards /= np.abs(towards).max(axis=0)
    at = np.mgrid[:30, :34].astype(np.float64)
    beside = [
        ndimage.map_coordinates(magnitude, at + sign * towards, order=1, mode="nearest") for sign in (1, -1)
    ]
    expected = (magnitude >= beside[0]) & (magnitude >= beside[1])
    found = pixels("canny", stack(values[None].astype(np.float32), (1.0, 3.0, 0.7)), sigma=2, low=0, high=0)
    inside = (slice(1, -1),) * 2
    assert expected[inside].sum() > 100
    assert (found[0][inside] != expected[inside]).sum() <= 2, "ties of rounding"


def test_band_pass_is_that_of_scikit_image_on_a_frame_with_its_mirror() -> None:
    """A Fourier transform of a frame and its mirror images has no border to treat."""
    frame = smooth(1, 24, 32)[0]
    mirrored = np.block([[frame, frame[:, ::-1]], [frame[::-1], frame[::-1, ::-1]]]).astype(np.float64)
    low, high = 1 / 16, 1 / 4
    expected = filters.butterworth(mirrored, high, high_pass=False, order=2, squared_butterworth=True)
    expected = filters.butterworth(expected, low, high_pass=True, order=2, squared_butterworth=True)
    found = pixels("band-pass", stack(frame[None], EVEN), low=4, high=16)[0]
    assert_allclose(found, expected[:24, :32], atol=1e-3 * float(np.ptp(expected)))


@pytest.mark.parametrize(
    ("wavelength", "gain"), [(32, 0.5), (8, 0.5), (16, 0.886), (128, 0.0039), (2.56, 0.0104)]
)
def test_a_cosine_has_the_gain_of_butterworth(wavelength: float, gain: float) -> None:
    """On anisotropic pixels, down the rows; the frame holds whole halves of each wave."""
    at = (np.arange(256) + 0.5) * 0.5
    wave = np.cos(2 * np.pi * at / wavelength).astype(np.float32)
    frame = np.tile(wave[:, None], (1, 6))[None]
    found = pixels("band-pass", stack(frame, (1.0, 0.5, 0.2)), low=8, high=32)
    assert_allclose(found[0, :, 3], gain * wave, atol=0.006)


def test_amount_none_sharpens_nothing() -> None:
    values = smooth(3, 9, 8)
    assert_allclose(pixels("unsharp", stack(values), radius=1, amount=0), values)


def test_a_constant_goes_through() -> None:
    flat = stack(np.full((4, 6, 7), 12, np.int16), SPACING, intercept=-1024.0)
    smoothing: dict[str, dict[str, Any]] = {
        "gaussian": {"sigma": 2},
        "mean": {"width": 3},
        "unsharp": {"radius": 2},
    }
    for name, more in smoothing.items():
        assert_allclose(pixels(name, flat, extent="volume", **more), -1012, rtol=1e-6)
    for name in ("laplacian", "gradient-magnitude", "sobel"):
        assert_array_equal(pixels(name, flat, extent="volume"), 0)
    assert_allclose(pixels("band-pass", flat, low=2, high=9), 0, atol=1e-3)


def test_nothing_flows_across_the_border() -> None:
    found = pixels("laplacian", stack(noise(5, 7, 6), EVEN), extent="volume")
    assert float(found.sum(dtype=np.float64)) == pytest.approx(0, abs=1e-3)


def test_sums_of_many_large_integers_are_exact() -> None:
    values = np.full((300, 2, 2), 2**30, np.int32)
    values[0] += 1
    assert_array_equal(pixels("add", stack(values)), np.float32(300 * 2**30 + 1))
    assert_array_equal(pixels("add", stack(values), how="mean"), np.float32((300 * 2**30 + 1) / 300))


@pytest.mark.parametrize(("down", "along"), [(0.5, 0.0), (0.25, -1.5), (-3.0, 2.0), (1000.0, 0.0)])
def test_a_mask_is_moved_as_scipy_moves_it(down: float, along: float) -> None:
    mask = smooth(1, 12, 14)
    blank = np.zeros((3, 12, 14), np.float32)
    expected = -ndimage.shift(mask[0].astype(np.float64), (down, along), order=1, mode="nearest")
    found = pixels("subtract", stack(blank), stack(mask), shift_rows=down, shift_columns=along)
    for each in found:
        assert_allclose(each, expected, atol=1e-3)


def test_masks_have_slope_and_intercept_of_their_own() -> None:
    values, mask = noise(2, 4, 5), noise(2, 4, 5, seed=3).astype(np.uint16)
    one = stack(values, slope=2.0, intercept=5.0)
    assert_array_equal(pixels("subtract", one, stack(mask, slope=0.5)), values * 2.0 + 5 - mask * 0.5)
    assert_array_equal(pixels("subtract", one, one), 0)
    fine = stack(values, slope=0.1, intercept=-1000.7)
    step = stack((values + 1).astype(np.int16), slope=0.1, intercept=-1000.7)
    assert_array_equal(pixels("subtract", step, fine), np.float32(0.1))
    extremes = np.array([[[-32768, 32767]]], np.int16)
    assert_array_equal(pixels("subtract", stack(extremes), stack(extremes[..., ::-1])), [[[-65535, 65535]]])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (stack(noise(2, 4, 5)), "A mask of the shape"),
        (stack(noise(3, 5, 4)), "A mask of the shape"),
        (stack(noise(3, 4, 5), EVEN), "The pixels of the mask"),
        (stack(noise(3, 4, 5), units="HU"), "The values of the mask are in HU"),
    ],
)
def test_masks_that_do_not_fit(mask: Any, message: str) -> None:
    with pytest.raises(UnsuitableStack, match=message) as caught:
        process("subtract", stack(noise(3, 4, 5)), mask)
    assert caught.value.advice
