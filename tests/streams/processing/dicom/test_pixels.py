"""Frames in stored values, and what they mean."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.dicom_files import part10, wheel_file
from tests.streams.processing.dicom.images import colour, image, stacked, volume

from medbus.streams.processing.dicom.derived import encoded
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.image import image_of
from medbus.streams.processing.dicom.pixels import Colour, frame_of, opened
from medbus.streams.processing.dicom.scale import Scale, padding_range, scale_of


def scale(made: Dataset, frame: int = 0) -> Scale:
    return scale_of(made, frame, image_of(made))


def test_hounsfield_units_of_stored_values() -> None:
    made = stacked(
        np.array([[[864, 1064], [1263, 1264]]], np.uint16),
        BitsStored=12,
        HighBit=11,
        WindowCenter=40,
        WindowWidth=400,
    )
    stack = volume(made).stack
    assert stack.values().tolist() == [[[-160, 40], [239, 240]]]
    assert stack.units == "HU"


def test_unused_bits_are_no_part_of_a_value() -> None:
    made = image(np.array([[0xF123, 0x0FFF]], np.uint16), BitsStored=12, HighBit=11)
    assert frame_of(made, 0).values.tolist() == [[0x123, 0xFFF]]


def test_the_sign_is_that_of_the_bits_stored() -> None:
    made = image(np.array([[0x0FFF, 0x0800, 0x07FF]], np.int16), BitsStored=12, HighBit=11)
    assert frame_of(made, 0).values.tolist() == [[-1, -2048, 2047]]


def test_a_high_bit_that_is_not_the_last_one_stored() -> None:
    unsigned = image(np.array([[0x123F, 0xFFF0]], np.uint16), BitsStored=12, HighBit=15)
    assert frame_of(unsigned, 0).values.tolist() == [[0x123, 0xFFF]]
    signed = image(np.array([[0x7FF0, 0xFFFF - 0x10000]], np.int16), BitsStored=12, HighBit=15)
    assert frame_of(signed, 0).values.tolist() == [[0x7FF, -1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
def test_every_depth_keeps_its_values(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    pixels = np.array([[limits.min, limits.max], [1, 0]], dtype)
    values = frame_of(image(pixels), 0).values
    assert values.dtype == dtype
    assert values.tolist() == pixels.tolist()


def test_32_bits_unsigned_up_to_31_bits() -> None:
    fits = image(np.array([[2**31 - 1, 7]], np.uint32))
    assert frame_of(fits, 0).values.tolist() == [[2**31 - 1, 7]]
    with pytest.raises(UnusableImage, match="31 bits"):
        frame_of(image(np.array([[2**31, 7]], np.uint32)), 0)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_native_pixels_in_every_encoding(syntax: str, tmp_path: Path) -> None:
    pixels = np.array([[1, 258], [-3, 4000]], np.int16)
    made = image(pixels)
    if syntax == ExplicitVRBigEndian:
        made.PixelData = pixels.astype(">i2").tobytes()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    data = part10(tmp_path / "image.dcm").data_set
    again = opened(data, syntax)
    assert frame_of(again, 0).values.tolist() == pixels.tolist()
    assert "PixelData" not in opened(data, syntax, pixels=False)


def test_frames_of_a_compressed_object_one_by_one() -> None:
    pixels = np.arange(2 * 6, dtype=np.uint16).reshape(2, 2, 3)
    made = image(pixels)
    made.compress(RLELossless, generate_instance_uid=False)
    assert [frame_of(made, index).values.tolist() for index in (1, 0)] == [
        pixels[1].tolist(),
        pixels[0].tolist(),
    ]


@pytest.mark.parametrize(
    ("compressed", "native"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
    ],
)
def test_compressed_pixels_are_those_of_the_native_original(compressed: str, native: str) -> None:
    one, other = dcmread(wheel_file(compressed)), dcmread(wheel_file(native))
    assert np.array_equal(frame_of(one, 0).values, frame_of(other, 0).values)


def test_a_sign_that_the_codestream_does_not_have() -> None:
    values = frame_of(dcmread(wheel_file("J2K_pixelrep_mismatch.dcm")), 0).values
    assert (values.min(), values.dtype.name) == (-2000, "int16")


def test_monochrome1_keeps_its_values() -> None:
    made = image(np.array([[3, 5]], np.uint16), PhotometricInterpretation="MONOCHROME1")
    assert frame_of(made, 0).values.tolist() == [[3, 5]]


# What stored values mean.


def test_a_modality_lut_is_looked_up_and_clipped() -> None:
    item = Dataset()
    item.LUTDescriptor = [3, 10, 16]
    item.ModalityLUTType = "OD"
    item.add_new("LUTData", "US", [100, 250, 60000])
    made = image(np.array([[0, 10, 11, 12, 4000]], np.uint16), ModalityLUTSequence=[item])
    assert frame_of(made, 0).values.tolist() == [[100, 100, 250, 60000, 60000]]
    assert scale(made) == Scale(1.0, 0.0, "OD")


def test_a_modality_lut_whose_first_value_is_negative() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [2, 65535, 12])
    item.add_new("LUTData", "OW", np.array([7, 9], "<u2").tobytes())
    made = image(np.array([[-2, -1, 0, 1]], np.int16), ModalityLUTSequence=[item])
    made.set_original_encoding(False, True)
    assert frame_of(made, 0).values.tolist() == [[7, 7, 9, 9]]


def test_units_without_a_rescale_type() -> None:
    rescaled = {"RescaleSlope": "2", "RescaleIntercept": "-5"}
    assert scale(image([[1]], **rescaled)) == Scale(2.0, -5.0, "HU")
    assert scale(image([[1]], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **rescaled)).units == ""
    assert scale(image([[1]], Modality="PT", Units="BQML", **rescaled)).units == "BQML"
    assert scale(image([[1]], Modality="MR", RescaleType="US", **rescaled)).units == ""
    assert scale(image([[1]], Modality="MR", **rescaled)) == Scale(2.0, -5.0, "")


def test_a_scale_for_each_frame() -> None:
    made = image(np.zeros((2, 1, 1), np.uint16), Modality="PT")
    groups = []
    for slope in ("0.5", "4"):
        transformation = Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, "0"
        transformation.RescaleType = "BQML"
        group = Dataset()
        group.PixelValueTransformationSequence = [transformation]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    assert [scale(made, frame).slope for frame in (0, 1)] == [0.5, 4.0]


def test_a_slope_of_0_is_refused() -> None:
    with pytest.raises(UnusableImage, match="slope is 0"):
        scale(image([[1]], RescaleSlope="0", RescaleIntercept="0"))


def test_a_bad_decimal_string_is_none() -> None:
    made = image([[1]])
    made.add_new("RescaleSlope", "LO", "one")
    assert scale(made).slope == 1.0


# Padding.


def test_padding_is_read_as_pixels_are() -> None:
    made = image(np.array([[-2000, 5]], np.int16))
    made.add_new("PixelPaddingValue", "US", 63536)
    assert padding_range(made, image_of(made)) == (-2000, -2000)
    found = frame_of(made, 0).padding
    assert found is not None
    assert found.tolist() == [[True, False]]


def test_a_range_of_padding() -> None:
    made = image(np.array([[0, 1, 2, 3]], np.uint16))
    made.add_new("PixelPaddingValue", "US", 2)
    made.add_new("PixelPaddingRangeLimit", "US", 1)
    found = frame_of(made, 0).padding
    assert found is not None
    assert found.tolist() == [[False, True, True, False]]


def test_padding_becomes_the_nearest_value_of_the_stack() -> None:
    objects = stacked(np.array([[[-2000, -1000]], [[-900, 50]]], np.int16), RescaleIntercept="0")
    for each in objects:
        each.add_new("PixelPaddingValue", "SS", -2000)
    read = volume(objects)
    assert read.stack.stored.tolist() == [[[-1000, -1000]], [[-900, 50]]]
    first = read.padding.of(0)
    assert first is not None
    assert first.tolist() == [[True, False]]
    assert read.padding.of(1) is None


def test_padding_above_all_values_becomes_the_greatest() -> None:
    objects = stacked(np.array([[[4095, 17, 900]]], np.uint16), PhotometricInterpretation="MONOCHROME1")
    objects[0].add_new("PixelPaddingValue", "US", 4095)
    assert volume(objects).stack.stored.tolist() == [[[900, 17, 900]]]


# Colour.


def test_colour_is_refused_unless_somebody_asks_for_it() -> None:
    with pytest.raises(UnusableImage, match=r"colour.*luminance"):
        frame_of(colour([[[255, 0, 0]]]), 0)


def test_red_green_and_blue_as_they_are() -> None:
    pixels = [[[255, 0, 3], [1, 2, 250]]]
    assert frame_of(colour(pixels), 0, colour=Colour.CHANNELS).values.tolist() == pixels


def test_luminance_when_it_is_asked_for() -> None:
    made = colour([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 10, 10]]])
    assert frame_of(made, 0, colour=Colour.LUMINANCE).values.tolist() == [[76, 150, 29, 10]]


def test_a_palette_is_looked_up() -> None:
    made = image(np.array([[0, 1]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for name, entries in (("Red", (0, 0xFF00)), ("Green", (0x8000, 0)), ("Blue", (0x1000, 0x2000))):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [2, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", np.array(entries, "<u2").tobytes())
    made.set_original_encoding(False, True)
    assert frame_of(made, 0, colour=Colour.CHANNELS).values.tolist() == [[[0, 0x80, 0x10], [0xFF, 0, 0x20]]]


# What can't be processed.


def broken(made: Dataset, **changes: object) -> Dataset:
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (image([[1]], Modality="SEG"), "segmentation"),
        (image([[1]], Modality="RTDOSE"), "dose"),
        (image(np.array([[1]], np.uint16), BitsAllocated=12), "12 bits"),
        (image([[1]], SamplesPerPixel=3), "samples"),
        (image([[1]], PhotometricInterpretation="HSV"), "HSV"),
        (broken(colour([[[1, 2, 3]]]), BitsAllocated=16, BitsStored=16, HighBit=15), "8 bits"),
        (image(np.array([[1]], np.uint16), BitsStored=16, HighBit=11), "bit 11"),
        (image(np.array([[1]], np.uint16), PixelData=b""), "decoded"),
    ],
)
def test_what_is_refused_says_why(made: Dataset, reason: str) -> None:
    with pytest.raises(UnusableImage, match=reason) as refused:
        frame_of(made, 0)
    assert refused.value.advice


def test_an_object_without_an_image_is_refused() -> None:
    with pytest.raises(UnusableImage, match="no image"):
        image_of(dcmread(wheel_file("test-SR.dcm")))


def test_an_unknown_transfer_syntax_is_refused() -> None:
    made = image([[1]])
    made.file_meta.TransferSyntaxUID = UID("1.2.3.4")
    with pytest.raises(UnusableImage, match="no decoder"):
        frame_of(made, 0)


def test_pixels_cut_short_are_refused() -> None:
    data = encoded(image(np.zeros((64, 64), np.uint16)))
    short = opened(data[:-1000], ExplicitVRLittleEndian)
    with pytest.raises(UnusableImage):
        frame_of(short, 0)
