"""Each operation against an independent implementation: SimpleITK, scikit-image, scipy.

Tolerances are of the values' own size. Where a reference treats the border otherwise, or has another kernel,
it is said there.
"""

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody does
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import ndimage
from skimage import feature, filters
from tests.streams.processing.stacks import SPACING, inner, noise, pixels, process, smooth, stack

VOLUME = smooth(20, 26, 30)
FINE = 1e-4


def itk(values: NDArray[Any]) -> Any:
    """As SimpleITK has it: its axes are x, y, z."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING[::-1])
    return image


def back(image: Any) -> NDArray[Any]:
    found: NDArray[Any] = sitk.GetArrayFromImage(image)
    return found


@pytest.mark.parametrize("extent", ["frame", "volume"])
def test_gaussian_is_that_of_scipy_with_the_sigma_of_each_axis(extent: str) -> None:
    across, down, along = (1.5 / each for each in SPACING)
    expected = ndimage.gaussian_filter(
        VOLUME, (across if extent == "volume" else 0, down, along), mode="reflect", truncate=4
    )
    assert_allclose(pixels("gaussian", stack(VOLUME), sigma=1.5, extent=extent), expected, atol=FINE * 100)


def test_gaussian_is_that_of_itk_away_from_the_border() -> None:
    """ITK's recursive filter approximates the Gaussian: within 1 percent of the range."""
    expected = back(sitk.SmoothingRecursiveGaussian(itk(VOLUME), 1.5))
    found = pixels("gaussian", stack(VOLUME), sigma=1.5, extent="volume")
    assert_allclose(inner(found, 5), inner(expected, 5), atol=0.01 * float(np.ptp(VOLUME)))


def test_mean_is_that_of_itk() -> None:
    expected = back(sitk.Mean(itk(VOLUME), [2, 2, 0]))
    assert_allclose(inner(pixels("mean", stack(VOLUME), pixels=5)), inner(expected), atol=FINE * 100)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_median_is_that_of_itk_to_the_bit(dtype: Any) -> None:
    values = (noise(9, 20, 22) % 250).astype(dtype)
    expected = back(sitk.Median(itk(values), [1, 1, 1]))
    assert_array_equal(
        inner(pixels("median", stack(values), width=3, extent="volume"), 1), inner(expected, 1)
    )


@pytest.mark.parametrize(("axis", "number"), [("z", 0), ("y", 1), ("x", 2)])
def test_derivatives_are_those_of_numpy(axis: str, number: int) -> None:
    expected = np.gradient(VOLUME, SPACING[number], axis=number)
    assert_allclose(pixels("derivative", stack(VOLUME), axis=axis), expected, atol=FINE * 10)


def test_gradient_magnitude_is_that_of_itk() -> None:
    expected = back(sitk.GradientMagnitude(itk(VOLUME)))
    found = pixels("gradient-magnitude", stack(VOLUME), extent="volume")
    assert_allclose(inner(found, 1), inner(expected, 1), atol=FINE * 100)


def test_laplacian_is_that_of_itk() -> None:
    expected = back(sitk.Laplacian(itk(VOLUME)))
    found = pixels("laplacian", stack(VOLUME), extent="volume")
    assert_allclose(inner(found, 1), inner(expected, 1), atol=FINE * 100)


def test_laplacian_of_gaussian_is_that_of_itk() -> None:
    """ITK's is recursive: within 2 percent of the range."""
    expected = back(sitk.LaplacianRecursiveGaussian(itk(VOLUME), 1.2))
    found = pixels("log", stack(VOLUME), sigma=1.2, extent="volume")
    assert_allclose(inner(found, 9), inner(expected, 9), atol=0.02 * float(np.ptp(expected)))


def test_sobel_is_that_of_scikit_image() -> None:
    """Of square pixels: it knows no mm, has twice the derivative, and divides by the root of 2 axes."""
    flat = VOLUME[:1]
    expected = filters.sobel(flat[0], mode="reflect") * np.sqrt(2) / 2
    assert_allclose(pixels("sobel", stack(flat, (1.0, 1.0, 1.0)))[0], expected, atol=FINE * 100)


def test_canny_finds_the_edges_that_scikit_image_finds() -> None:
    """Thin lines: nearly all of one lie on, or right beside, those of the other."""
    rows, columns = np.mgrid[:64, :64]
    disc = (np.hypot(rows - 30, columns - 33) < 20).astype(np.float32) * 100
    found = pixels("canny", stack(disc[np.newaxis], (1.0, 1.0, 1.0)), sigma=2, low=4, high=8)[0] > 0
    expected = feature.canny(disc, sigma=2, low_threshold=16, high_threshold=32)
    near_expected = ndimage.binary_dilation(expected, np.ones((3, 3)))
    near_found = ndimage.binary_dilation(found, np.ones((3, 3)))
    assert found.sum() > 80
    assert (found & near_expected).sum() / found.sum() > 0.95
    assert (expected & near_found).sum() / expected.sum() > 0.95


def test_unsharp_is_that_of_scikit_image() -> None:
    flat = VOLUME[0]
    expected = filters.unsharp_mask(flat, radius=1.5, amount=0.7, preserve_range=True)
    found = pixels("unsharp", stack(flat[np.newaxis], (1.0, 1.0, 1.0)), radius=1.5, amount=0.7)[0]
    assert_allclose(inner(found, 7), inner(expected, 7), atol=FINE * 100)


@pytest.mark.parametrize(
    ("name", "project"),
    [
        ("mip", sitk.MaximumProjection),
        ("minip", sitk.MinimumProjection),
        ("mean-projection", sitk.MeanProjection),
    ],
)
@pytest.mark.parametrize(("axis", "number"), [("x", 0), ("y", 1), ("z", 2)])
def test_projections_are_those_of_itk(name: str, project: Any, axis: str, number: int) -> None:
    values = noise(9, 12, 14)
    expected = np.squeeze(back(project(itk(values), number)))
    found = np.squeeze(pixels(name, stack(values), axis=axis))
    assert sorted(found.shape) == sorted(expected.shape)
    same = found if found.shape == expected.shape else found.T
    for candidate in (same, same[::-1], same[:, ::-1], same[::-1, ::-1]):
        if np.allclose(candidate, expected, rtol=1e-6):
            return
    pytest.fail(f"{name} along {axis} is not that of ITK")


def test_what_a_projection_says_of_its_place_is_where_its_values_come_from() -> None:
    values = noise(7, 8, 9)
    result = process("mip", stack(values), axis="y")
    made, affine = result.stack.stored, result.affine
    for index in np.ndindex(made.shape):
        place = np.rint(affine @ (*index, 1))[:3].astype(int)
        ray = [slice(None) if axis == 1 else int(place[axis]) for axis in range(3)]
        assert made[index] == values[tuple(ray)].max()
