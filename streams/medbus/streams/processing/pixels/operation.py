"""A processing type: what it is called, what it can be told, and what it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import InvalidParameter, UnsuitableStack
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings, Value
from medbus.streams.processing.pixels.stack import Stack
from medbus.streams.processing.pixels.work import Work, never

Affine = NDArray[np.float64]
"""(4, 4): index (slice, row, column, 1) in the output to that in the input. Whole numbers are centres."""


class Shape(StrEnum):
    """What an operation needs to see at once."""

    FRAME = "frame by frame"
    VOLUME = "volume"
    PROJECTION = "projection"


class Derived(NamedTuple):
    """Pixels an operation made, and where they lie in those it got."""

    stack: Stack
    affine: Affine | None = None


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Result:
    """What came of it.

    Attributes:
        stack: float32 modality values, or the integers of the input with its slope and intercept where they
            stay exact.
        text: what was done, in English, with all parameters and units.
        affine: output index to input index, both (slice, row, column, 1); the identity if the grid stays.
    """

    stack: Stack
    text: str
    affine: Affine


def as_declared(operation: "Operation", _: Settings) -> Shape:
    """The shape that the operation has whatever it is told."""
    return operation.shape


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Operation:
    """A processing type.

    Attributes:
        name: as it is asked for.
        title: in a few words.
        text: what it does, what happens at the border and to the values, and the source.
        parameters: what it can be told.
        inputs: how many stacks it takes.
        shape: what it needs to see at once, unless its settings say otherwise: see `shape_for`.
        version: raised when the same settings lead to other pixels.
        function: the pixels; called with as many stacks as `inputs` says.
        shaping: the shape for settings.
        check: what no parameter can say alone; raises InvalidParameter.
    """

    name: str
    title: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    inputs: int = 1
    shape: Shape
    version: int = 1
    function: Callable[[Sequence[Stack], Settings, Work], Derived]
    shaping: Callable[["Operation", Settings], Shape] = as_declared
    check: Callable[[Settings], None] | None = None

    def shape_for(self, settings: Settings) -> Shape:
        """What it needs to see at once with these settings; frame by frame, slices can be done apart."""
        return self.shaping(self, settings)

    def run(
        self,
        stacks: Sequence[Stack],
        settings: Settings,
        *,
        workers: int = 1,
        cancelled: Callable[[], bool] = never,
    ) -> Result:
        """Process.

        Args:
            stacks: as many as `inputs` says.
            settings: from `settings`.
            workers: threads.
            cancelled: asked between slices, by any of the threads.

        Raises:
            InvalidParameter: a parameter does not go with these stacks.
            UnsuitableStack: it can't be done with them.
            ProcessingCancelled: somebody asked for the end.
        """
        return self.work(stacks, settings, Work(workers=max(1, workers), cancelled=cancelled))

    def work(self, stacks: Sequence[Stack], settings: Settings, work: Work) -> Result:
        """Process as `run` does, with the slabs of `work`."""
        if len(stacks) != self.inputs:
            raise UnsuitableStack(
                f"{self.title} takes {self.inputs} {'stack' if self.inputs == 1 else 'stacks'}, not "
                f"{len(stacks)}."
            )
        stack, affine = self.function(stacks, settings, work)
        return Result(
            stack=stack,
            text=self.describe(settings),
            affine=np.eye(4) if affine is None else affine,
        )

    def describe(self, settings: Settings) -> str:
        """What is done with these settings, in English."""
        said = []
        for parameter in self.parameters:
            if parameter.name in settings:
                value = parameter.write(settings[parameter.name])
                said.append(" ".join(filter(None, (parameter.name, value, parameter.unit))))
        return f"{self.title}{': ' if said else ''}{', '.join(said)}"

    def written(self, settings: Settings) -> Mapping[str, str]:
        """The one way to write these settings, in the order of the parameters."""
        return {
            each.name: each.write(settings[each.name]) for each in self.parameters if each.name in settings
        }


def settings(operation: Operation, given: Mapping[str, str]) -> Settings:
    """Read what somebody asked for.

    Args:
        operation: for which it is.
        given: words by parameter name.

    Raises:
        InvalidParameter: one is unknown, missing, out of range or not of its kind, or they contradict each
            other.
    """
    known = {each.name: each for each in operation.parameters}
    for name in given:
        if name not in known:
            raise InvalidParameter(
                f"{operation.name} has no parameter {name!r}.",
                f"It has {', '.join(known)}." if known else "It has no parameters.",
            )
    values: dict[str, Value] = {}
    for parameter in operation.parameters:
        words = given.get(parameter.name, parameter.default)
        if words.strip():
            values[parameter.name] = parameter.read(words)
        elif parameter.name in given:
            raise InvalidParameter(
                f"{parameter.name} is empty.", f"It is {parameter.expected()}: {parameter.text}"
            )
        elif parameter.required:
            raise InvalidParameter(
                f"{operation.name} needs {parameter.name}.", f"It is {parameter.expected()}: {parameter.text}"
            )
    read = Settings(values)
    if operation.check is not None:
        operation.check(read)
    return read


EXTENT = Parameter(
    name="extent",
    kind=Kind.CHOICE,
    choices=("frame", "volume"),
    default="frame",
    text="each frame by itself, or across the slices as well.",
)
"""Of the operations that can do both."""


def shape_by_extent(_: Operation, settings: Settings) -> Shape:
    """The shape where `EXTENT` says it."""
    return Shape.VOLUME if settings.word("extent") == "volume" else Shape.FRAME
