"""The compose file for a cluster names components and settings that exist."""

from pathlib import Path
from typing import Any

import pytest

from medbus.compose.service import PROCESSES
from medbus.compose.settings import Settings

yaml: Any = pytest.importorskip("yaml", reason="no YAML reader is installed")

FILE = Path(__file__).parents[2] / "compose" / "cluster" / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return {name: each for name, each in loaded.items() if str(each.get("command", "")).startswith("up ")}


def test_together_they_run_every_component_once(services: dict[str, Any]) -> None:
    named = [word for each in services.values() for word in each["command"].split() if word in PROCESSES]

    assert sorted(named) == sorted(PROCESSES)


def test_every_variable_of_ours_is_a_setting(services: dict[str, Any]) -> None:
    variables = {
        name for each in services.values() for name in each["environment"] if name.startswith("MEDBUS_")
    }

    assert {"MEDBUS_KAFKA", "MEDBUS_DATABASE", "MEDBUS_BLOBS"} <= variables
    assert variables <= {f"MEDBUS_{name.upper()}" for name in Settings.model_fields}
