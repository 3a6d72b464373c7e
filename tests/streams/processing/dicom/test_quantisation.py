"""Values as the integers that are stored."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from medbus.streams.processing.dicom.quantisation import Form, Quantisation, ds, quantised, window
from medbus.streams.processing.pixels.stack import Stack


def stack(values: Any, dtype: Any = np.float32, **more: Any) -> Stack:
    return Stack(stored=np.asarray(values, dtype).reshape(1, 1, -1), spacing=(1, 1, 1), **more)


def choose(
    given_: Stack, form: Form | None = None, *, padded: bool = False, padding: int | None = None
) -> Quantisation:
    chosen = quantised(given_, form or Form(), padded=padded, padding=padding)
    assert chosen is not None
    return chosen


def read_back(chosen: Quantisation, given_: Stack) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    slope, intercept = float(ds(chosen.slope)), float(ds(chosen.intercept))
    return np.asarray(chosen.stored(given_, 0, None) * slope + intercept, np.float64)


forms = st.builds(
    Form, signed=st.booleans(), rescaled=st.just(True), intercept=st.just(True), bits=st.just(16)
)


@bounds(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), form=forms)
def test_values_come_back_within_half_a_slope(values: list[float], form: Form) -> None:
    given_ = stack(values)
    chosen = choose(given_, form)
    error = np.abs(read_back(chosen, given_) - given_.stored[0]).max()
    assert error <= chosen.error * 1.001 + 1e-9
    magnitude = max(abs(each) for each in values)
    if not all(each == round(each) for each in values):
        assert chosen.error <= magnitude / 26_000 * 1.001 + 1e-12
    assert len(ds(chosen.slope)) <= 16
    assert len(ds(chosen.intercept)) <= 16


@bounds(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(-32767, 32767), min_size=1, max_size=40))
def test_whole_numbers_that_fit_come_back_as_they_are(values: list[int]) -> None:
    given_ = stack(values)
    chosen = choose(given_)
    assert (chosen.slope, chosen.intercept) == (1, 0)
    assert read_back(chosen, given_)[0].tolist() == values


def test_hounsfield_units_are_stored_in_tenths() -> None:
    chosen = choose(stack([-1024, 40.25, 3071]))
    assert (chosen.slope, chosen.intercept, chosen.error, chosen.dtype.name) == (0.1, 0, 0.05, "int16")


def test_integers_stay_what_they_are_with_their_scale() -> None:
    given_ = stack([0, 5000], np.uint16, slope=0.25, intercept=-7.0)
    chosen = choose(given_)
    assert (chosen.exact, chosen.slope, chosen.intercept, chosen.error) == (True, 0.25, -7.0, 0)
    assert chosen.stored(given_, 0, None).tolist() == [[0, 5000]]


def test_a_large_offset_becomes_the_intercept() -> None:
    given_ = stack([100000.0, 100000.5, 100010.25])
    chosen = choose(given_, Form(signed=False))
    assert chosen.intercept == 100000
    assert chosen.error == 0.001  # float32 has steps of 0.008 there
    assert choose(given_, Form(intercept=False)).intercept == 0


def test_negative_values_of_an_unsigned_form_have_an_intercept() -> None:
    given_ = stack([-255, 0, 255])
    chosen = choose(given_, Form(signed=False))
    assert (chosen.dtype.name, chosen.slope, chosen.intercept) == ("uint16", 1, -255)
    assert read_back(chosen, given_)[0].tolist() == [-255, 0, 255]


def test_without_rescaling_values_are_rounded_or_do_not_fit() -> None:
    whole = Form(signed=False, rescaled=False)
    given_ = stack([0.4, 1.6, 65535.2])
    chosen = choose(given_, whole)
    assert (chosen.slope, chosen.error) == (1, 0.5)
    assert chosen.stored(given_, 0, None).tolist() == [[0, 2, 65535]]
    for values in ([-1.0], [70000.0]):
        assert quantised(stack(values), whole, padded=False, padding=None) is None
    assert (
        quantised(stack([256.0]), Form(signed=False, rescaled=False, bits=8), padded=False, padding=None)
        is None
    )


def test_padding_is_a_value_that_no_pixel_has() -> None:
    where = np.array([[True, False, False]])
    exact = stack([-1000, -1000, 50], np.int16)
    chosen = choose(exact, padded=True, padding=-2000)
    assert chosen.stored(exact, 0, where).tolist() == [[-2000, -1000, 50]]
    assert choose(exact, padded=True, padding=0).padding == -1001
    floats = stack([-1000.5, -1000.5, 50])
    assert choose(floats, padded=True).stored(floats, 0, where)[0, 0] == -32768


def test_what_is_no_number_is_padding() -> None:
    given_ = stack([float("nan"), 1.5, 0, float("inf")])
    chosen = choose(given_)
    assert chosen.padding == -32768
    assert chosen.stored(given_, 0, None)[0].tolist() == [-32768, 1.5 / chosen.slope, 0, -32768]


def test_an_image_of_one_value_has_a_scale() -> None:
    assert choose(stack([0.0, 0.0])).slope == 1


@bounds(max_examples=100, deadline=None)
@given(value=st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30))
def test_decimal_strings_are_short_and_near(value: float) -> None:
    assert len(ds(value)) <= 16
    assert float(ds(value)) == pytest.approx(value, rel=1e-8)


def test_a_window_leaves_the_extremes_out() -> None:
    centre, width = window([stack([*range(100), 1e6])])
    assert (centre, width) == (50.0, 98.0)
    assert window([stack([3.0, 3.0])]) == (3.0, 1.0)
