"""What a broker's log says about its failure."""

import re
from pathlib import Path

ERRORS = 8
LAST = 8
READ_BYTES = 512 * 1024
LINE_CHARACTERS = 240

ERROR = re.compile(
    r"\S+ (ERROR|FATAL) |Caused by: |Exception in thread |Error occurred during initialization"
)
FRAME = re.compile(r"\s+(at |\.\.\. \d+)")


def size(file: Path) -> int:
    """The size of a file in bytes; 0 if there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def text_since(file: Path, since: int = 0) -> str:
    """What was written to a log from an offset on, of that the last 512 KiB; empty if there is no log.

    Args:
        file: the log.
        since: byte offset; disregarded if the log has been rotated since.
    """
    try:
        with file.open("rb") as stream:
            end = stream.seek(0, 2)
            stream.seek(max(since if since <= end else 0, end - READ_BYTES))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def telling_lines(text: str) -> str:
    """The first errors in a log and its last lines, shortened, without stack frames and repetitions.

    A fatal error is often followed by an orderly shutdown that says a lot: the last lines would hide it.
    """
    lines = [line for line in text.splitlines() if line.strip() and not FRAME.match(line)]
    errors = [number for number, line in enumerate(lines) if ERROR.match(line)]
    # The line after an error names the exception.
    errors = [number for error in errors for number in (error, error + 1) if number < len(lines)]
    told: dict[str, None] = {}
    for number in errors:
        if len(told) < ERRORS:
            told.setdefault(shorten(lines[number]))
    for line in lines[-LAST:]:
        told.setdefault(shorten(line))
    return "\n".join(told)


def shorten(line: str) -> str:
    """A line that fits a terminal's few lines."""
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]}…"
