"""Every command explains itself, with an example of itself."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from medbus.compose.cli.app import app


def commands(command: Any, *name: str) -> Iterator[tuple[str, ...]]:
    """The names of all commands."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name
        return
    for each, child in below.items():
        yield from commands(child, *name, each)


ALL = list(commands(typer.main.get_command(app)))


def test_there_are_those_of_the_readme() -> None:
    assert {("up",), ("demo",), ("send",), ("fetch",), ("tail",), ("replay",), ("status",)} <= set(ALL)
    assert {("subscriber", "add"), ("invoice", "export"), ("audit", "rebill"), ("activate",)} <= set(ALL)


@pytest.mark.parametrize("name", ALL, ids=" ".join)
def test_it_has_help_with_an_example(name: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*name, "--help"])
    assert done.exit_code == 0, done.output
    example = rf"\n +Examples?:\n +(MEDBUS_TOKEN=… )?medbus {' '.join(name)}"
    assert re.search(example, done.output), done.output
