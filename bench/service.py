"""The whole of medbus as a user runs it: `medbus up` in a folder of its own, with a contract."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import blast, process, query, retrieve, storescu
from medbus.compose.home import Home, NotRunning, ServiceStatus
from medbus.compose.service import DICOM, kind
from medbus.schemas.errors import MedbusError

AE_TITLE = "MEDBUS"
SUBSCRIBER = "bench"
START_SECONDS = 90.0
SUPERVISOR = "supervisor"
COMMAND = (sys.executable, "-c", "from medbus.compose.cli.app import main; main()")
"""The `medbus` command of the environment in which the benchmark runs."""


class ServiceFailed(MedbusError):
    """The service did not start, or a component of it died."""


class Service:
    """`medbus up`; use with `with`.

    Args:
        folder: its home; it must be there.
        destinations: where images may be moved to: AE title to port of loopback.
        environment: of all its processes, beside ours.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Mapping[str, int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.home = Home(folder)
        self.destinations = destinations
        self.log = folder / "up.log"
        self.environment = {
            "MEDBUS_HOME": str(folder),
            "MEDBUS_DICOM_PORT": "0",
            "MEDBUS_HTTP_PORT": "0",
            "MEDBUS_AE_TITLE": AE_TITLE,
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self._process = process.start([*COMMAND, "up"], log=self.log, environment=self.environment)
        try:
            self._wait_until_up()
            self._contract()
        except BaseException:
            process.stop(self._process)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process.stop(self._process)

    @property
    def status(self) -> ServiceStatus:
        """What its supervisor says.

        Raises:
            ServiceFailed: it has ended.
        """
        try:
            return self.home.status()
        except NotRunning as error:
            raise ServiceFailed(f"medbus has ended: {self._said()}") from error

    @property
    def port(self) -> int:
        """Where its DICOM gateway listens."""
        return int(self.status.dicom.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The supervisor, from which all its processes descend."""
        return self._process.pid

    @property
    def pids(self) -> dict[str, int]:
        """All its processes by component, those that a component has started itself included; numbered where
        one has several."""
        found = {SUPERVISOR: self.pid}
        for part in self.status.components:
            family = [each.pid for pid in part.pids for each in process.tree(pid)]
            found |= {
                f"{part.name}/{number}" if number else part.name: pid for number, pid in enumerate(family)
            }
        return found

    @property
    def gateways(self) -> tuple[int, ...]:
        """The processes that speak DICOM."""
        return tuple(pid for name, pid in self.pids.items() if kind(name.partition("/")[0]) == DICOM)

    def verify(self) -> None:
        """Check that nothing had to be restarted while it was measured.

        Raises:
            ServiceFailed: something had to be.
        """
        if died := [each for each in self.status.components if each.restarts]:
            raise ServiceFailed(f"{died[0].name} died while it was measured: {died[0].detail}")

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(NotRunning):
                parts = self.home.status().components
                if parts and all(part.state == "up" for part in parts):
                    return
            time.sleep(0.1)
        raise ServiceFailed(f"medbus did not come up: {self._said()}")

    def _contract(self) -> None:
        titles = (blast.CALLING, storescu.CALLING, retrieve.CALLING, query.CALLING)
        apparatuses = [f"CT#{number}={title}/CT" for number, title in enumerate(titles, start=1)]
        apparatuses += [f"{title}={title}@127.0.0.1:{port}" for title, port in self.destinations.items()]
        roles = ("image-registering", "image-receiving", "image-sending")
        added = subprocess.run(
            [
                *(*COMMAND, "subscriber", "add", SUBSCRIBER),
                *(part for each in roles for part in ("--role", each)),
                *(part for each in apparatuses for part in ("--apparatus", each)),
                *("--home", str(self.folder)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if added.returncode != 0:
            raise ServiceFailed(f"The contract was not made: {added.stderr.decode(errors='replace')[-500:]}")

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-1000:]
