"""The home folder: one service at a time, and a status that others can read."""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from medbus.compose.home import ComponentStatus, Home, NotRunning, ServiceStatus
from medbus.schemas.errors import MedbusError

STATUS = ServiceStatus(
    pid=os.getpid(),
    bootstrap="127.0.0.1:9092",
    prefix="medbus",
    database="sqlite+aiosqlite:///catalog.sqlite",
    blobs="file:///blobs",
    ae_title="MEDBUS",
    dicom="127.0.0.1:11112",
    http="127.0.0.1:8080",
    components=(
        ComponentStatus(
            name="auth", state="up", detail="", pids=(1,), since=datetime(2026, 1, 1, tzinfo=UTC), restarts=0
        ),
    ),
)


def test_the_status_of_a_running_service_is_read_back(tmp_path: Path) -> None:
    home = Home(tmp_path)

    with home.locked():
        home.write_status(STATUS)
        assert home.status() == STATUS

    with pytest.raises(NotRunning):
        home.status()


def test_a_second_service_on_the_same_home_is_refused(tmp_path: Path) -> None:
    with (
        Home(tmp_path).locked(),
        pytest.raises(MedbusError, match="already"),
        Home(tmp_path).locked(),
    ):
        pass

    with Home(tmp_path).locked():
        pass


def test_a_status_that_a_killed_service_left_does_not_count(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run.mkdir()
    home.write_status(msgspec.structs.replace(STATUS, pid=2**22 + 1))

    with pytest.raises(NotRunning, match="medbus up"):
        home.status()


def test_a_home_that_can_not_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(MedbusError, match="can't be used") as caught,
        Home(tmp_path / "file" / "home").locked(),
    ):
        pass

    assert "--home" in caught.value.advice
