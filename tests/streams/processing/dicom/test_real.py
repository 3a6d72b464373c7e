"""Real series and images, where the shared folder is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.dicom_files import shared_folder
from tests.gateways.dcmtk import run
from tests.streams.processing.dicom.images import processed, values_of, volume

from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.geometry import Irregularity
from medbus.streams.processing.dicom.pixels import Colour, frame_of
from medbus.streams.processing.dicom.series import arrange
from medbus.streams.processing.pixels.operation import settings
from medbus.streams.processing.pixels.projecting import MIP
from medbus.streams.processing.pixels.smoothing import GAUSSIAN

pytestmark = pytest.mark.skipif(
    shared_folder() is None, reason="no folder of real files; MEDBUS_TEST_DATA names one"
)


def read(*names: str) -> list[Dataset]:
    folder = shared_folder()
    assert folder is not None
    found = sorted(path for name in names for path in folder.glob(name))
    if not found:
        pytest.skip(f"the shared folder has no {', '.join(names)}")
    return [dcmread(path) for path in found]


@pytest.fixture(scope="module")
def head() -> list[Dataset]:
    return read("CT_series_GE_head28/*.dcm")


@pytest.fixture(scope="module")
def brain() -> list[Dataset]:
    return read("MR_series_GE_FSE20/*.dcm")


def test_a_head_with_a_tilted_gantry_and_two_spacings(head: list[Dataset]) -> None:
    (arrangement,) = arrange(head[::-1])
    assert [each.kind for each in arrangement.findings] == [Irregularity.UNEVEN, Irregularity.TILT]
    assert "1.081 to 6.999 mm apart, 4.002 mm in the median" in arrangement.findings[0].text
    assert "leans 18.50 degrees" in arrangement.findings[1].text  # Gantry/Detector Tilt says +18.5
    positions = [plane.position[2] for plane in arrangement.geometry.planes]
    assert positions == sorted(positions)


def test_a_brain_whose_positions_are_rounded(brain: list[Dataset]) -> None:
    (arrangement,) = arrange(brain)
    assert not arrangement.findings
    assert arrangement.geometry.spacing == pytest.approx((7.0, 0.859375, 0.859375), abs=1e-3)


async def test_the_projection_of_a_head_is_its_brightest_pixels(head: list[Dataset], tmp_path: Path) -> None:
    _, (made,) = processed(MIP, head)
    brightest = np.max([each.pixel_array for each in head], axis=0)
    expected = np.where(
        brightest == -1500, -1023, brightest
    )  # padding in all slices: the least value beside it
    assert np.array_equal(values_of(made), expected)
    picture = await rendered(made, tmp_path)
    # A skull: bright bone around, darker in the middle than bone, black outside.
    outside, middle = picture[:40, :40].mean(), picture[230:280, 230:280].mean()
    assert outside < 20 < middle < np.percentile(picture, 99)


async def test_the_projection_of_a_brain_is_its_brightest_pixels(
    brain: list[Dataset], tmp_path: Path
) -> None:
    _, (made,) = processed(MIP, brain)
    brightest = np.max([each.pixel_array for each in brain], axis=0)
    assert np.array_equal(values_of(made), np.maximum(brightest, 1))  # 0 is padding there
    picture = await rendered(made, tmp_path)
    assert picture[200:220, :20].mean() < 30 < picture[100:160, 100:160].mean()


@pytest.mark.parametrize("axis", ["z", "y", "x"])
@pytest.mark.parametrize("series", ["head", "brain"])
def test_projections_of_real_series_are_those_of_simpleitk(
    series: str, axis: str, request: pytest.FixtureRequest
) -> None:
    objects: list[Dataset] = request.getfixturevalue(series)
    stack = volume(objects).stack
    result = MIP.run([stack], settings(MIP, {"axis": axis}))
    image = sitk.GetImageFromArray(np.asarray(stack.stored))
    expected = sitk.GetArrayFromImage(sitk.MaximumProjection(image, "xyz".index(axis)))
    ours = np.squeeze(np.asarray(result.stack.stored))
    theirs = np.squeeze(expected)
    # From the side the head is up: the slices follow from the feet, so they are turned over.
    assert np.array_equal(ours, theirs) or np.array_equal(ours, theirs[::-1])


async def rendered(made: Dataset, folder: Path) -> NDArray[Any]:
    """As dcmtk shows it in its own window."""
    made.save_as(folder / "made.dcm", enforce_file_format=True)
    shown = await run("dcm2pnm", "--write-png", "--use-window", "1", folder / "made.dcm", folder / "made.png")
    assert shown.code == 0, shown.output
    with Image.open(folder / "made.png") as picture:
        return np.asarray(picture.convert("L"), np.float64)


def test_a_head_seen_from_the_side_after_resampling(head: list[Dataset]) -> None:
    _, (made,) = processed(MIP, head, {"axis": "x"}, resample=True)
    assert made.pixel_array.shape == (37, 611)
    row, column = np.array(made.ImageOrientationPatient, np.float64).reshape(2, 3)
    assert column[2] < -0.9  # the head is up
    assert abs(float(row @ column)) < 1e-6


@pytest.mark.parametrize(
    ("name", "frames", "sop_class"),
    [
        ("GH184", 1, "Positron Emission Tomography Image Storage"),
        ("966_fixed", 1, "Digital X-Ray Image Storage - For Presentation"),
        ("GH133", 1, "Digital Mammography X-Ray Image Storage - For Presentation"),
        ("693_UNCI", 1, "CT Image Storage"),
        ("J2K_pixelrep_mismatch", 1, "CT Image Storage"),
        ("NM-MONO2-16-13x-heart", 13, "Nuclear Medicine Image Storage"),
        ("eCT_Supplemental", 2, "Enhanced CT Image Storage"),
        ("emri_small", 10, "Multi-frame Grayscale Word Secondary Capture Image Storage"),
        ("jpeg_baseline_8bit", 96, "X-Ray Angiographic Image Storage"),
    ],
)
def test_every_kind_of_image_is_smoothed(name: str, frames: int, sop_class: str) -> None:
    objects = read(f"single/{name}.dcm")
    (result,), (made,) = processed(GAUSSIAN, objects, {"sigma": "1"})
    assert made.SOPClassUID.name == sop_class
    assert int(made.get("NumberOfFrames") or 1) == frames
    scale = made
    if "SharedFunctionalGroupsSequence" in made and "RescaleSlope" not in made:
        scale = made.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    slope, intercept = float(scale.get("RescaleSlope", 1)), float(scale.get("RescaleIntercept", 0))
    stored = made.pixel_array[0] if frames > 1 else made.pixel_array
    pixels = stored != made.get("PixelPaddingValue", stored.max() + 1.0)
    error = np.abs(stored * slope + intercept - result.stack.load(0))[pixels].max()
    assert error <= slope / 2 * 1.001 + 1e-3


@pytest.mark.parametrize(
    ("name", "frames"), [("examples_ybr_color", 30), ("OBXXXX1A_2frame", 2), ("US1_UNCI", 1)]
)
def test_colours_alone_stay_colours(name: str, frames: int) -> None:
    objects = read(f"single/{name}.dcm")
    results, made = processed(GAUSSIAN, objects, {"sigma": "0.001"}, colour=Colour.CHANNELS)
    assert len(results) == 3
    pixels = np.concatenate([each.pixel_array.reshape(-1, each.Rows, each.Columns, 3) for each in made])
    assert len(pixels) == frames
    assert np.array_equal(pixels[0], frame_of(objects[0], 0, colour=Colour.CHANNELS).values)


@pytest.mark.parametrize("name", ["liver", "rtplan", "test-SR", "waveform_ecg", "SC_rgb_rle_16bit_2frame"])
def test_what_is_no_image_of_intensities_is_refused(name: str) -> None:
    with pytest.raises(UnusableImage) as refused:
        volume(read(f"**/{name}.dcm"))
    assert refused.value.advice


def test_a_codec_that_is_not_there_is_named() -> None:
    with pytest.raises(UnusableImage, match="no decoder"):
        frame_of(read("single/will-jxl.dcm")[0], 0, colour=Colour.LUMINANCE)
