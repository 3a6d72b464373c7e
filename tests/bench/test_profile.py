"""The ingest profile: the sampler in another process, and its report."""

import subprocess
import sys
import time
from pathlib import Path

from bench import sampler
from bench.profile import report
from bench.sampler import Samples

BUSY = """
import sys
print("ready", flush=True)

def wait_for_the_end():
    sys.stdin.read()

wait_for_the_end()
"""


def test_a_process_that_knows_nothing_of_it_is_sampled(tmp_path: Path) -> None:
    environment = sampler.environment(tmp_path, "component")
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, "component"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        sampler.start(tmp_path)
        time.sleep(0.05)
        samples = sampler.collect(tmp_path)
    finally:
        process.communicate(b"")
    main = {stack: count for (thread, stack), count in samples.counts.items() if thread == "MainThread"}
    assert any("wait_for_the_end" in stack[-1] for stack in main)
    assert sum(main.values()) == samples.looks > 0


def test_another_process_is_left_alone(tmp_path: Path) -> None:
    environment = sampler.environment(tmp_path, "component")
    told = subprocess.run(
        [sys.executable, "-c", "import threading; print(threading.active_count())", "another"],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert told.stdout == b"1\n"


def test_the_report_says_where_the_time_of_an_image_goes() -> None:
    samples = Samples(
        {
            (
                "AcceptorThread@2026",
                ("threading.py:run", "medbus/serving.py:store", "medbus/spool.py:read"),
            ): 30,
            ("AcceptorThread@2027", ("threading.py:run", "medbus/serving.py:store")): 10,
            ("MainThread", ("medbus/worker.py:main", "selectors.py:select")): 40,
        },
        looks=40,
    )
    text = report(samples, {"gateway-dicom": 0.5, "kafka": 0.2}, images=100, seconds=0.4)
    lines = text.splitlines()
    assert "4.00 ms an image" in lines[0]
    assert "     5.00  gateway-dicom" in lines
    assert "     4.00  medbus/serving.py:store" in lines
    assert "     3.00  medbus/spool.py:read" in lines
    assert "     4.00  selectors.py:select" in lines
