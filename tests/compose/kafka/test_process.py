"""A guarded command ends when it is told to, and with its parent."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from medbus.compose.kafka import BrokerError, guard
from medbus.compose.kafka.logs import size
from medbus.compose.kafka.process import GuardedProcess

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('here', flush=True); time.sleep(60)",
]
GONE_SECONDS = 10.0


async def wait_gone(pid: int) -> float:
    """Wait until a process is gone; seconds that took."""
    start = time.monotonic()
    while alive(pid):
        assert time.monotonic() - start < GONE_SECONDS, f"process {pid} still runs"
        await asyncio.sleep(0.02)
    return time.monotonic() - start


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def wait_for_text(file: Path) -> None:
    """Wait until the command has said something, so that it is past its beginnings."""
    deadline = time.monotonic() + GONE_SECONDS
    while size(file) == 0:
        assert time.monotonic() < deadline, "the command says nothing"
        await asyncio.sleep(0.02)


async def test_a_command_that_ends_is_reported_with_its_code(tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-c", "print('hello'); raise SystemExit(3)"]
    process = await GuardedProcess.start(command, output=output, grace=5)
    assert await asyncio.wait_for(process.wait(), 10) == 3
    assert process.returncode == 3
    assert output.read_text() == "hello\n"
    assert await process.stop() == 3


async def test_a_command_that_can_not_be_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="/no/such/program: No such file"):
        await GuardedProcess.start(["/no/such/program"], output=tmp_path / "out", grace=5)


async def test_stop_asks_first(tmp_path: Path) -> None:
    process = await GuardedProcess.start(SLEEP, output=tmp_path / "out", grace=5)
    assert process.returncode is None
    assert await process.stop() == -signal.SIGTERM
    assert not alive(process.pid)


async def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    process = await GuardedProcess.start(DEAF, output=tmp_path / "out", grace=0.3)
    await wait_for_text(tmp_path / "out")
    assert await process.stop() == -signal.SIGKILL


async def test_a_killed_command_is_noticed_at_once(tmp_path: Path) -> None:
    process = await GuardedProcess.start(SLEEP, output=tmp_path / "out", grace=5)
    os.kill(process.pid, signal.SIGKILL)
    assert await asyncio.wait_for(process.wait(), 2) == -signal.SIGKILL


async def test_a_killed_guard_takes_the_command_along(tmp_path: Path) -> None:
    process = await GuardedProcess.start(SLEEP, output=tmp_path / "out", grace=5)
    guardian = psutil.Process(process.pid).parent()
    assert guardian
    guardian.kill()
    assert await asyncio.wait_for(process.wait(), 5) == -signal.SIGKILL
    assert not alive(process.pid)


async def test_a_guard_that_is_asked_to_end_ends_the_command(tmp_path: Path) -> None:
    process = await GuardedProcess.start(SLEEP, output=tmp_path / "out", grace=5)
    guardian = psutil.Process(process.pid).parent()
    assert guardian
    guardian.terminate()
    assert await asyncio.wait_for(process.wait(), 5) == -signal.SIGTERM


async def test_the_command_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    process = await GuardedProcess.start(SLEEP, output=tmp_path / "out", grace=5)
    assert os.getsid(process.pid) != os.getsid(0)
    assert os.getpgid(process.pid) != os.getpgid(0)
    await process.stop()


async def test_a_descriptor_is_kept_open_in_the_command(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-c", f"import os; os.write({writer}, b'kept')"]
    process = await GuardedProcess.start(command, output=tmp_path / "out", grace=5, keep_fds=[writer])
    os.close(writer)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert os.read(reader, 10) == b"kept"
    assert os.read(reader, 10) == b""
    os.close(reader)


async def test_the_guard_sees_its_parent_die_although_a_child_of_that_holds_the_pipe(tmp_path: Path) -> None:
    # The middle process starts a guard and, from a fork, keeps the guard's input open when it dies itself.
    middle = f"""
import os, subprocess, sys
guard = subprocess.Popen(
    [sys.executable, "-I", "-S", {guard.__file__!r}, str(os.getpid()), "5", "-", "sleep", "60"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
)
print(guard.stdout.readline().decode(), flush=True)
if os.fork() == 0:
    os.close(1), os.close(2)
    import time
    time.sleep(6)
    os._exit(0)
os._exit(0)
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", middle, stdout=subprocess.PIPE)
    said, _ = await asyncio.wait_for(parent.communicate(), 10)
    word, pid = said.decode().split()
    assert word == "pid"
    assert await wait_gone(int(pid)) < 5
