"""`medbus invoice`: what subscribers were billed, and the events behind every line."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from medbus.compose.cli import billed, console
from medbus.compose.cli.billed import Format
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, LimitOption, installation
from medbus.compose.settings import Settings
from medbus.projections.accounts import AccountReader, StoredInvoice
from medbus.projections.database import Database
from medbus.schemas import money
from medbus.schemas import period as calendar
from medbus.schemas.errors import MedbusError, SettingsError

app = typer.Typer(help="Invoices: show and export them.", no_args_is_help=True)

NumberArgument = Annotated[str, typer.Argument(help="Its number, see `medbus invoice list`.")]
PeriodOption = Annotated[str | None, typer.Option(metavar="PERIOD", help="Only for this period, as 2026-10.")]


@app.command("list")
def list_(
    subscriber: Annotated[str | None, typer.Option(help="Only of this subscriber.")] = None,
    period: PeriodOption = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show invoices, those issued last first.

    Examples:
        medbus invoice list --subscriber A-hospital
        medbus invoice list --period 2026-10 --json
    """
    show_invoices(console.run(_invoices(installation(home, kafka), subscriber, period, limit)), json)


@app.command()
def show(
    number: NumberArgument,
    events: Annotated[bool, typer.Option("--events", help="With every event behind every line.")] = False,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show one invoice: every line with its count, quantity, unit price, amount, rounding and price list.

    With --events, for each fee: when it was charged, the place in the log of the event that caused it (topic,
    partition, offset), and the ids of both.

    Examples:
        medbus invoice show A-hospital-2026-10
        medbus invoice show A-hospital-2026-10 --events
    """
    console.run(_show(installation(home, kafka), number, events, json))


@app.command()
def export(
    number: Annotated[
        str | None, typer.Argument(help="Its number; or name a --period for all of its invoices.")
    ] = None,
    period: PeriodOption = None,
    subscriber: Annotated[
        str | None, typer.Option(help="Of those of the period only this subscriber's.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TABLE,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The file; standard output by default. With --period and pdf: the folder for one file each.",
        ),
    ] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Write invoices as table, CSV, JSON or PDF.

    Table, CSV and JSON have every event behind every line with its place in the log, and are written as they
    are read: a million events need no more memory than ten. JSON has one object for each invoice, on a line
    of its own. The PDF names, for each line, the number of events and a digest of their ids.

    Examples:
        medbus invoice export A-hospital-2026-10 --format pdf --out invoice.pdf
        medbus invoice export --period 2026-10 --format csv --out 2026-10.csv
        medbus invoice export --period 2026-10 --format pdf --out invoices/
    """
    if (number is None) == (period is None):
        raise SettingsError(
            "One invoice is exported by its number, or all of a period by --period.",
            "See `medbus invoice export --help`.",
        )
    console.run(_export(installation(home, kafka), number, period, subscriber, format_, out))


def show_invoices(found: Sequence[StoredInvoice], json: bool) -> None:
    """Print invoices, one a line."""
    if json:
        for each in found:
            console.as_json(billed.document(each))
        return
    console.table(
        f"Invoices ({len(found)})",
        ("number", "subscriber", "name", "period", "issued (UTC)", "lines", "total", "currency"),
        [
            (
                each.invoice.number,
                each.invoice.subscriber,
                each.invoice.name,
                each.invoice.period,
                console.moment(each.issued_at),
                len(each.invoice.lines),
                money.decimal(each.invoice.total),
                each.invoice.total.currency,
            )
            for each in found
        ],
    )


def file_name(number: str) -> str:
    """A file name from an invoice's number, which may have a subscriber's id in it."""
    return "".join(each if each.isalnum() or each in "-_. " else "_" for each in number).strip(". ") or "_"


async def _invoices(
    settings: Settings, subscriber: str | None, period: str | None, limit: int | None
) -> list[StoredInvoice]:
    name = None if period is None else calendar.named(period).name
    async with Database(settings.database_url) as database:
        return await AccountReader(database).invoices(subscriber, period=name, limit=limit)


async def _invoice(reader: AccountReader, number: str) -> StoredInvoice:
    found = await reader.invoice(number)
    if found is None:
        raise MedbusError(f"There is no invoice {number!r}.", "See `medbus invoice list`.")
    return found


async def _show(settings: Settings, number: str, events: bool, json: bool) -> None:
    async with Database(settings.database_url) as database:
        reader = AccountReader(database)
        stored = await _invoice(reader, number)
        if json:
            await billed.write_json(reader, stored, sys.stdout.buffer, full=events)
        else:
            await billed.write_text(reader, stored, console.out, full=events)


async def _export(
    settings: Settings,
    number: str | None,
    period: str | None,
    subscriber: str | None,
    format_: Format,
    out: Path | None,
) -> None:
    if number is None:
        chosen = await _invoices(settings, subscriber, period, None)
    async with Database(settings.database_url) as database:
        reader = AccountReader(database)
        if number is not None:
            chosen = [await _invoice(reader, number)]
        if not chosen:
            raise MedbusError(f"There is no invoice for {period}.", "See `medbus invoice list`.")
        if format_ is Format.PDF:
            _write_pdf(chosen, settings.ae_title, out, many=number is None)
            return
        with _opened(out) as file:
            await _write(reader, chosen, format_, file)
    if out is not None:
        console.err.print(f"{console.counted(len(chosen), 'invoice')} written to {out}.", soft_wrap=True)


async def _write(
    reader: AccountReader, chosen: Sequence[StoredInvoice], format_: Format, file: BinaryIO
) -> None:
    match format_:
        case Format.CSV:
            await billed.write_csv(reader, chosen, file)
        case Format.JSON:
            for stored in chosen:
                await billed.write_json(reader, stored, file, full=True)
        case _:
            to, done = billed.console_on(file)
            for stored in chosen:
                await billed.write_text(reader, stored, to, full=True)
            done()


def _write_pdf(chosen: Sequence[StoredInvoice], service: str, out: Path | None, *, many: bool) -> None:
    from medbus.compose import invoice_pdf

    if many and out is None:
        raise SettingsError("Several PDFs need a folder.", "Name it with --out.")
    if out is None and sys.stdout.isatty():
        raise SettingsError("A PDF is nothing for a terminal.", "Name a file with --out.")
    if many and out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for stored in chosen:
        path = out / f"{file_name(stored.invoice.number)}.pdf" if many and out is not None else out
        with _opened(path) as file:
            file.write(invoice_pdf.render(stored.invoice, service=service, issued_at=stored.issued_at))
        if path is not None:
            console.err.print(f"{stored.invoice.number} written to {path}.", soft_wrap=True)


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    """A file that is there only when all of it is written; standard output if there is no path.

    Raises:
        SettingsError: it can't be written.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror}.", "Choose another --out.") from error
    finally:
        part.unlink(missing_ok=True)
