"""What types of processing there are, and what each can be told, for people."""

from collections.abc import Mapping

from rich.padding import Padding
from rich.text import Text

from medbus.compose.cli import console
from medbus.streams.processing.asked import GENERAL
from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Operation, Shape, as_declared
from medbus.streams.processing.pixels.parameter import Parameter

_SHAPES: Mapping[Shape, str] = {
    Shape.FRAME: "frame by frame",
    Shape.VOLUME: "on a volume",
    Shape.PROJECTION: "on a stack of slices",
}


def list_types(*, json: bool) -> None:
    """Print all types."""
    if json:
        for each in OPERATIONS.values():
            console.as_json(_document(each))
        return
    console.table(
        f"Types of processing ({len(OPERATIONS)})",
        ("type", "title", "works", "takes", "parameters"),
        [
            (
                each.name,
                each.title,
                shape(each),
                "images" if each.inputs == 1 else "images, masks",
                ", ".join(parameter.name for parameter in each.parameters),
            )
            for each in OPERATIONS.values()
        ],
    )
    console.out.print("See `medbus process TYPE --explain` for what each does and can be told.")


def explain(name: str, *, json: bool) -> None:
    """Print what a type does, and every parameter.

    Raises:
        InvalidParameter: there is none of this name.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise InvalidParameter(
            f"There is no processing type {name!r}.", f"There are {', '.join(OPERATIONS)}."
        )
    if json:
        console.as_json(_document(operation))
        return
    console.out.print(Text(f"{operation.name}: {operation.title}", style="bold"))
    console.out.print(Padding(Text(operation.text), (0, 0, 0, 2)))
    inputs = (
        "images" if operation.inputs == 1 else "images and masks (--mask-image, --mask-series, --mask-file)"
    )
    console.out.print(f"Takes {inputs}; works {shape(operation)}.")
    console.table(
        "Parameters, as NAME=VALUE",
        ("name", "value", "unit", "default", "bounds", "meaning"),
        [
            (
                each.name,
                each.expected(),
                each.unit,
                "must be given" if each.required else each.default or "none",
                bounds(each),
                each.text,
            )
            for each in (*operation.parameters, *GENERAL)
        ],
    )


def shape(operation: Operation) -> str:
    """What it needs to see at once."""
    declared = _SHAPES[operation.shape]
    return declared if operation.shaping is as_declared else f"{declared}, or on a volume"


def bounds(parameter: Parameter) -> str:
    """The least and the greatest number that a parameter can be; empty where there are none."""
    least = "" if parameter.least is None else f"{parameter.least:g}"
    most = "" if parameter.most is None else f"{parameter.most:g}"
    if least and most:
        return f"{least} to {most}"
    if least:
        return f"{least} or more"
    return f"{most} or less" if most else ""


def _document(operation: Operation) -> Mapping[str, object]:
    return {
        "type": operation.name,
        "title": operation.title,
        "text": operation.text,
        "shape": operation.shape,
        "inputs": operation.inputs,
        "version": operation.version,
        "parameters": [
            {
                "name": each.name,
                "kind": each.kind,
                "unit": each.unit,
                "default": each.default,
                "required": each.required,
                "least": each.least,
                "most": each.most,
                "choices": each.choices,
                "text": each.text,
            }
            for each in (*operation.parameters, *GENERAL)
        ],
    }
