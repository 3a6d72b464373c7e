"""Logging: a library that repeats itself is heard once in a while, with a count of what was held back."""

import logging

from medbus.compose.logs import Repetition


def record(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("library", logging.ERROR, __file__, 1, message, values, None)


def test_the_same_message_passes_once() -> None:
    repetition = Repetition(seconds=60)

    assert repetition.filter(record("no answer from %s", "one"))
    assert not repetition.filter(record("no answer from %s", "two"))
    assert repetition.filter(record("another message"))


def test_the_next_that_passes_says_how_many_were_held_back() -> None:
    repetition = Repetition(seconds=60)
    repetition.filter(record("no answer from %s", "one"))
    for _ in range(3):
        repetition.filter(record("no answer from %s", "two"))

    repetition._seconds = 0
    late = record("no answer from %s", "three")

    assert repetition.filter(late)
    assert late.getMessage() == "no answer from three (and 3 times more)"
