"""Fixtures for the tests of the embedded broker: none may leave a process behind."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

GONE_SECONDS = 15.0


def processes_of(folder: Path) -> list[str]:
    """The command lines of the processes that work on a folder, other than this one."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        mine = process.info["pid"] == psutil.Process().pid or process.info["status"] == psutil.STATUS_ZOMBIE
        if str(folder) in line and not mine:
            found.append(f"{process.info['pid']}: {line}")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder for a broker. After the test, nothing may be running on it."""
    folder = tmp_path / "home"
    yield folder
    deadline = time.monotonic() + GONE_SECONDS
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []
