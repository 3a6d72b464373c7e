"""A whole service as its own processes, as `medbus up` runs it: for tests that break it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil

from medbus.compose.cli.options import installation
from medbus.compose.cli.subscriber import carry_out
from medbus.compose.home import Home, NotRunning, ServiceStatus
from medbus.compose.service import COLLECTOR, PROCESSING, RESULTS, SERVER, kind
from medbus.compose.settings import Settings
from medbus.gateways.dicom.client import Peer
from medbus.schemas.events import Terms
from medbus.streams.contracts import commands

UP_SECONDS = 150.0
DOWN_SECONDS = 40.0


class RunningService:
    """`medbus up` on a home of its own, on free ports.

    Args:
        home: its home folder.
        environment: more settings, `MEDBUS_…`.
    """

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self._environment = {
            "MEDBUS_HOME": str(home),
            "MEDBUS_DICOM_PORT": "0",
            "MEDBUS_DICOM_WORKERS": "2",
            "MEDBUS_HTTP_PORT": "0",
            # What most tests do without: it takes long to start.
            "MEDBUS_WITHOUT": ", ".join((PROCESSING, SERVER, RESULTS, COLLECTOR)),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._output = home.with_suffix(".out")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._output.read_text()

    def start(self) -> None:
        """Start it and wait until everything is up."""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "medbus.compose.cli", "up"],
                env={**os.environ, **self._environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait(lambda: "medbus is up" in self.output, "the service to be up", UP_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, wait until it has ended, and return its exit code. Nothing of it may be left."""
        assert self._process is not None
        family = self.family()
        self._process.send_signal(number)
        code = self._process.wait(DOWN_SECONDS)
        self._process = None
        _, alive = psutil.wait_procs(family, timeout=DOWN_SECONDS)
        assert not alive, f"still there after the service ended: {[each.cmdline() for each in alive]}"
        return code

    def close(self) -> None:
        """Make sure that nothing runs on."""
        if self._process is not None:
            family = self.family()
            for each in family:
                if each.is_running():
                    each.kill()
            psutil.wait_procs(family, timeout=DOWN_SECONDS)
            self._process.wait(DOWN_SECONDS)
            self._process = None

    def family(self) -> list[psutil.Process]:
        """Its processes and all that they started."""
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def status(self) -> ServiceStatus:
        return Home(self.home).status()

    def settings(self) -> Settings:
        """Settings with which programs reach it."""
        return installation(self.home)

    def peer(self, calling: str) -> Peer:
        """Its DICOM gateway, as somebody with this AE title sees it."""
        host, _, port = self.status().dicom.rpartition(":")
        return Peer(host=host, port=int(port), ae_title="MEDBUS", calling=calling, timeout=60)

    def pids(self, component: str) -> tuple[int, ...]:
        """The processes of a component, all of its workers', while they are up; none while one is not."""
        try:
            found = [each for each in self.status().components if kind(each.name) == component]
        except NotRunning:
            return ()
        up = all(each.state == "up" for each in found)
        return tuple(pid for each in found for pid in each.pids) if up else ()

    def kill(self, component: str) -> set[int]:
        """SIGKILL a component with all of its workers; returns the process ids that it had."""
        pids = self.pids(component)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return set(pids)

    async def contract(self, subscriber: str, terms: Terms) -> None:
        """Make a contract."""
        command = commands.Contract(
            command_id=uuid4(), at=datetime.now(UTC), source="test", subscriber=subscriber, terms=terms
        )
        await carry_out(self.settings(), command)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited {seconds:.0f} s in vain for {what}; it printed:\n{self.output}\n{self._logs()}"
            )
            assert self._process is not None
            assert self._process.poll() is None, f"the service ended:\n{self.output}\n{self._logs()}"
            time.sleep(0.05)

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        await asyncio.to_thread(self.wait, condition, what, seconds)

    def _logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted((self.home / "logs").glob("*.log"))
        )


def medbus(*arguments: str, home: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the `medbus` command against a home."""
    done = subprocess.run(
        [sys.executable, "-m", "medbus.compose.cli", *arguments],
        env={**os.environ, "MEDBUS_HOME": str(home), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, f"medbus {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """The JSON objects that a command printed, one a line."""
    return [json.loads(line) for line in done.stdout.splitlines()]
