"""Results as derived objects: what they say, where they lie, and which values come back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from tests.gateways.dcmtk import run
from tests.streams.processing.dicom.images import (
    colour,
    image,
    new_series,
    processed,
    stacked,
    values_of,
    volume,
)

from medbus.streams.processing.dicom.derived import encoded
from medbus.streams.processing.dicom.errors import UnusableGeometry, UnusableImage
from medbus.streams.processing.dicom.identity import result_uid
from medbus.streams.processing.dicom.meaning import MEANINGS
from medbus.streams.processing.dicom.pixels import Colour, opened
from medbus.streams.processing.pixels.combining import ADD, SUBTRACT
from medbus.streams.processing.pixels.derivatives import GRADIENT_MAGNITUDE, LAPLACIAN
from medbus.streams.processing.pixels.projecting import MEAN_PROJECTION, MINIP, MIP
from medbus.streams.processing.pixels.reformatting import MPR
from medbus.streams.processing.pixels.smoothing import GAUSSIAN

SMOOTH = {"sigma": "0.5"}
MULTI_FRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"


def noisy(*shape: int, seed: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.random.default_rng(seed).integers(-1000, 3000, shape).astype(np.int16)


def series(slices: Any = None, **changes: Any) -> list[Dataset]:
    pixels = noisy(3, 6, 5) if slices is None else slices
    return stacked(pixels, **{"RescaleIntercept": "0", "WindowCenter": "40", "WindowWidth": "400", **changes})


def codes(sequence: Sequence[Dataset]) -> list[str]:
    return [each.CodeValue for each in sequence]


# What an object says.


def test_an_object_for_each_slice_in_a_new_series_of_the_same_study() -> None:
    objects = series(PatientName="ROE^RICHARD", AccessionNumber="A1")
    _, made = processed(GAUSSIAN, objects, SMOOTH)
    assert [each.SOPInstanceUID for each in made] == ["2.25.1.1", "2.25.1.2", "2.25.1.3"]
    for number, (source, each) in enumerate(zip(objects, made, strict=True), start=1):
        assert (each.PatientName, each.PatientID, each.AccessionNumber) == ("ROE^RICHARD", "4711", "A1")
        assert (each.StudyInstanceUID, each.SeriesInstanceUID) == (source.StudyInstanceUID, "2.25.1")
        assert each.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert (each.SOPClassUID, each.Modality) == (source.SOPClassUID, "CT")
        assert (each.SeriesNumber, each.InstanceNumber) == (900, number)
        assert each.ImageType == ["DERIVED", "SECONDARY", "AXIAL", "GAUSSIAN"]
        assert (each.ContentDate, each.ContentTime) == ("20260102", "030405.000000")
        assert each.SeriesDescription == "Gaussian smoothing"


def test_what_was_done_and_to_what() -> None:
    objects = series()
    _, made = processed(GAUSSIAN, objects, SMOOTH)
    assert made[1].DerivationDescription.startswith(
        "Gaussian smoothing: sigma 0.5 mm, extent frame; stored to within"
    )
    assert codes(made[1].DerivationCodeSequence) == ["113088"]
    (source,) = made[1].SourceImageSequence
    assert source.ReferencedSOPInstanceUID == objects[1].SOPInstanceUID
    assert codes(source.PurposeOfReferenceCodeSequence) == ["121322"]


def test_who_did_it_stands_beside_who_acquired_it() -> None:
    _, made = processed(GAUSSIAN, series(Manufacturer="ACME"), SMOOTH)
    assert made[0].Manufacturer == "ACME"
    (equipment,) = made[0].ContributingEquipmentSequence
    assert (equipment.Manufacturer, equipment.SoftwareVersions) == ("medbus", "0.1.0")
    assert codes(equipment.PurposeOfReferenceCodeSequence) == ["109102"]
    assert equipment.ContributionDateTime == "20260102030405.000000+0000"


def test_a_volume_filter_names_the_slices_that_it_sees() -> None:
    objects = series(noisy(7, 4, 4))
    uids = [each.SOPInstanceUID for each in objects]

    def named(sigma: str, index: int) -> list[str]:
        _, made = processed(GAUSSIAN, objects, {"sigma": sigma, "extent": "volume"})
        return [each.ReferencedSOPInstanceUID for each in made[index].SourceImageSequence]

    assert named("0.5", 3) == uids[1:6]  # 4 sigma are one slice of 2 mm
    assert named("0.5", 0) == uids[:3]
    assert named("3", 3) == uids


def test_an_earlier_derivation_is_not_forgotten() -> None:
    earlier = Dataset()
    earlier.CodeValue, earlier.CodingSchemeDesignator, earlier.CodeMeaning = (
        "113040",
        "DCM",
        "Lossy Compression",
    )
    objects = series(
        DerivationDescription="squeezed", DerivationCodeSequence=[earlier], LossyImageCompression="01",
        LossyImageCompressionMethod="ISO_10918_1", LossyImageCompressionRatio="12",
    )  # fmt: skip
    _, made = processed(GAUSSIAN, objects, SMOOTH)
    assert made[0].DerivationDescription.startswith("squeezed; Gaussian smoothing")
    assert codes(made[0].DerivationCodeSequence) == ["113040", "113088"]
    assert (made[0].LossyImageCompression, made[0].LossyImageCompressionRatio) == ("01", 12)


def test_once_lossy_always_lossy_even_where_only_the_retired_element_says_so() -> None:
    objects = series()
    objects[2].add_new(0x00082110, "CS", "01")
    _, made = processed(MIP, objects)
    assert made[0].LossyImageCompression == "01"
    assert 0x00082110 not in made[0]


def test_burned_in_names_are_said_of_the_result_too() -> None:
    objects = series(BurnedInAnnotation="NO")
    objects[1].BurnedInAnnotation = "YES"
    _, made = processed(MIP, objects)
    assert made[0].BurnedInAnnotation == "YES"


def test_what_is_private_or_about_the_source_pixels_is_left_out() -> None:
    item = Dataset()
    item.add_new(0x00091001, "LO", "inner secret")
    item.CodeMeaning = "kept"
    objects = series(SmallestImagePixelValue=0, ProcedureCodeSequence=[item])
    for each in objects:
        each.add_new(0x00090010, "LO", "ACME")
        each.add_new(0x00091001, "LO", "secret")
        each.add_new(0x60003000, "OW", b"\0\0")
    _, made = processed(GAUSSIAN, objects, SMOOTH)
    assert "secret" not in str(made[0])
    assert 0x60003000 not in made[0]
    assert "SmallestImagePixelValue" not in made[0]
    assert made[0].ProcedureCodeSequence[0].CodeMeaning == "kept"
    assert (
        objects[0].ProcedureCodeSequence[0][0x00091001].value == "inner secret"
    )  # the source is not touched


def test_a_projection_says_only_what_all_sources_say() -> None:
    objects = series(StationName="CT1")
    for number, each in enumerate(objects):
        each.TableHeight, each.KVP = str(number), str(100 + number)
    _, made = processed(MIP, objects)
    assert made[0].StationName == "CT1"
    assert "TableHeight" not in made[0]
    assert made[0].KVP is None  # wanted, if only empty


# Values.


def test_smoothed_values_come_back_within_the_error_that_is_said() -> None:
    objects = series()
    (result,), made = processed(GAUSSIAN, objects, SMOOTH)
    for index, each in enumerate(made):
        said = float(each.DerivationDescription.rsplit(" ", 1)[1])
        assert said == float(each.RescaleSlope) / 2
        assert np.abs(values_of(each) - result.stack.load(index)).max() <= said * 1.001
        assert each.RescaleType == "HU"


def test_exact_values_stay_the_stored_integers() -> None:
    pixels = noisy(3, 4, 5)
    _, made = processed(MIP, series(pixels, RescaleSlope="2", RescaleIntercept="-1024"))
    assert np.array_equal(made[0].pixel_array, pixels.max(axis=0))
    assert (made[0].RescaleSlope, made[0].RescaleIntercept, made[0].PixelRepresentation) == (2, -1024, 1)
    assert "stored to within" not in made[0].DerivationDescription


def test_the_unit_of_a_gradient_is_said() -> None:
    ramp = np.broadcast_to(np.arange(0, 50, 10, dtype=np.int16), (2, 4, 5))
    _, made = processed(GRADIENT_MAGNITUDE, series(ramp))
    assert made[0].RescaleType == "HU/mm"
    assert np.allclose(values_of(made[0]), 20)  # 10 HU in 0.5 mm


def test_padding_is_padding_again() -> None:
    pixels = noisy(2, 4, 5)
    pixels[1, 0, 0] = -2000
    objects = series(pixels)
    for each in objects:
        each.add_new("PixelPaddingValue", "SS", -2000)
    _, made = processed(GAUSSIAN, objects, SMOOTH)
    assert made[1].PixelPaddingValue == made[1].pixel_array[0, 0] == -32768
    assert values_of(made[1])[0, 1] > -1001  # nothing of -2000 smeared into it
    assert (made[0].pixel_array > -32768).all()


def test_the_window_of_the_source_where_it_fits() -> None:
    _, made = processed(GAUSSIAN, series(), SMOOTH)
    assert (made[0].WindowCenter, made[0].WindowWidth) == (40, 400)
    assert "VOILUTFunction" not in made[0]


@pytest.mark.parametrize("operation", [MIP, LAPLACIAN])
def test_a_window_by_the_values_where_it_does_not(operation: Any) -> None:
    (result,), made = processed(operation, series())
    low, high = np.percentile(result.stack.values(), (1, 99))
    assert float(made[0].WindowCenter) == pytest.approx((low + high) / 2, rel=1e-4)
    assert float(made[0].WindowWidth) == pytest.approx(high - low, rel=1e-4)
    assert made[0].VOILUTFunction == "LINEAR_EXACT"


def test_a_window_of_no_width_is_not_kept() -> None:
    _, made = processed(GAUSSIAN, series(WindowWidth="0"), SMOOTH)
    assert float(made[0].WindowWidth) > 1


# Where a result lies.


def plane(made: Dataset) -> tuple[list[float], list[float], list[float]]:
    return (
        [float(each) for each in made.ImagePositionPatient],
        [float(each) for each in made.ImageOrientationPatient],
        [float(each) for each in made.PixelSpacing],
    )


def test_slices_keep_their_planes_however_uneven() -> None:
    places = [(1, 2, 0), (1, 2, 2), (1, 2, 5)]
    _, made = processed(GAUSSIAN, series(positions=places), SMOOTH)
    assert [plane(each)[0] for each in made] == [[1, 2, 0], [1, 2, 2], [1, 2, 5]]
    assert [each.SliceLocation for each in made] == [0, 2, 5]
    assert made[0].SliceThickness == 2


def test_a_projection_across_the_slices_lies_in_the_middle_as_thick_as_the_stack() -> None:
    objects = series()
    _, made = processed(MIP, objects)
    assert plane(made[0]) == ([0, 0, 2], [1, 0, 0, 0, 1, 0], [0.5, 0.5])
    assert made[0].SliceThickness == 6
    assert len(made[0].SourceImageSequence) == 3


def test_slabs_have_a_thickness_a_distance_and_sources_of_their_own() -> None:
    objects = series(noisy(6, 4, 4))
    _, made = processed(MIP, objects, {"thickness": "4", "step": "2"})
    assert [plane(each)[0][2] for each in made] == [1, 3, 5, 7, 9]
    assert [float(each.SliceThickness) for each in made] == [4] * 5
    assert [float(each.SpacingBetweenSlices) for each in made] == [2] * 5
    sources = [[each.ReferencedSOPInstanceUID for each in one.SourceImageSequence] for one in made]
    uids = [each.SOPInstanceUID for each in objects]
    assert sources == [uids[index : index + 2] for index in range(5)]


def test_a_coronal_projection_has_the_head_up() -> None:
    pixels = noisy(3, 4, 5)
    _, made = processed(MIP, series(pixels, spacing=(0.8, 0.5)), {"axis": "y"})
    # Rows are slices from the head (z = 4) to the feet; the plane is in the middle of 4 rows of 0.8 mm.
    assert plane(made[0]) == ([0, pytest.approx(1.2), 4], [1, 0, 0, 0, 0, -1], [2, 0.5])
    assert np.array_equal(made[0].pixel_array, pixels.max(axis=1)[::-1])
    assert float(made[0].SliceThickness) == pytest.approx(3.2)


def test_a_sagittal_projection_of_a_tilted_stack_needs_resampling() -> None:
    tilt = 0.3
    orientation = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt))
    objects = series(
        noisy(4, 8, 5), positions=[(0, 0, 3 * each) for each in range(4)], orientation=orientation
    )
    with pytest.raises(UnusableGeometry, match="degrees apart") as refused:
        processed(MIP, objects, {"axis": "x"})
    assert "resampled" in refused.value.advice
    _, made = processed(MIP, objects, {"axis": "x"}, resample=True)
    row, column = np.array(plane(made[0])[1]).reshape(2, 3)
    assert float(row @ column) == pytest.approx(0, abs=1e-6)
    assert codes(made[0].DerivationCodeSequence) == ["113085", "113078"]
    assert "Resampled by linear interpolation" in made[0].DerivationDescription


@bounds(max_examples=40, deadline=None)
@given(
    axis=st.sampled_from("xyz"),
    about=st.sampled_from(["", "x", "y", "z"]),
    angle=st.integers(-80, 80),
)
def test_every_pixel_of_a_projection_lies_where_the_affine_says(axis: str, about: str, angle: int) -> None:
    objects = series(np.ones((3, 4, 5), np.int16), orientation=(0, 1, 0, 0, 0, -1), positions=[
        (2.0 * each, 7, 9) for each in (2, 1, 0)
    ])  # fmt: skip
    given_ = {"axis": axis}
    if about not in ("", axis):
        given_ |= {"about": about, "angle": str(angle)}
    (result,), made = processed(MINIP, objects, given_)
    source = volume(objects)
    position, orientation, spacing = plane(made[0])
    row, column = np.array(orientation).reshape(2, 3)
    _, rows, _ = result.stack.shape
    up = column[2] < -np.sqrt(0.5) and not np.allclose(
        (source.geometry.affine @ result.affine)[:3, 1] / spacing[0], column, atol=1e-6
    )
    for index in ((0, 0), (1, 2)):
        place = np.array(position) + index[0] * spacing[0] * column + index[1] * spacing[1] * row
        in_result = (0, rows - 1 - index[0] if up else index[0], index[1], 1)
        assert place == pytest.approx((source.geometry.affine @ result.affine @ in_result)[:3], abs=1e-4)


def test_a_reformatted_plane_lies_at_its_point_and_names_the_slices_it_crosses() -> None:
    objects = series(noisy(4, 6, 5), spacing=(0.5, 0.5))
    # Across the slices at z = 3 mm: half way between the second slice and the third.
    _, (made,) = processed(MPR, objects, {"axis": "z", "point": "0,0,3", "planes": "1"})
    assert plane(made) == ([0, 0, 3], [1, 0, 0, 0, 1, 0], [0.5, 0.5])
    pixels = np.array([each.pixel_array for each in objects], np.float64)
    assert np.abs(values_of(made) - (pixels[1] + pixels[2]) / 2).max() <= float(made.RescaleSlope) / 2 * 1.001
    named = [each.ReferencedSOPInstanceUID for each in made.SourceImageSequence]
    assert named == [objects[1].SOPInstanceUID, objects[2].SOPInstanceUID]
    assert codes(made.DerivationCodeSequence) == ["113072"]


# Which object it becomes.


def test_pet_keeps_its_class_with_the_intercept_0() -> None:
    objects = stacked(
        noisy(2, 4, 4).clip(0), Modality="PT", SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.128"), Units="BQML",
        RescaleSlope="0.25", RescaleIntercept="0", ImageType=["ORIGINAL", "PRIMARY"],
    )  # fmt: skip
    (result,), made = processed(GAUSSIAN, objects, SMOOTH)
    assert (made[0].SOPClassUID, made[0].RescaleIntercept) == ("1.2.840.10008.5.1.4.1.1.128", 0)
    assert made[0].ImageType == ["DERIVED", "PRIMARY", "GAUSSIAN"]
    assert np.abs(values_of(made[0]) - result.stack.load(0)).max() <= float(made[0].RescaleSlope) / 2 * 1.001
    _, (gradient,) = processed(GRADIENT_MAGNITUDE, objects)
    assert (gradient.SOPClassUID, gradient.RescaleType) == (MULTI_FRAME_CAPTURE, "BQML/mm")


def radiograph(pixels: Any, **changes: object) -> Dataset:
    return image(
        pixels,
        **{
            "Modality": "DX",
            "SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.1.1"),
            "ImageType": ["ORIGINAL", "PRIMARY", ""],
            "PhotometricInterpretation": "MONOCHROME1",
            "RescaleSlope": "1",
            "RescaleIntercept": "0",
            "RescaleType": "US",
            "ImagerPixelSpacing": ["0.1", "0.1"],
            **changes,
        },
    )


def test_a_radiograph_is_rounded_and_stays_monochrome1() -> None:
    pixels = np.arange(0, 4000, 250, dtype=np.uint16).reshape(4, 4)
    (result,), (made,) = processed(GAUSSIAN, [radiograph(pixels)], {"sigma": "0.1"})
    assert (made.SOPClassUID, made.PhotometricInterpretation) == (
        "1.2.840.10008.5.1.4.1.1.1.1",
        "MONOCHROME1",
    )
    assert (made.RescaleSlope, made.RescaleIntercept, made.PixelRepresentation) == (1, 0, 0)
    assert np.array_equal(made.pixel_array, np.rint(result.stack.load(0)))
    assert "stored to within 0.5" in made.DerivationDescription


def test_what_does_not_fit_a_radiograph_becomes_a_secondary_capture() -> None:
    (result,), (made,) = processed(LAPLACIAN, [
        radiograph(noisy(8, 8).clip(0).astype(np.uint16), ImagerPixelSpacing=["0.3", "0.3"])
    ])  # fmt: skip
    assert (made.SOPClassUID, made.Modality) == (MULTI_FRAME_CAPTURE, "DX")
    assert (made.BitsAllocated, made.PixelRepresentation, made.NumberOfFrames) == (16, 0, 1)
    error = np.abs(values_of(made) - result.stack.load(0)).max()
    assert 0 < error <= float(made.RescaleSlope) / 2 * 1.01


def angiogram(pixels: Any) -> Dataset:
    return image(
        pixels, Modality="XA", SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.12.1"),
        ImageType=["ORIGINAL", "PRIMARY", "SINGLE PLANE"], FrameTime="33", FrameIncrementPointer=0x00181063,
    )  # fmt: skip


def test_a_run_smoothed_stays_a_run_of_8_bits() -> None:
    _, (made,) = processed(GAUSSIAN, [angiogram(np.full((3, 4, 4), 7, np.uint8))], {"sigma": "1"})
    assert (made.SOPClassUID, made.NumberOfFrames, made.BitsStored) == ("1.2.840.10008.5.1.4.1.1.12.1", 3, 8)
    assert (made.pixel_array == 7).all()
    assert made.FrameIncrementPointer == 0x00181063
    assert made.SourceImageSequence[0].ReferencedFrameNumber == [1, 2, 3]


def test_a_subtraction_names_its_mask_and_keeps_the_sign() -> None:
    live, mask = (
        angiogram(np.array([[[10, 200]], [[0, 9]]], np.uint8)),
        angiogram(np.array([[[20, 50]]], np.uint8)),
    )
    _, (made,) = processed(SUBTRACT, [live], mask=[mask])
    assert values_of(made).tolist() == [[[-10, 150]], [[-20, -41]]]
    assert made.SOPClassUID == MULTI_FRAME_CAPTURE
    purposes = {
        each.ReferencedSOPInstanceUID: codes(each.PurposeOfReferenceCodeSequence)
        for each in made.SourceImageSequence
    }
    assert purposes == {live.SOPInstanceUID: ["121322"], mask.SOPInstanceUID: ["121321"]}
    assert made.PageNumberVector == [1, 2]


def test_an_enhanced_object_stays_one_with_its_groups() -> None:
    made_by = enhanced(noisy(2, 4, 4))
    (result,), (made,) = processed(GAUSSIAN, [made_by], SMOOTH)
    assert (made.SOPClassUID, made.NumberOfFrames) == (made_by.SOPClassUID, 2)
    assert made.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "FILTERED"]
    (shared,) = made.SharedFunctionalGroupsSequence
    (scale,) = shared.PixelValueTransformationSequence
    stored = made.pixel_array[0] * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
    assert np.abs(stored - result.stack.load(0)).max() <= float(scale.RescaleSlope) / 2 * 1.001
    # The second frame of the source is the first slice: it lies below.
    frames = made.PerFrameFunctionalGroupsSequence
    assert [each.PlanePositionSequence[0].ImagePositionPatient[2] for each in frames] == [0, 3]
    sources = [each.DerivationImageSequence[0].SourceImageSequence[0] for each in frames]
    assert [each.ReferencedFrameNumber for each in sources] == [2, 1]
    assert [each.FrameContentSequence[0].DimensionIndexValues for each in frames] == [[1, 1], [1, 2]]
    assert frames[0].FrameContentSequence[0].FrameComments == "second"
    (study,) = made.SourceImageEvidenceSequence
    assert study.StudyInstanceUID == made_by.StudyInstanceUID


def enhanced(pixels: Any) -> Dataset:
    made = image(
        pixels, SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.2.1"), FrameOfReferenceUID="1.2.9",
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
    )  # fmt: skip
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.7", "0.4"], "3"
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for depth, comment in ((3, "first"), (0, "second")):
        position, content, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, content.FrameComments = [0, 0, depth], comment
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    return made


def test_a_projection_of_an_enhanced_object_says_how_it_was_calculated() -> None:
    _, (made,) = processed(MIP, [enhanced(noisy(2, 4, 4))])
    assert (made.VolumeBasedCalculationTechnique, made.ImageType[3]) == ("MAX_IP", "MAXIMUM")
    (frame,) = made.PerFrameFunctionalGroupsSequence
    assert frame.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 1.5]


# Colour.


def test_red_green_and_blue_are_put_together_again() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    results, (made,) = processed(GAUSSIAN, [colour(pixels)], {"sigma": "1"}, colour=Colour.CHANNELS)
    assert (made.PhotometricInterpretation, made.SamplesPerPixel) == ("RGB", 3)
    expected = np.stack([np.rint(each.stack.load(0)) for each in results], axis=-1)
    assert np.array_equal(made.pixel_array, expected)
    assert "WindowCenter" not in made


def test_a_luminance_is_grey() -> None:
    _, (made,) = processed(GAUSSIAN, [colour(np.full((3, 3, 3), 9))], {"sigma": "1"}, colour=Colour.LUMINANCE)
    assert (made.PhotometricInterpretation, made.SamplesPerPixel) == ("MONOCHROME2", 1)
    assert (made.pixel_array == 9).all()
    assert made.DerivationDescription.startswith("Of the luminance; ")


def test_edges_of_red_green_and_blue_are_no_colours() -> None:
    with pytest.raises(UnusableImage, match="no colours"):
        processed(LAPLACIAN, [colour(np.zeros((3, 3, 3)))], colour=Colour.CHANNELS)


# Identity and encoding.


def request(**changes: Any) -> str:
    said: dict[str, Any] = {
        "inputs": [["blake3:aa", "blake3:bb"], ["blake3:cc"]], "operation": "mip", "settings": {"axis": "z"},
        "version": "1", "part": "series",
    }  # fmt: skip
    said |= changes
    return result_uid(said.pop("inputs"), **said)


def test_the_same_request_has_the_same_uid() -> None:
    assert request() == request(inputs=[["blake3:bb", "blake3:aa"], ["blake3:cc"]])
    assert UID(request()).is_valid
    assert request().startswith("2.25.")


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": [["blake3:cc"], ["blake3:aa", "blake3:bb"]]},
        {"inputs": [["blake3:aa"], ["blake3:bb", "blake3:cc"]]},
        {"operation": "minip"},
        {"settings": {"axis": "y"}},
        {"version": "2"},
        {"part": "1"},
    ],
)
def test_another_request_has_another_uid(changes: dict[str, Any]) -> None:
    assert request(**changes) != request()


def test_the_same_request_makes_the_same_bytes() -> None:
    objects = series()
    first, second = (processed(GAUSSIAN, objects, SMOOTH)[1] for _ in range(2))
    assert [encoded(each) for each in first] == [encoded(each) for each in second]


def test_the_bytes_of_a_result_are_read_back() -> None:
    _, made = processed(ADD, series())
    again = opened(encoded(made[0]), ExplicitVRLittleEndian)
    written = {each.tag: each.value for each in made[0]}
    assert {each.tag: each.value or None for each in again} == {
        tag: value or None for tag, value in written.items()
    }
    assert "TransferSyntaxUID" not in encoded(made[0]).decode("latin-1")


async def test_others_read_a_result(tmp_path: Path) -> None:
    objects = series(noisy(3, 16, 16))
    (result,), made = processed(MEAN_PROJECTION, objects)
    path = tmp_path / "result.dcm"
    made[0].save_as(path, enforce_file_format=True)
    assert (
        np.abs(values_of(dcmread(path)) - result.stack.load(0)).max()
        <= float(made[0].RescaleSlope) / 2 * 1.001
    )
    dump = await run("dcmdump", "+P", "ImageType", "+P", "RescaleSlope", path)
    assert dump.code == 0
    assert "DERIVED\\SECONDARY\\AXIAL\\MEAN_PROJECTION" in dump.output
    rendered = await run("dcm2pnm", "--write-16-bit-pnm", "--use-window", "1", path, tmp_path / "result.pgm")
    assert rendered.code == 0, rendered.output
    assert (tmp_path / "result.pgm").read_bytes().startswith(b"P")


def test_each_operation_has_a_meaning() -> None:
    pytest.importorskip("scipy")
    from medbus.streams.processing.pixels.catalogue import OPERATIONS

    assert set(MEANINGS) == set(OPERATIONS)
    assert all(len(each.term) <= 16 for each in MEANINGS.values())


def test_codes_are_those_of_the_standard() -> None:
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr._concepts_dict import concepts

    listed: Any = cid_concepts[7203]["DCM"]
    table: Any = concepts["DCM"]
    known = {code: meaning for keyword in listed for code, (meaning, _) in table[keyword].items()}
    for meaning in MEANINGS.values():
        for code in meaning.codes:
            assert known[code.value] == code.meaning


def test_a_header_that_is_missing_is_named() -> None:
    from medbus.streams.processing.dicom.derived import derive
    from medbus.streams.processing.pixels.operation import settings

    objects = series()
    read = volume(objects)
    chosen = settings(MIP, {})
    result = MIP.run([read.stack], chosen)
    with pytest.raises(UnusableImage, match=str(objects[2].SOPInstanceUID)):
        list(derive([result], MIP, chosen, volume=read, headers=objects[:2], series=new_series()))
