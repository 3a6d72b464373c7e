"""How the command line speaks: tables and progress to standard output, errors to standard error."""

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from medbus.schemas.errors import MedbusError

# A file or pipe has no width of its own: wide enough for a table.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)

T = TypeVar("T")

USAGE = 2
FAILED = 1
INTERRUPTED = 130


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; errors of medbus become a message and exit code 1, Ctrl-C exit code 130."""
    try:
        return asyncio.run(work)
    except MedbusError as error:
        fail(error)
    except BaseExceptionGroup as group:
        matched, rest = group.split(MedbusError)
        if matched is None or rest is not None:
            raise
        fail(_first(matched))
    except KeyboardInterrupt:
        err.print("Interrupted.")
        raise SystemExit(INTERRUPTED) from None


def fail(error: MedbusError) -> NoReturn:
    """Print what is wrong and what to do, and exit."""
    err.print(Text(f"Error: {error.message}", style="bold red"))
    if error.advice:
        err.print(Text(error.advice))
    raise SystemExit(FAILED)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, to: Console | None = None
) -> None:
    """Print rows, to standard output if nothing else is said; numbers stand to the right."""
    grid = Table(title=title, title_justify="left", title_style="bold")
    listed = [tuple(row) for row in rows]
    for index, column in enumerate(columns):
        number = bool(listed) and all(isinstance(row[index], int | float | Decimal) for row in listed)
        grid.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in listed:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    (to or out).print(grid)


def as_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(value, enc_hook=_json_value) + b"\n")
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()


def progress() -> Progress:
    """A progress bar that counts."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=err,
    )


def counted(number: int, noun: str) -> str:
    """So many of a thing, as 1 image or 2 images."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def bytes_text(size: int) -> str:
    """A size for people, in binary units."""
    value, units = float(size), iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))
    unit = next(units)
    while value >= 1024 and unit != "PiB":
        value, unit = value / 1024, next(units)
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def moment(value: datetime | None) -> str:
    """A time for people: UTC, to the second."""
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%S")


def date_text(value: str) -> str:
    """A DICOM date (DA) for people; what is no date stays as it is."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 and value.isdigit() else value


def _first(group: BaseExceptionGroup[MedbusError]) -> MedbusError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MedbusError)  # noqa: S101
    return error


def _json_value(value: object) -> object:
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)
