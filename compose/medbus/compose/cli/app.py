"""The command and its subcommands."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from medbus.compose.cli import (
    catalog,
    console,
    credential,
    demonstration,
    log,
    status,
    subscriber,
    topics,
    transfer,
    up,
)
from medbus.schemas.errors import MedbusError

app = typer.Typer(
    name="medbus",
    help="A medical image service on an event log: register, deliver and audit DICOM images over Kafka.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        console.out.print(f"medbus {version('medbus')}")
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Show help for a command with `medbus COMMAND --help`."""


app.command()(up.up)
app.command()(demonstration.demo)
app.command()(status.status)
app.add_typer(subscriber.app, name="subscriber")
app.add_typer(credential.app, name="credential")
app.add_typer(catalog.app, name="catalog")
app.command()(transfer.send)
app.command()(transfer.fetch)
app.command()(log.tail)
app.command()(log.replay)
app.add_typer(topics.app, name="topics")


def main() -> None:
    """Entry point of the `medbus` command."""
    try:
        app()
    except MedbusError as error:
        console.fail(error)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(console.FAILED) from None
