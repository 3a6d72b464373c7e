"""Which frames make a stack, in which order, and what is irregular about it."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tests.streams.processing.dicom.images import AXIAL, image, stacked, volume

from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.filling import fill
from medbus.streams.processing.dicom.geometry import Irregularity
from medbus.streams.processing.dicom.series import Arrangement, arrange


def numbered(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Slices of 3 x 2 pixels that say which they are."""
    return np.arange(count, dtype=np.uint16)[:, np.newaxis, np.newaxis] * np.ones((1, 3, 2), np.uint16)


def rotation(a: float, b: float, c: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A rotation matrix from three angles."""
    turns = []
    for axis, angle in enumerate((a, b, c)):
        turn = np.eye(3)
        first, second = (each for each in range(3) if each != axis)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        turns.append(turn)
    return np.asarray(turns[0] @ turns[1] @ turns[2])


angles = st.floats(-3.1, 3.1)


@bounds(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(6)),
    turn=st.tuples(angles, angles, angles),
    corner=st.tuples(*[st.floats(-300, 300)] * 3),
    step=st.floats(0.5, 10),
)
def test_any_order_and_any_orientation_give_the_stack_along_its_normal(
    order: list[int], turn: tuple[float, float, float], corner: tuple[float, float, float], step: float
) -> None:
    matrix = rotation(*turn)
    row, column = matrix[:, 0], matrix[:, 1]
    normal = np.cross(row, column)
    positions = [np.array(corner) + normal * step * index for index in range(6)]
    objects = stacked(numbered(6), positions=positions, orientation=(*row, *column), spacing=(0.7, 0.4))
    shuffled = [objects[index] for index in order]
    (arrangement,) = arrange(shuffled)
    read = fill(arrangement, shuffled.__getitem__)
    assert read.stack.stored[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert read.stack.spacing == pytest.approx((step, 0.7, 0.4), abs=1e-4)
    assert not read.findings
    # (slice, row, column) = (2, 1, 1) by hand
    expected = np.array(corner) + normal * step * 2 + column * 0.7 + row * 0.4
    assert read.geometry.affine @ (2, 1, 1, 1) == pytest.approx((*expected, 1), abs=1e-3)


def test_the_order_is_that_of_the_positions_and_not_of_the_instance_numbers() -> None:
    objects = stacked(numbered(3), positions=[(0, 0, 4), (0, 0, 0), (0, 0, 2)])
    assert volume(objects).stack.stored[:, 0, 0].tolist() == [1, 2, 0]


def test_each_slice_knows_its_source() -> None:
    objects = stacked(numbered(2), positions=[(0, 0, 2), (0, 0, 0)])
    (arrangement,) = arrange(objects)
    sources = [[each.sop_instance_uid for each in frames] for frames in arrangement.geometry.sources]
    assert sources == [[objects[1].SOPInstanceUID], [objects[0].SOPInstanceUID]]
    assert arrangement.geometry.frame_of_reference == objects[0].FrameOfReferenceUID
    assert arrangement.nbytes == 2 * 3 * 2 * 2


def test_an_object_given_twice_is_one() -> None:
    objects = stacked(numbered(2))
    (arrangement,) = arrange([*objects, objects[0]])
    assert len(arrangement.slots) == 2
    assert not arrangement.findings


# What is irregular.


def kinds(arrangement: Arrangement) -> list[Irregularity]:
    return [each.kind for each in arrangement.findings]


def along_z(*depths: float) -> list[Dataset]:
    return stacked(numbered(len(depths)), positions=[(0, 0, depth) for depth in depths])


def test_positions_that_headers_round_are_even() -> None:
    (arrangement,) = arrange(along_z(0, 7.02, 13.98, 21.01))
    assert not arrangement.findings


def test_a_gap_is_reported_with_its_place() -> None:
    (arrangement,) = arrange(along_z(0, 2, 4, 10, 12))
    assert kinds(arrangement) == [Irregularity.GAP]
    assert arrangement.findings[0].text.startswith(
        "2 slices are missing between slices 3 and 4, which are 6.000 mm"
    )


def test_uneven_spacing_is_reported_with_its_values() -> None:
    (arrangement,) = arrange(along_z(0, 2, 4, 5.5, 7.5))
    assert kinds(arrangement) == [Irregularity.UNEVEN]
    assert arrangement.findings[0].text == "Slices are 1.500 to 2.000 mm apart, 2.000 mm in the median."
    assert arrangement.geometry.spacing[0] == pytest.approx(7.5 / 4)


def test_a_tilted_gantry_is_reported_with_its_angle() -> None:
    tilt = math.radians(20)
    orientation = (1, 0, 0, 0, math.cos(tilt), -math.sin(tilt))
    (arrangement,) = arrange(
        stacked(numbered(4), positions=[(0, 0, 3 * index) for index in range(4)], orientation=orientation)
    )
    assert kinds(arrangement) == [Irregularity.TILT]
    assert "leans 20.00 degrees" in arrangement.findings[0].text
    assert arrangement.geometry.spacing[0] == pytest.approx(3 * math.cos(tilt))


def test_slices_beside_one_another_without_a_line_are_reported() -> None:
    positions = [(0, 0, 0), (5, 0, 2), (0, 0, 4), (0, 0, 6)]
    (arrangement,) = arrange(stacked(numbered(4), positions=positions))
    assert kinds(arrangement) == [Irregularity.SHIFT]
    assert "10.0 columns" in arrangement.findings[0].text


def test_a_duplicate_is_left_out_and_named() -> None:
    objects = along_z(0, 2, 2, 4)
    (arrangement,) = arrange(objects[::-1])
    assert len(arrangement.slots) == 3
    assert kinds(arrangement) == [Irregularity.DUPLICATE]
    kept, left_out = objects[1].SOPInstanceUID, objects[2].SOPInstanceUID
    assert arrangement.findings[0].text == (
        f"2 frames are at (0.00, 0.00, 2.00) mm: {kept} is in the stack, {left_out} not."
    )


def test_as_many_frames_at_every_place_are_as_many_stacks() -> None:
    early, late = along_z(0, 2, 4), along_z(0, 2, 4)
    for each in (*early, *late):
        each.SeriesInstanceUID, each.FrameOfReferenceUID = "1.2.3", "1.2.4"
    for each in late:
        each.TemporalPositionIdentifier = 2
    arrangements = arrange([*late, *early])
    assert [kinds(each) for each in arrangements] == [[Irregularity.SPLIT]] * 2
    firsts = {tuple(frame[0].sop_instance_uid for frame in each.geometry.sources) for each in arrangements}
    assert firsts == {
        tuple(each.SOPInstanceUID for each in early),
        tuple(each.SOPInstanceUID for each in late),
    }


def test_a_localizer_is_a_stack_of_its_own() -> None:
    objects = along_z(0, 2, 4)
    coronal = stacked(numbered(1), orientation=(1, 0, 0, 0, 0, -1))[0]
    coronal.SeriesInstanceUID = objects[0].SeriesInstanceUID
    coronal.FrameOfReferenceUID = objects[0].FrameOfReferenceUID
    assert [len(each.slots) for each in arrange([coronal, *objects])] == [3, 1]


def test_series_are_not_mixed() -> None:
    assert [len(each.slots) for each in arrange([*along_z(0, 2), *along_z(4, 6)])] == [2, 2]


# Multi-frame objects, and those without a position.


def enhanced(depths: list[float]) -> Dataset:
    made = image(numbered(len(depths)), SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.2.1"))
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.7", "0.4"], "3"
    orientation.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for depth in depths:
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, depth]
        group.PlanePositionSequence = [position]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    return made


def test_frames_of_an_enhanced_object_lie_by_their_groups() -> None:
    made = enhanced([6, 0, 3])
    read = volume([made])
    assert read.stack.stored[:, 0, 0].tolist() == [1, 2, 0]
    assert read.stack.spacing == (3.0, 0.7, 0.4)
    assert [frames[0].frame for frames in read.geometry.sources] == [2, 3, 1]


def test_frames_without_a_position_follow_in_time() -> None:
    made = image(numbered(3), Modality="XA", ImagerPixelSpacing=["0.3", "0.3"])
    (arrangement,) = arrange([made])
    assert kinds(arrangement) == [Irregularity.POSITION, Irregularity.SPACING]
    assert "on the detector (ImagerPixelSpacing)" in arrangement.findings[1].text
    read = fill(arrangement, lambda _: made)
    assert read.stack.stored[:, 0, 0].tolist() == [0, 1, 2]
    assert read.stack.spacing == (1.0, 0.3, 0.3)
    assert not read.geometry.patient


def test_single_images_without_a_position_are_apart() -> None:
    assert [
        len(each.slots) for each in arrange([image([[1]], Modality="CR"), image([[2]], Modality="CR")])
    ] == [1, 1]


def test_slices_of_nuclear_medicine_lie_by_the_detector_and_their_number() -> None:
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [1, 2, 3], list(AXIAL)
    made = image(numbered(3), Modality="NM", PixelSpacing=["4", "4"], SpacingBetweenSlices="-5")
    made.DetectorInformationSequence, made.SliceVector = [detector], [1, 2, 3]
    read = volume([made])
    assert read.stack.stored[:, 0, 0].tolist() == [2, 1, 0]
    assert [plane.position for plane in read.geometry.planes] == [(1, 2, -7), (1, 2, -2), (1, 2, 3)]


def test_the_spacing_of_an_ultrasound_region_in_centimetres() -> None:
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    (arrangement,) = arrange([image([[1]], Modality="US", SequenceOfUltrasoundRegions=[region])])
    assert arrangement.geometry.spacing[1:] == pytest.approx((0.3, 0.2))
    assert not arrangement.findings


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0.5, 0.8, 0), (2, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0)])
def test_directions_that_are_none_are_no_position(orientation: tuple[float, ...]) -> None:
    (arrangement,) = arrange(stacked(numbered(1), orientation=orientation))
    assert not arrangement.geometry.patient


# Values of a stack.


def test_objects_that_are_rescaled_differently_become_modality_values() -> None:
    objects = stacked(np.array([[[10, 20]], [[10, 20]]], np.uint16), Modality="PT", Units="BQML")
    for each, slope in zip(objects, ("0.5", "2"), strict=True):
        each.RescaleSlope, each.RescaleIntercept = slope, "0"
    stack = volume(objects).stack
    assert (stack.stored.dtype.name, stack.slope, stack.units) == ("float32", 1.0, "BQML")
    assert stack.stored.tolist() == [[[5, 10]], [[20, 40]]]


def test_signed_and_unsigned_objects_have_a_type_that_holds_both() -> None:
    one, other = (
        stacked(np.array([[[1, -1]]], np.int16)),
        stacked(np.array([[[65535, 2]]], np.uint16), positions=[(0, 0, 2)]),
    )
    other[0].SeriesInstanceUID = one[0].SeriesInstanceUID
    other[0].FrameOfReferenceUID = one[0].FrameOfReferenceUID
    stack = volume([*one, *other]).stack
    assert stack.stored.dtype == np.int32
    assert stack.stored.tolist() == [[[1, -1]], [[65535, 2]]]


def test_units_that_differ_in_a_series_are_refused() -> None:
    objects = along_z(0, 2)
    objects[0].RescaleType = "OD"
    with pytest.raises(UnusableImage, match="HU, OD"):
        arrange(objects)


def test_an_object_that_changed_meanwhile_is_refused() -> None:
    (arrangement,) = arrange(along_z(0, 2))
    with pytest.raises(UnusableImage, match="were arranged"):
        fill(arrangement, lambda _: image([[1]]))


def test_nothing_is_no_stack() -> None:
    with pytest.raises(UnusableImage, match="no images"):
        arrange([])


def test_each_object_is_read_once() -> None:
    made = enhanced([0, 3, 6])
    (arrangement,) = arrange([made])
    asked: list[int] = []

    def read(index: int) -> Dataset:
        asked.append(index)
        return made

    fill(arrangement, read)
    assert asked == [0]
    assert all(one < other for one, other in pairwise(each.frame for each in arrangement.slots))
