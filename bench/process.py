"""Servers that the benchmark starts and stops, and what processes use."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bench.inflow import PeerFailed

START_SECONDS = 30.0
STOP_SECONDS = 20.0

NODELAY = {"TCP_NODELAY": "1"}
"""DCMTK, and so Orthanc, leaves Nagle's algorithm on without this: some 40 ms lost for each image."""


class Server:
    """A program that listens on a port of loopback; use with `with`.

    Args:
        arguments: program and arguments.
        port: where it will listen.
        log: file that gets what it prints.
        environment: beside ours.
    """

    def __init__(
        self, arguments: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.arguments = arguments
        self.port = port
        self.log = log
        self.environment = environment or {}
        self._process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        self._process = start(self.arguments, log=self.log, environment=self.environment)
        try:
            self._listening()
        except BaseException:
            stop(self._process)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stop(self._process)

    def _listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        said = self.log.read_text(errors="replace")[-500:]
        raise PeerFailed(f"{self.arguments[0]} does not listen on port {self.port}: {said}")


def start(
    arguments: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that a Ctrl-C reaches us alone and we stop it in order."""
    with log.open("ab") as output:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program: first by SIGTERM, then by SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        except BaseException:
            process.kill()
            raise


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dcmtk(name: str) -> str | None:
    """DCMTK's program of this name; pynetdicom has some of the same name, which may come first on PATH."""
    return shutil.which(name, path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its descendants and those that it has waited for."""
    seconds = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
            if process.pid == pid:
                seconds += times.children_user + times.children_system
    return seconds


def resident_megabytes(pid: int) -> tuple[float, float]:
    """Resident memory of a process now and at its peak; twice the same where the system tells no peak."""
    with contextlib.suppress(OSError):
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return _megabytes(fields["VmRSS"]), _megabytes(fields["VmHWM"])
    with contextlib.suppress(psutil.NoSuchProcess):
        now = psutil.Process(pid).memory_info().rss / 1e6
        return now, now
    return 0.0, 0.0


def _megabytes(kibibytes: str) -> float:
    return int(kibibytes.split(maxsplit=1)[0]) * 1024 / 1e6
