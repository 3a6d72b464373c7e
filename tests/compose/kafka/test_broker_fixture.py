"""The tests' own broker: one for all workers of a run, and gone with the last."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.compose.kafka.conftest import processes_of

ROOT = Path(__file__).parents[3]
CONFTEST = "from tests.broker_fixture import kafka\n"
TESTS = """
import os, time
from pathlib import Path
import pytest
HERE = Path(__file__).parent

@pytest.mark.parametrize("number", range(4))
def test_one(kafka, number):
    (HERE / f"seen-{os.getpid()}-{number}").write_text(kafka)
    time.sleep(float(os.environ.get("TEST_SECONDS", "0")))
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with a small test suite."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run_pytest(suite: Path, *arguments: str, seconds: str = "0") -> subprocess.Popen[str]:
    """Run the suite in a pytest of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", f"--basetemp={suite / 'tmp'}", *arguments, str(suite)],
        env={**environment, "PYTHONPATH": str(ROOT), "TEST_SECONDS": seconds},
        cwd=suite,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_gone(suite: Path) -> None:
    deadline = time.monotonic() + 15
    while left := processes_of(suite / "tmp"):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "each")], ids=["alone", "two workers"])
def test_a_run_has_one_broker_and_leaves_none(suite: Path, workers: tuple[str, ...]) -> None:
    process = run_pytest(suite, *workers)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    seen = list(suite.glob("seen-*"))
    assert len({path.name.split("-")[1] for path in seen}) == (2 if workers else 1)
    assert len({path.read_text() for path in seen}) == 1
    assert processes_of(suite / "tmp") == []
    assert not (suite / "tmp" / "kafka" / "home").exists()


def test_a_killed_run_leaves_no_broker(suite: Path) -> None:
    process = run_pytest(suite, seconds="60")
    deadline = time.monotonic() + 60
    while not list(suite.glob("seen-*")):
        assert time.monotonic() < deadline, "the first test does not begin"
        time.sleep(0.1)
    assert [line for line in processes_of(suite / "tmp") if "kafka.Kafka" in line]
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_gone(suite)
