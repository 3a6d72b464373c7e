"""A process that does one work item after the other.

Nothing here imports numpy: the numbers of threads that its libraries start must be said before they are
loaded.
"""

import asyncio
import logging
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

from medbus.blobs import BlobCorrupted, BlobError, BlobNotFound, BlobStore, BlockingBlobs
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import ItemPlanned
from medbus.streams import log as lines
from medbus.streams.processing.serving.outcome import Outcome, Trouble

log = logging.getLogger(__name__)

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

BESIDE: Final = 1024**3
"""Bytes that a process may use beside the memory for pixels; more is refused, before the system is short of
memory and ends some process of its choice."""

READY: Final = "ready"


class Task(NamedTuple):
    """What a process is given.

    Attributes:
        item: to be done.
        memory: bytes of arrays that may be in memory.
    """

    item: ItemPlanned
    memory: int


class Tools(NamedTuple):
    """What a process works with.

    Attributes:
        blobs: URL of the blob store.
        memory: bytes of arrays at most, whatever a task says.
        folder: for arrays that are too large for memory; None for the system's.
    """

    blobs: str
    memory: int
    folder: Path | None


def main(connection: Connection, tools: Tools) -> None:
    """Do what comes over the connection, until there is nobody at its other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent says when to end
    os.environ.update(dict.fromkeys(THREADS, "1"))
    lines.configure()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = tools.memory + BESIDE
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    threading.Thread(target=_follow, name="parent", daemon=True).start()
    try:
        store = asyncio.run(BlobStore.open(tools.blobs))
        # Loaded now, not with the first item.
        from medbus.streams.processing.serving import executing  # noqa: F401, PLC0415
    except MedbusError as error:
        connection.send(Trouble(reason=str(error)))
        return
    connection.send(READY)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task: Task = connection.recv()
            connection.send(attempt(task, store.blocking, tools.folder))


def attempt(task: Task, blobs: BlockingBlobs, folder: Path | None) -> Outcome | Trouble:
    """Do a work item; every exception becomes a reason."""
    from medbus.streams.processing.serving.executing import execute  # noqa: PLC0415

    try:
        return execute(task.item, blobs, memory=task.memory, folder=folder)
    except (BlobNotFound, BlobCorrupted) as error:
        return Trouble(reason=str(error))
    except (BlobError, OSError) as error:
        return Trouble(reason=str(error), passing=True)
    except MedbusError as error:
        return Trouble(reason=str(error))
    except MemoryError:
        return Trouble(reason="There was not enough memory.", memory=True)
    except Exception as error:
        # Images may hold anything: one of them is no reason to end.
        log.exception("item %d of %s failed", task.item.item, task.item.grant_id)
        return Trouble(reason=f"{type(error).__name__}: {error}")


def _follow() -> None:
    """End with the parent, also in the middle of an item."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
