"""The home folder of an installation: one lock, what runs, and logs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import psutil

from medbus.schemas.errors import MedbusError


class NotRunning(MedbusError):
    """No service runs on this home."""


class ComponentStatus(msgspec.Struct, frozen=True):
    """What the supervisor says of a component."""

    name: str
    state: str
    detail: str
    pids: tuple[int, ...]
    since: datetime
    restarts: int


class ServiceStatus(msgspec.Struct, frozen=True):
    """What the supervisor says of the service; `bootstrap` is where Kafka listens."""

    pid: int
    bootstrap: str
    prefix: str
    database: str
    blobs: str
    ae_title: str
    dicom: str
    http: str
    components: tuple[ComponentStatus, ...]


class Home:
    """The folder that holds everything of an embedded installation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for one service. The lock ends with the process, however that ends.

        Raises:
            MedbusError: another service holds it, or the folder can't be written.
        """
        try:
            for folder in (self.path, self.logs, self.run):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MedbusError(
                f"The home folder {self.path} can't be used: {error.strerror}.",
                "Choose another with --home or MEDBUS_HOME.",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise MedbusError(
                f"A medbus service runs on {self.path} already.",
                "Stop it, or start another with its own --home.",
            ) from None
        try:
            yield
        finally:
            self.status_file.unlink(missing_ok=True)
            os.close(lock)

    @property
    def status_file(self) -> Path:
        return self.run / "service.json"

    def write_status(self, status: ServiceStatus) -> None:
        """Tell others what runs; a reader sees the old or the new, never a part."""
        part = self.status_file.with_suffix(".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(status)))
        part.replace(self.status_file)

    def status(self) -> ServiceStatus:
        """What runs.

        Raises:
            NotRunning: nothing does.
        """
        try:
            status = msgspec.json.decode(self.status_file.read_bytes(), type=ServiceStatus)
        except (FileNotFoundError, NotADirectoryError):
            status = None
        if status is None or not psutil.pid_exists(status.pid):
            raise NotRunning(
                f"No medbus service runs on {self.path}.",
                "Start one with `medbus up`, or name its home with --home or a cluster with --kafka.",
            )
        return status
