"""The command and its subcommands."""

import inspect
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from medbus.compose.cli import (
    account,
    activate,
    audit,
    catalog,
    collector,
    console,
    credential,
    demonstration,
    invoice,
    log,
    payment,
    period,
    process,
    request,
    result,
    status,
    subscriber,
    tariff,
    topics,
    transfer,
    up,
    webhook,
    worker,
)
from medbus.compose.cli.several import SeveralValues
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
subscriber.app.command()(webhook.webhook)
app.add_typer(subscriber.app, name="subscriber")
app.add_typer(credential.app, name="credential")
app.add_typer(tariff.app, name="tariff")
app.add_typer(payment.app, name="payment")
app.add_typer(period.app, name="period")
app.add_typer(invoice.app, name="invoice")
app.add_typer(account.app, name="account")
app.add_typer(catalog.app, name="catalog")
app.add_typer(request.app, name="request")
app.command(cls=SeveralValues)(process.process)
app.add_typer(result.app, name="result")
app.add_typer(worker.app, name="worker")
app.command()(collector.collector)
app.command()(activate.activate)
app.command()(transfer.send)
app.command()(transfer.fetch)
app.command()(log.tail)
app.command()(log.replay)
app.add_typer(audit.app, name="audit")
app.add_typer(topics.app, name="topics")


def _keep_examples(commands: typer.Typer) -> None:
    """Let examples in help texts stand as they are written; other text is broken to the screen's width."""
    for command in commands.registered_commands:
        text = command.help or inspect.cleandoc((command.callback and command.callback.__doc__) or "")
        command.help = text.replace("\n\nExample", "\n\n\b\nExample")
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _keep_examples(group.typer_instance)


_keep_examples(app)


def main() -> None:
    """Entry point of the `medbus` command."""
    try:
        app()
    except MedbusError as error:
        console.fail(error)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(console.FAILED) from None
