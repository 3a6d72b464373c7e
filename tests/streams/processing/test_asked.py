"""How a processing type and its parameters are read, whoever wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.streams.processing.asked import asked
from medbus.streams.processing.dicom.pixels import Colour
from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import InvalidParameter


def test_what_is_not_said_has_its_default() -> None:
    read = asked("gaussian", {"sigma": "2.0"})
    assert read.operation is OPERATIONS["gaussian"]
    assert dict(read.settings) == {"sigma": 2.0, "extent": "frame"}
    assert (read.resample, read.colour) == (False, Colour.REFUSE)
    assert read.written == {"sigma": "2", "extent": "frame", "resample": "no", "colour": "refuse"}


def test_how_images_are_read_can_be_said_for_every_type() -> None:
    read = asked("mip", {"resample": "TRUE", "colour": "Luminance"})
    assert (read.resample, read.colour) == (True, Colour.LUMINANCE)
    assert read.written == {"axis": "z", "resample": "yes", "colour": "luminance"}


def test_an_unknown_type_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidParameter) as caught:
        asked("sharpen", {})
    assert caught.value.message == "There is no processing type 'sharpen'."
    for name in OPERATIONS:
        assert name in caught.value.advice


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "gaussian needs sigma."),
        ({"sigma": "1", "width": "3"}, "gaussian has no parameter 'width'."),
        ({"sigma": "1", "resample": "perhaps"}, "resample can't be 'perhaps'."),
        ({"sigma": "1", "colour": ""}, "colour can't be ''."),
    ],
)
def test_what_can_not_be_read_is_refused(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        asked("gaussian", parameters)
    assert caught.value.message == message


@given(
    sigma=st.floats(min_value=1e-6, max_value=10_000),
    resample=st.sampled_from(["yes", "no", "1", "false"]),
    colour=st.sampled_from(list(Colour)),
)
def test_what_was_written_is_read_as_the_same(sigma: float, resample: str, colour: Colour) -> None:
    first = asked("gaussian", {"sigma": repr(sigma), "resample": resample, "colour": colour.value})
    again = asked("gaussian", first.written)
    assert again.written == first.written
    assert dict(again.settings) == dict(first.settings)
    assert (again.resample, again.colour) == (first.resample, first.colour)
