"""Log lines of a worker process: one line each, also for a traceback, so that any collector reads them."""

import logging
import sys
from datetime import UTC, datetime


class LineFormatter(logging.Formatter):
    """`time level logger message`, with what follows a line break on the same line behind ` | `."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return " | ".join(
            [f"{time} {record.levelname} {record.name} {text}".splitlines()[0], *text.splitlines()[1:]]
        )


def configure(level: int = logging.INFO) -> None:
    """Send everything of ours, and what others warn of, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("medbus").setLevel(level)
