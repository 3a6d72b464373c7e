"""Log lines of worker processes."""

import logging
import sys

from medbus.streams.log import LineFormatter


def formatted(message: str, *, with_traceback: bool = False) -> str:
    exc_info = None
    if with_traceback:
        try:
            int("two\nlines")
        except ValueError:
            exc_info = sys.exc_info()
    record = logging.LogRecord("medbus.streams", logging.ERROR, "x.py", 1, message, (), exc_info)
    record.created = 0.5
    return LineFormatter().format(record)


def test_a_message_is_a_line() -> None:
    assert formatted("hello") == "1970-01-01T00:00:00.500+00:00 ERROR medbus.streams hello"


def test_a_message_with_a_traceback_is_a_line_too() -> None:
    line = formatted("it failed", with_traceback=True)
    assert line.startswith("1970-01-01T00:00:00.500+00:00 ERROR medbus.streams it failed | Traceback ")
    assert line.endswith("ValueError: invalid literal for int() with base 10: 'two\\nlines'")
    assert "\n" not in line


def test_an_empty_message_is_a_line() -> None:
    assert formatted("") == "1970-01-01T00:00:00.500+00:00 ERROR medbus.streams "
