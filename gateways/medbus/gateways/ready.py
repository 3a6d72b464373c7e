"""Tells a supervisor that a gateway can be reached, and where."""

import json
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def announce(path: Path | None, address: str) -> None:
    """Log the address, HOST:PORT, and write it with the process id to a file: whole or not at all."""
    log.info("listening at %s", address)
    if path is None:
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    port = int(address.rpartition(":")[2])
    draft.write_text(json.dumps({"address": address, "port": port, "pid": os.getpid()}))
    draft.replace(path)
