"""An invoice with the events behind it, written out as it is read: there may be a million of them."""

import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from enum import StrEnum
from typing import BinaryIO, NamedTuple

import msgspec
from rich.console import Console

from medbus.compose.cli import console, price
from medbus.projections.accounts import AccountReader, StoredFee, StoredInvoice
from medbus.schemas import money
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import InvoiceLine

WIDTH = 160


class Format(StrEnum):
    """How an invoice is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PDF = "pdf"


class IncompleteCatalog(MedbusError):
    """The catalog does not have the fees that an invoice says are behind it."""


class Billed(NamedTuple):
    """A fee, and the number of the line that it is in."""

    line: int
    fee: StoredFee


async def events(reader: AccountReader, stored: StoredInvoice) -> AsyncGenerator[Billed]:
    """The fees behind an invoice, line after line.

    Raises:
        IncompleteCatalog: number or sum of them are not what the invoice says; after all of them.
    """
    invoice = stored.invoice
    closed = await reader.closing(stored)
    if closed is None:
        raise _incomplete(f"does not know the period that {invoice.number} is for")
    lines = {_rate(line): number for number, line in enumerate(invoice.lines, start=1)}
    counts = dict.fromkeys(lines.values(), 0)
    sums = dict.fromkeys(lines.values(), 0)
    async for fee in reader.fees_of(closed, invoice.total.currency):
        line = lines.get(_rate(fee))
        if line is None:
            raise _incomplete(f"has the fee {fee.fee_id}, which is in no line of {invoice.number}")
        counts[line] += 1
        sums[line] += fee.amount.minor_units
        yield Billed(line, fee)
    for number, each in enumerate(invoice.lines, start=1):
        if (counts[number], sums[number]) != (each.count, each.amount.minor_units):
            raise _incomplete(
                f"has {counts[number]} fees for line {number} of {invoice.number}, which says {each.count}, "
                "or another sum of them"
            )


def document(stored: StoredInvoice) -> dict[str, object]:
    """An invoice for programs, without the events: amounts are decimal numbers as text."""
    invoice, (partition, offset) = stored.invoice, stored.position
    return {
        "number": invoice.number,
        "invoice_id": invoice.meta.event_id,
        "subscriber": invoice.subscriber,
        "name": invoice.name,
        "period": invoice.period,
        "start": invoice.start,
        "end": invoice.end,
        "issued_at": stored.issued_at,
        "topic": partition.topic,
        "partition": partition.number,
        "offset": offset,
        "currency": invoice.total.currency,
        "total": money.number_of(invoice.total),
        "lines": [
            {"line": number, **_line_fields(line)} for number, line in enumerate(invoice.lines, start=1)
        ],
    }


def fee_document(fee: StoredFee) -> dict[str, object]:
    """A fee for programs; topic, partition and offset are those of the event that caused it."""
    return {
        "fee_id": fee.fee_id,
        "cause_id": fee.cause_id,
        "conversation": fee.correlation_id,
        "topic": fee.cause.topic,
        "partition": fee.cause.partition,
        "offset": fee.cause.offset,
        "charged_at": fee.charged_at,
        "quantity": fee.quantity,
        "unit": fee.unit,
        "amount": money.number_of(fee.amount),
        "currency": fee.amount.currency,
    }


def price_text(line: InvoiceLine | StoredFee) -> str:
    """A unit price for people, as 0.05 per image."""
    return price.unit_price(line.price, line.per, line.unit)


def what(line: InvoiceLine | StoredFee) -> str:
    """What a fee is for, for people: its kind and, where it has one, its item."""
    return line.kind.lower().replace("_", " ") + (f": {line.item}" if line.item else "")


async def write_json(reader: AccountReader, stored: StoredInvoice, file: BinaryIO, *, full: bool) -> None:
    """Write an invoice as one JSON object on one line; `events` name the number of their line.

    Args:
        reader: of the catalog that has it.
        stored: the invoice.
        file: where to write it.
        full: with the events.
    """
    text = msgspec.json.encode(document(stored))
    if not full:
        file.write(text + b"\n")
        return
    file.write(text[:-1] + b',"events":[')
    first = True
    async with aclosing(events(reader, stored)) as found:
        async for line, fee in found:
            one = msgspec.json.encode({"line": line, **fee_document(fee)})
            file.write(one if first else b"," + one)
            first = False
    file.write(b"]}\n")


COLUMNS = (
    *("row", "invoice", "subscriber", "name", "period", "line", "kind", "item", "count", "quantity", "unit"),
    *("price", "per", "amount", "currency", "policy", "tariff", "version", "for_period", "digest"),
    *("fee_id", "cause_id", "topic", "partition", "offset", "charged_at"),
)


async def write_csv(reader: AccountReader, chosen: Iterable[StoredInvoice], file: BinaryIO) -> None:
    """Write invoices as one CSV table (UTF-8, comma, a head): what a row is stands in its first column.

    A `line` of the invoice is followed by one row for each `event` behind it, where the catalog has them in
    this order, and the `total` stands last.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        table = csv.DictWriter(text, COLUMNS, restval="")
        table.writeheader()
        for stored in chosen:
            await _csv_rows(reader, stored, table)
    finally:
        text.detach()


