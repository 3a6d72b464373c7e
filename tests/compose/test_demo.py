"""`medbus demo`: everything comes back identical, and nothing stays behind, also on Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests import synthetic

pytestmark = [pytest.mark.timeout(300)]


def demo(tmp_path: Path) -> "subprocess.Popen[str]":
    (tmp_path / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "medbus.compose.cli", "demo", "--data", str(tmp_path / "data")],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_images_of_several_modalities_come_back_identical(tmp_path: Path) -> None:
    synthetic.series(tmp_path / "data", 3, Modality="CT", PatientID="P-1", KVP="120")
    synthetic.series(tmp_path / "data", 2, Modality="MR", PatientID="P-2", EchoTime="12.5")
    (tmp_path / "data" / "notes.txt").write_text("no image")

    running = demo(tmp_path)
    told, _ = running.communicate(timeout=200)

    assert running.returncode == 0, told
    assert "5 of 5 registered images came back identical" in told
    assert re.search(r"delivery +│ +5 │ 0\.05 +│ 0\.25 EUR", told)
    assert re.search(r"Computed again from the log: \d+ fees, no difference", told)
    assert "STRANGER" in told
    assert "refused, UNKNOWN_SUBSCRIBER" in told
    assert "granted to A-hospital, A_MR#1" in told
    assert "delivered to D-hospital" in told
    assert "TE=12.5 ms" in told
    assert "kVp=120 kV" in told
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("moment", ["kafka              starting", "registers 40 images"])
def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path, moment: str) -> None:
    synthetic.series(tmp_path / "data", 40)
    running = demo(tmp_path)
    assert running.stdout is not None
    told = ""
    while moment not in told:
        line = running.stdout.readline()
        assert line, f"it ended before it said {moment!r}:\n{told}"
        told += line
    time.sleep(0.3)
    family = psutil.Process(running.pid).children(recursive=True)

    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=60)

    assert running.returncode == 130, told + rest
    assert "Traceback" not in rest
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, [each.cmdline() for each in alive]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_without_images_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    running = demo(tmp_path)
    told, _ = running.communicate(timeout=60)

    assert running.returncode == 1
    assert "no DICOM images" in told
    assert "DATA=" in told
