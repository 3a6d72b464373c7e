"""What somebody asked for: a processing type, its parameters, and how the images are to be read. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from medbus.streams.processing.dicom.pixels import Colour
from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Operation, settings
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings

RESAMPLE = Parameter(
    name="resample",
    kind=Kind.FLAG,
    default="no",
    text="whether slices with gaps, uneven spacing, a tilt or a shift are brought onto a regular grid first.",
)
COLOUR = Parameter(
    name="colour",
    kind=Kind.CHOICE,
    choices=tuple(each.value for each in Colour),
    default=Colour.REFUSE.value,
    text="what becomes of colour images: they are refused, or their luminance is processed, or red, green "
    "and blue each by itself.",
)

GENERAL: tuple[Parameter, ...] = (RESAMPLE, COLOUR)
"""What every processing type can be told, beside its own parameters: how the images are read."""


class Asked(NamedTuple):
    """What is to be done.

    Attributes:
        operation: the processing type.
        settings: its own, defaults filled in.
        resample: bring irregular stacks onto a regular grid first.
        colour: what becomes of colour images.
        written: all of this but the type, in the one way to write it, defaults included: `asked` reads the
            same from it again.
    """

    operation: Operation
    settings: Settings
    resample: bool
    colour: Colour
    written: dict[str, str]


def asked(processing_type: str, parameters: Mapping[str, str]) -> Asked:
    """Read what somebody asked for.

    Args:
        processing_type: as in `catalogue.OPERATIONS`.
        parameters: words by name: the operation's own, and those in `GENERAL`.

    Raises:
        InvalidParameter: there is no such type, or a parameter is unknown, missing, out of range or not of
            its kind, or they contradict each other.
    """
    operation = OPERATIONS.get(processing_type)
    if operation is None:
        raise InvalidParameter(
            f"There is no processing type {processing_type!r}.", f"There are {', '.join(OPERATIONS)}."
        )
    general = {each.name: each for each in GENERAL}
    own = settings(operation, {name: words for name, words in parameters.items() if name not in general})
    resample = RESAMPLE.read(parameters.get(RESAMPLE.name, RESAMPLE.default))
    colour = COLOUR.read(parameters.get(COLOUR.name, COLOUR.default))
    return Asked(
        operation=operation,
        settings=own,
        resample=bool(resample),
        colour=Colour(str(colour)),
        written={
            **operation.written(own),
            RESAMPLE.name: RESAMPLE.write(resample),
            COLOUR.name: COLOUR.write(colour),
        },
    )