async def write_text(reader: AccountReader, stored: StoredInvoice, to: Console, *, full: bool) -> None:
    """Write an invoice for people.

    Args:
        reader: of the catalog that has it.
        stored: the invoice.
        to: where to write it.
        full: with the events.
    """
    invoice = stored.invoice
    console.table(
        f"Invoice {invoice.number}",
        ("", ""),
        [
            ("to", invoice.name),
            ("subscriber", invoice.subscriber),
            (
                "period (UTC)",
                f"{invoice.period}: {console.moment(invoice.start)} to before {console.moment(invoice.end)}",
            ),
            ("issued (UTC)", console.moment(stored.issued_at)),
            ("total", money.text_of(invoice.total)),
            ("event", stored.position),
        ],
        to=to,
    )
    console.table(
        "Lines",
        ("line", "what for", "count", "quantity", "unit price", "amount", "rounding", "tariff", "period"),
        [
            (
                number,
                what(line),
                line.count,
                console.counted(line.quantity, line.unit),
                price_text(line),
                money.decimal(line.amount),
                line.policy,
                f"{line.tariff} version {line.version}",
                line.period,
            )
            for number, line in enumerate(invoice.lines, start=1)
        ],
        to=to,
    )
    if full:
        await _write_events(reader, stored, to)


def console_on(file: BinaryIO) -> tuple[Console, Callable[[], None]]:
    """A console that writes to a file, and what to call when all is written."""
    text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)

    def done() -> None:
        text.flush()
        text.detach()

    return Console(file=text, highlight=False, width=WIDTH), done


async def _write_events(reader: AccountReader, stored: StoredInvoice, to: Console) -> None:
    """One line of text for each event, written past the console: it is slow, and there may be many."""
    current = 0
    async with aclosing(events(reader, stored)) as found:
        async for line, fee in found:
            if line != current:
                current = line
                billed = stored.invoice.lines[line - 1]
                to.file.write(f"\nLine {line}: {what(billed)}, {console.counted(billed.count, 'event')}\n")
            place = str(fee.cause)
            to.file.write(
                f"  {console.moment(fee.charged_at)} {place:<24} {money.text_of(fee.amount):>14} for "
                f"{console.counted(fee.quantity, fee.unit)}, fee {fee.fee_id}, cause {fee.cause_id}\n"
            )


async def _csv_rows(reader: AccountReader, stored: StoredInvoice, table: "csv.DictWriter[str]") -> None:
    invoice = stored.invoice
    head = {
        "invoice": invoice.number,
        "subscriber": invoice.subscriber,
        "name": invoice.name,
        "period": invoice.period,
    }
    waiting = iter(enumerate(invoice.lines, start=1))
    shared: dict[int, dict[str, object]] = {}

    def begin(until: int) -> None:
        """Write the lines up to this one."""
        while until not in shared:
            number, line = next(waiting)
            fields = {**_line_fields(line), "line": number}
            table.writerow({"row": "line", **head, **fields})
            shared[number] = {**fields, "digest": "", "count": 1}

    async with aclosing(events(reader, stored)) as found:
        async for line, fee in found:
            begin(line)
            known = fee_document(fee)
            known.pop("conversation")
            known["charged_at"] = fee.charged_at.isoformat()
            table.writerow({"row": "event", **head, **shared[line], **known})
    if invoice.lines:
        begin(len(invoice.lines))
    table.writerow(
        {
            "row": "total",
            **head,
            "amount": money.number_of(invoice.total),
            "currency": invoice.total.currency,
        }
    )


def _line_fields(line: InvoiceLine) -> dict[str, object]:
    return {
        "kind": line.kind.value,
        "item": line.item,
        "count": line.count,
        "quantity": line.quantity,
        "unit": line.unit,
        "price": line.price,
        "per": line.per,
        "amount": money.number_of(line.amount),
        "currency": line.amount.currency,
        "policy": line.policy,
        "tariff": line.tariff,
        "version": line.version,
        "for_period": line.period,
        "digest": line.digest,
    }


def _rate(line: InvoiceLine | StoredFee) -> tuple[object, ...]:
    return (
        *(line.kind, line.item, line.unit, line.price, line.per, line.policy),
        *(line.tariff, line.version, line.period),
    )


def _incomplete(what: str) -> IncompleteCatalog:
    return IncompleteCatalog(
        f"The catalog {what}.",
        "Build it anew with `medbus catalog rebuild`, and look with `medbus audit rebill`.",
    )
