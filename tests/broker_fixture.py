"""One real Kafka broker for a whole test run, whatever the number of pytest-xdist workers.

Import the fixture ``kafka`` into a ``conftest.py``; its value is the broker's address. The broker belongs to
a keeper, a process of its own, which the first worker that wants it starts. Every worker holds a shared lock
on one file for as long as it lives, and the operating system lets go of it however the worker ends. When the
keeper can have that lock for itself, nobody is left: it stops the broker, removes its data, and ends.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

START_SECONDS = 240.0
"""The first run on a machine downloads Kafka."""
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address (``host:port``) of a real broker that all tests of this run share.

    Use topics and consumer groups with names of your own. Auto-creation of topics is off.
    """
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    with shared_broker(folder / "kafka") as bootstrap:
        yield bootstrap


@contextlib.contextmanager
def shared_broker(folder: Path) -> Iterator[str]:
    """Use the broker of a folder, which is started if need be and goes when its last user does."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "bootstrap"
    with (folder / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not address.exists():
                start_keeper(folder)
        yield address.read_text()
        # Whoever can have the lock for itself is the last; the keeper takes it next.
        if not alone(users):
            return
    wait_until(lambda: not address.exists(), STOP_SECONDS, f"the keeper of {folder} to stop its broker")


def start_keeper(folder: Path) -> None:
    """Start the keeper and wait for its broker."""
    log_file = folder / "keeper.log"
    with log_file.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-P", __file__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def started() -> bool:
        if keeper.poll() is not None:
            raise RuntimeError(f"the tests' Kafka broker did not start:\n{log_file.read_text()}")
        return (folder / "bootstrap").exists()

    wait_until(started, START_SECONDS, f"the tests' Kafka broker to start; see {log_file}")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(POLL_SECONDS)


async def keep(folder: Path) -> None:
    """The keeper: run the broker until no user is left."""
    from medbus.compose.kafka import EmbeddedKafka

    address, draft = folder / "bootstrap", folder / "bootstrap.new"
    home = folder / "home"
    with (folder / "users.lock").open() as users:
        try:
            async with EmbeddedKafka(home) as broker:
                draft.write_text(broker.bootstrap)
                draft.rename(address)
                dead = asyncio.ensure_future(broker.wait_dead())
                while not dead.done() and not alone(users):
                    await asyncio.wait([dead], timeout=POLL_SECONDS)
                if dead.done():
                    logging.error("%s", dead.result())
                dead.cancel()
        finally:
            shutil.rmtree(home, ignore_errors=True)
            address.unlink(missing_ok=True)


def alone(users: TextIO) -> bool:
    """Take the users' lock if nobody has it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(keep(Path(sys.argv[1])))
