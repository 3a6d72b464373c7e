"""An invoice as PDF: A4, as many pages as its lines need. Pure: the same invoice gives the same bytes."""

import io
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from medbus.compose import invoice_fonts as fonts
from medbus.schemas import money
from medbus.schemas.events import InvoiceIssued, InvoiceLine

WIDTH, HEIGHT = A4
LEFT, RIGHT = 18 * mm, WIDTH - 18 * mm
TOP, BOTTOM = HEIGHT - 16 * mm, 20 * mm

TITLE, TEXT, SMALL = 15.0, 8.0, 6.5
LEADING = 1.3
GREY = 0.4
CAPITAL = 0.19
"""How much higher a mark stands over a capital than over a small letter, of the font's size."""


class Written(NamedTuple):
    """A line of text on a page: its left end and its base line in points from the lower left corner."""

    x: float
    y: float
    size: float
    grey: bool
    line: fonts.Line


class Rule(NamedTuple):
    """A line over the whole width."""

    y: float


Page = list[Written | Rule]


class Column(NamedTuple):
    """A column of the table of lines: where it begins and ends, in points."""

    head: str
    start: float
    end: float
    right: bool


def _columns(*widths: tuple[str, float, bool]) -> tuple[Column, ...]:
    found: list[Column] = []
    at = LEFT
    for head, width, right in widths:
        found.append(Column(head, at, at + width * mm - 2.5 * mm, right))
        at += width * mm
    return tuple(found)


COLUMNS = _columns(
    ("", 9, True),
    ("What for", 53, False),
    ("Count", 20, True),
    ("Quantity", 36, True),
    ("Unit price", 32, True),
    ("Amount", 26.5, True),
)


def render(invoice: InvoiceIssued, *, service: str, issued_at: datetime) -> bytes:
    """An invoice as PDF.

    Args:
        invoice: it.
        service: what the service is called, for the head of every page.
        issued_at: when it came to be on the log, UTC.
    """
    fonts.register()
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setTitle(f"Invoice {invoice.number}")
    canvas.setAuthor(service)
    for page in layout(invoice, service=service, issued_at=issued_at):
        for item in page:
            if isinstance(item, Rule):
                canvas.setLineWidth(0.5)
                canvas.line(LEFT, item.y, RIGHT, item.y)
            else:
                _draw(canvas, item)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def layout(invoice: InvoiceIssued, *, service: str, issued_at: datetime) -> list[Page]:
    """What stands where on which page; see `render`."""
    pages = _Pages(service, invoice.number)
    _head(pages, invoice, service, issued_at)
    pages.begin_table()
    for number, line in enumerate(invoice.lines, start=1):
        _row(pages, number, line)
    if not invoice.lines:
        pages.paragraph("Nothing was charged in this period.", TEXT)
    pages.end_table()
    _foot(pages, invoice)
    return pages.done()


