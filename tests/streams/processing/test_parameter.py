"""How the words of a person become settings, and settings become words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Shape, settings
from medbus.streams.processing.pixels.parameter import Kind, Parameter


def parameter(kind: Kind) -> Parameter:
    return Parameter(name="value", kind=kind, choices=("one", "two"), text="anything.")


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        (Kind.NUMBER, "1.5", 1.5),
        (Kind.NUMBER, " -2e-3 ", -0.002),
        (Kind.NUMBER, ".5", 0.5),
        (Kind.NUMBER, "3.", 3.0),
        (Kind.WHOLE, "+7", 7),
        (Kind.ANGLE, "-45", -45.0),
        (Kind.FLAG, "Yes", True),
        (Kind.FLAG, "0", False),
        (Kind.AXIS, "Z", "z"),
        (Kind.CHOICE, "TWO", "two"),
        (Kind.VECTOR, "0, -1, 2.5", (0.0, -1.0, 2.5)),
    ],
)
def test_words_are_read(kind: Kind, words: str, value: object) -> None:
    assert parameter(kind).read(words) == value


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        *((Kind.NUMBER, words) for words in ("", "1,5", "1_0", "nan", "inf", "1e999", "0x1", "1 2", "٣")),
        *((Kind.WHOLE, words) for words in ("1.0", "1e3", "9999999999", "")),
        *((Kind.FLAG, words) for words in ("y", "2")),
        *((Kind.AXIS, words) for words in ("w", "xy")),
        *((Kind.CHOICE, words) for words in ("three", "")),
        *((Kind.VECTOR, words) for words in ("1,2", "1,2,3,4", "1,2,x", "1;2;3", "1,2,1e999")),
    ],
)
def test_other_words_are_refused_with_what_is_expected(kind: Kind, words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parameter(kind).read(words)
    assert "value can't be" in caught.value.message
    assert "anything." in caught.value.advice


@given(st.floats(-1e300, 1e300))
def test_a_number_that_is_written_is_read_again(value: float) -> None:
    number = parameter(Kind.NUMBER)
    assert number.read(number.write(value)) == value


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 3))
def test_a_vector_that_is_written_is_read_again(value: tuple[float, float, float]) -> None:
    vector = parameter(Kind.VECTOR)
    assert vector.read(vector.write(value)) == value


@pytest.mark.parametrize("words", ["2", "2.0", "+2", "0.2e1", " 2 "])
def test_equal_settings_are_equal_words(words: str) -> None:
    gaussian = OPERATIONS["gaussian"]
    assert gaussian.written(settings(gaussian, {"sigma": words})) == {"sigma": "2", "extent": "frame"}


def test_zero_has_no_sign() -> None:
    assert parameter(Kind.NUMBER).write(-0.0) == "0"


def test_what_is_empty_is_not_a_default() -> None:
    with pytest.raises(InvalidParameter, match="extent is empty"):
        settings(OPERATIONS["sobel"], {"extent": " "})


def test_the_ends_of_a_range_are_in_it() -> None:
    mip = OPERATIONS["mip"]
    assert settings(mip, {"about": "x", "angle": "360"}).number("angle") == 360
    with pytest.raises(InvalidParameter) as caught:
        settings(mip, {"about": "x", "angle": "360.5"})
    assert caught.value.message == "angle can't be 360.5 degree."
    assert caught.value.advice == "The most is 360 degree."


@pytest.mark.parametrize("name", OPERATIONS)
def test_defaults_can_be_read(name: str) -> None:
    for each in OPERATIONS[name].parameters:
        if each.default:
            assert each.write(each.read(each.default)) == each.default
        assert not (each.required and each.default)
        for bound in (each.least, each.most):
            assert bound is None or math.isfinite(bound)


@pytest.mark.parametrize(
    ("name", "given_", "shape"),
    [
        ("gaussian", {"sigma": "1"}, Shape.FRAME),
        ("gaussian", {"sigma": "1", "extent": "volume"}, Shape.VOLUME),
        ("derivative", {"axis": "x"}, Shape.FRAME),
        ("derivative", {"axis": "z"}, Shape.VOLUME),
        ("canny", {"sigma": "1", "low": "1", "high": "2"}, Shape.FRAME),
        ("band-pass", {"low": "1", "high": "2"}, Shape.FRAME),
        ("subtract", {}, Shape.FRAME),
        ("mip", {}, Shape.PROJECTION),
        ("add", {}, Shape.PROJECTION),
        ("mpr", {"axis": "x"}, Shape.PROJECTION),
    ],
)
def test_settings_say_what_must_be_seen_at_once(name: str, given_: dict[str, str], shape: Shape) -> None:
    operation = OPERATIONS[name]
    assert operation.shape_for(settings(operation, given_)) is shape
