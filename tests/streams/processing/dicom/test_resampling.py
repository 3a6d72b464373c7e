"""Uneven stacks and tilted ones, brought onto a regular grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from tests.streams.processing.dicom.images import stacked, volume

from medbus.streams.processing.dicom.geometry import Irregularity


def test_a_gap_is_filled_by_linear_interpolation() -> None:
    slices = np.array([[[0, 0]], [[10, 20]], [[40, 80]]], np.uint16)
    objects = stacked(slices, positions=[(0, 0, 0), (0, 0, 2), (0, 0, 2 + 6)], RescaleIntercept="0")
    objects += stacked(slices[:1], positions=[(0, 0, 10)], RescaleIntercept="0")
    for each in objects:
        each.SeriesInstanceUID, each.FrameOfReferenceUID = "1.2", "1.3"
    read = volume(objects, resample=True)
    assert read.stack.stored.tolist() == [
        [[0, 0]], [[10, 20]], [[20, 40]], [[30, 60]], [[40, 80]], [[0, 0]]
    ]  # fmt: skip
    assert read.stack.spacing == (2.0, 0.5, 0.5)
    assert [each.kind for each in read.findings] == [Irregularity.GAP, Irregularity.RESAMPLED]
    assert [len(sources) for sources in read.geometry.sources] == [1, 1, 2, 2, 1, 1]


def test_a_regular_stack_stays_what_it_is() -> None:
    objects = stacked(np.arange(12, dtype=np.uint16).reshape(3, 2, 2))
    assert np.array_equal(volume(objects, resample=True).stack.stored, volume(objects).stack.stored)
    assert not volume(objects, resample=True).findings


@bounds(max_examples=40, deadline=None)
@given(
    depths=st.lists(st.floats(0.5, 5), min_size=3, max_size=8),
    gradient=st.tuples(*[st.floats(-20, 20)] * 3),
    tilt=st.floats(-25, 25),
)
def test_values_that_change_linearly_are_where_they_belong(
    depths: list[float], gradient: tuple[float, float, float], tilt: float
) -> None:
    """A value that is a linear function of the place in the patient is the same at every place after."""
    angle = math.radians(tilt)
    orientation = (1, 0, 0, 0, math.cos(angle), -math.sin(angle))
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    spacing, shape = (0.8, 0.6), (12, 5)
    positions = [np.array((1.0, 2.0, depth)) for depth in np.cumsum(depths)]
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    slices = []
    for position in positions:
        places = (
            position
            + rows[..., np.newaxis] * spacing[0] * column
            + columns[..., np.newaxis] * spacing[1] * row
        )
        slices.append(np.rint(10000 + places @ np.array(gradient)).astype(np.uint16))
    objects = stacked(slices, positions=positions, orientation=orientation, spacing=spacing)
    read = volume(objects, resample=True)
    stored, affine = read.stack.stored, read.geometry.affine
    index = np.stack(np.meshgrid(*map(np.arange, stored.shape), indexing="ij"), axis=-1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    expected = 10000 + places @ np.array(gradient)
    # Where a slice has no pixel the fill shows: look at the rows that all slices have.
    shifts = [float((position - positions[0]) @ column) / spacing[0] for position in positions]
    above = math.floor(min(shifts) + 1e-3)
    first, last = math.ceil(max(shifts)) - above + 1, math.floor(min(shifts)) - above + shape[0] - 2
    if first > last or not read.findings:
        return
    inside = slice(first, last + 1)
    # Rounded twice, by half a stored value each time; headers have six decimals.
    assert np.abs(stored[:, inside] - expected[:, inside]).max() <= 1.01


def test_a_tilted_stack_is_sheared_upright() -> None:
    """A rod along z through tilted slices is the same pixels in every slice of the grid."""
    tilt = math.atan2(1, 2)
    orientation = (1, 0, 0, 0, math.cos(tilt), -math.sin(tilt))
    # Along the normal (0, sin, cos) slices are 2 mm apart and lie 1 mm, two rows, up in their plane.
    step = 2 / math.cos(tilt)
    slices = np.zeros((3, 6, 3), np.uint16)
    slices[:, 2, 1] = 100
    objects = stacked(slices, positions=[(0, 0, step * index) for index in range(3)], orientation=orientation)
    read = volume(objects, resample=True)
    assert read.stack.shape == (3, 6 + 4, 3)
    # The rod keeps its place along z, so in the grid's planes it moves two rows up from slice to slice.
    assert [int(np.argmax(each[:, 1])) for each in read.stack.stored] == [6, 4, 2]
    for index, row in ((0, 6), (1, 4), (2, 2)):
        place = read.geometry.affine @ (index, row, 1, 1)
        assert place == pytest.approx((0.5, math.cos(tilt), step * index - math.sin(tilt), 1), abs=1e-4)