def grouped(number: int) -> str:
    """A whole number with its digits in groups of three, which a line does not break."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


def title(kind: str) -> str:
    """The kind of a fee for people."""
    return kind.replace("_", " ").capitalize()


def rounding(policy: str) -> str:
    """A rounding policy in words."""
    return f"half up to {policy.rpartition('-')[2]} decimals" if policy.startswith("half-up-") else policy


def _head(pages: "_Pages", invoice: InvoiceIssued, service: str, issued_at: datetime) -> None:
    pages.paragraph(service, TEXT, font=fonts.BOLD)
    pages.paragraph(f"Invoice {invoice.number}", TITLE, font=fonts.BOLD)
    pages.skip(3)
    for label, value in (
        ("To", invoice.name),
        ("Subscriber", invoice.subscriber),
        ("Period", f"{invoice.period}: from {_moment(invoice.start)} until before {_moment(invoice.end)}"),
        ("Issued", _moment(issued_at)),
        ("Currency", invoice.total.currency),
        ("Id", str(invoice.meta.event_id)),
    ):
        pages.pair(label, value)
    pages.skip(8)


def _row(pages: "_Pages", number: int, line: InvoiceLine) -> None:
    what = title(line.kind.value) + (f": {line.item}" if line.item else "")
    price = line.price if line.per == 1 else f"{line.price} per {grouped(line.per)}"
    cells = (
        str(number),
        what,
        grouped(line.count),
        f"{grouped(line.quantity)} {line.unit}{'' if line.quantity == 1 else 's'}",
        price,
        money.number_of(line.amount),
    )
    events = f"{grouped(line.count)} {'event' if line.count == 1 else 'events'}"
    notes = [
        f"{f'For {line.period}. ' if line.period else ''}Price list {line.tariff}, version {line.version}; "
        f"each rounded {rounding(line.policy)} ({line.policy}).",
        f"{events}, SHA-256 of their ids {line.digest}",
    ]
    pages.row(cells, notes)


def _foot(pages: "_Pages", invoice: InvoiceIssued) -> None:
    pages.total("Total", money.text_of(invoice.total))
    pages.skip(6)
    policies = sorted({line.policy for line in invoice.lines})
    for policy in policies:
        pages.paragraph(
            f"Rounding: every fee is rounded {rounding(policy)} ({policy}); a line is the sum of its fees, "
            "and the total the sum of the lines.",
            SMALL,
            grey=True,
        )
    if invoice.lines:
        pages.paragraph(
            "The SHA-256 is that of the ids of a line's events in ascending order, 16 bytes each. "
            f"`medbus invoice show {invoice.number} --events` names each with its place in the log.",
            SMALL,
            grey=True,
        )


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC" if at.second == 0 else "%Y-%m-%d %H:%M:%S UTC")


class _Pages:
    """Pages that fill from the top."""

    def __init__(self, service: str, number: str) -> None:
        self._service = service
        self._number = number
        self._pages: list[Page] = [[]]
        self._y = TOP
        self._in_table = False

    def skip(self, points: float) -> None:
        """Leave some room."""
        self._y -= points

    def paragraph(self, text: str, size: float, *, font: str = fonts.REGULAR, grey: bool = False) -> None:
        """Write a text over the whole width."""
        for line in fonts.wrap(text, size, RIGHT - LEFT, font):
            self._need(size * LEADING)
            self._write(line, LEFT, size, grey=grey)
            self._y -= size * LEADING

    def pair(self, label: str, value: str) -> None:
        """Write a label and what belongs to it."""
        start = LEFT + 24 * mm
        for index, line in enumerate(fonts.wrap(value, TEXT, RIGHT - start)):
            self._need(TEXT * LEADING)
            if index == 0:
                self._write(fonts.wrap(label, TEXT, start - LEFT)[0], LEFT, TEXT, grey=True)
            self._write(line, start, TEXT)
            self._y -= TEXT * LEADING

    def begin_table(self) -> None:
        """From now on every page begins with the table's head."""
        self._in_table = True
        self._table_head()

    def end_table(self) -> None:
        """No more rows."""
        self._in_table = False

    def row(self, cells: Iterable[str], notes: Iterable[str]) -> None:
        """Write a row; it goes on on the next page where it does not fit on one.

        Args:
            cells: one text for each column; each is broken into lines as its column needs.
            notes: what is said below them in small print.
        """
        wrapped = [
            fonts.wrap(cell, TEXT, column.end - column.start)
            for column, cell in zip(COLUMNS, cells, strict=True)
        ]
        lines = [self._aligned([each[i : i + 1] for each in wrapped]) for i in range(max(map(len, wrapped)))]
        start = COLUMNS[1].start
        small = [line for note in notes for line in fonts.wrap(note, SMALL, RIGHT - start)]
        height = len(lines) * TEXT * LEADING + len(small) * SMALL * LEADING + 5
        if height <= TOP - BOTTOM - 4 * TEXT * LEADING:
            self._need(height)  # keep it together
        for across in lines:
            self._need(TEXT * LEADING)
            for line, x in across:
                self._write(line, x, TEXT)
            self._y -= TEXT * LEADING
        for line in small:
            self._need(SMALL * LEADING)
            self._write(line, start, SMALL, grey=True)
            self._y -= SMALL * LEADING
        self._y -= 5

    def total(self, label: str, amount: str) -> None:
        """Write the last line of the table."""
        self._need(4 + TEXT * LEADING * 2)
        self._rule(self._y)
        self._y -= 4
        (line,) = fonts.wrap(f"{label} {amount}", TEXT + 1, RIGHT - LEFT, fonts.BOLD)
        self._write(line, COLUMNS[-1].end - line.width, TEXT + 1)
        self._y -= TEXT * LEADING

    def done(self) -> list[Page]:
        """All pages, with a foot that says which of how many each is."""
        for number, page in enumerate(self._pages, start=1):
            foot = f"{self._number}, page {number} of {len(self._pages)}"
            lines = fonts.wrap(foot, SMALL, RIGHT - LEFT)
            for index, line in enumerate(reversed(lines)):
                y = BOTTOM / 3 + index * SMALL * LEADING
                page.append(Written(RIGHT - line.width, y, SMALL, True, line))
        return self._pages

    def _aligned(self, cells: list[list[fonts.Line]]) -> list[tuple[fonts.Line, float]]:
        """The lines that stand beside one another, and where each begins."""
        return [
            (line, column.end - line.width if column.right else column.start)
            for column, lines in zip(COLUMNS, cells, strict=True)
            for line in lines
        ]

    def _table_head(self) -> None:
        for column in COLUMNS:
            (line,) = fonts.wrap(column.head, TEXT, column.end - column.start, fonts.BOLD)
            self._write(line, column.end - line.width if column.right else column.start, TEXT)
        self._y -= TEXT * LEADING
        self._rule(self._y - 2)
        self._y -= 5

    def _need(self, height: float) -> None:
        """Begin a new page if there is not so much room left."""
        if self._y - height >= BOTTOM:
            return
        self._pages.append([])
        self._y = TOP
        heading = fonts.wrap(f"{self._service}, invoice {self._number}", SMALL, RIGHT - LEFT)
        for line in heading:
            self._write(line, LEFT, SMALL, grey=True)
            self._y -= SMALL * LEADING
        self._y -= 6
        if self._in_table:
            self._table_head()

    def _write(self, line: fonts.Line, x: float, size: float, *, grey: bool = False) -> None:
        self._pages[-1].append(Written(x, self._y - size, size, grey, line))

    def _rule(self, y: float) -> None:
        self._pages[-1].append(Rule(y))


def _draw(canvas: Canvas, item: Written) -> None:
    canvas.setFillGray(GREY if item.grey else 0)
    x = item.x
    for run in item.line.runs:
        canvas.setFont(run.font, item.size)
        canvas.drawString(x, item.y, run.text)
        after = x + fonts.width(run, item.size)
        raised = 0.0 if run.text.islower() and run.text not in "bdfhklt" else CAPITAL
        for mark in run.marks:
            drawn = fonts.Run(fonts.REGULAR, mark)
            below = mark in fonts.BELOW
            canvas.setFont(drawn.font, item.size)
            canvas.drawString(
                (x + after - fonts.width(drawn, item.size)) / 2,
                item.y + (0 if below else raised * item.size),
                mark,
            )
            raised += 0 if below else CAPITAL
        x = after
