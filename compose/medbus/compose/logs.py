"""How processes log: one line of text per event, in UTC, to standard error; the supervisor keeps it."""

import logging
import sys
import time

import structlog

REPEAT_SECONDS = 10.0
"""A library that says the same again and again is heard once in so long."""

LIBRARIES = ("aiokafka", "faust", "mode", "pynetdicom", "uvicorn", "asyncio", "medbus.streams.application")


class Repetition(logging.Filter):
    """Passes a message on once in a while; the next time it says how often it was held back."""

    def __init__(self, seconds: float = REPEAT_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        last, held = self._seen.get(key, (float("-inf"), 0))
        now = time.monotonic()
        if now - last < self._seconds:
            self._seen[key] = (last, held + 1)
            return False
        if len(self._seen) > 1000:
            self._seen.clear()
        self._seen[key] = (now, 0)
        if held:
            record.msg = f"{record.getMessage()} (and {held} times more)"
            record.args = None
        return True


def configure(level: str) -> None:
    """Set up logging for this process.

    Args:
        level: of our own messages; libraries are heard from WARNING on, and do not repeat themselves.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(
                    key_order=["timestamp", "level", "logger", "event"], drop_missing=True
                ),
            ],
        )
    )
    libraries = Repetition()

    def quiet(record: logging.LogRecord) -> bool:
        return not record.name.startswith(LIBRARIES) or libraries.filter(record)

    handler.addFilter(quiet)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))
