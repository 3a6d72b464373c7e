"""The ingest profile: the sampler in another process, and its report."""

import subprocess
import sys
import time
from pathlib import Path

from bench import sampler
from bench.profile import report
from bench.sampler import Samples

BUSY = """
import asyncio, sys
print("ready", flush=True)

def read():
    sys.stdin.read()

async def wait_for_the_end():
    await asyncio.to_thread(read)

asyncio.run(wait_for_the_end())
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
        sampler.start(tmp_path / "component")
        time.sleep(0.05)
        samples = sampler.collect(tmp_path / "component")
    finally:
        process.communicate(b"")
    waiting = [thread for thread, stack in samples.counts if "read" in stack[-1]]
    assert any(thread.startswith("asyncio") for thread in waiting)
    tasks = [stack for thread, stack in samples.counts if thread == "tasks"]
    assert any("wait_for_the_end" in stack[0] and "to_thread" in "".join(stack[1:]) for stack in tasks)
    main = [count for (thread, _), count in samples.counts.items() if thread == "MainThread"]
    assert sum(main) == samples.looks > 0


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
    serve, read = "medbus/serving.py:store", "medbus/spool.py:read"
    samples = Samples(
        {
            ("Acceptor@2026", ("threading.py:run", serve, read)): 20,
            ("Acceptor@2027", ("threading.py:run", serve, read)): 10,
            ("Acceptor@2027", ("threading.py:run", "queue.py:get")): 10,
            ("MainThread", ("medbus/worker.py:main", "selectors.py:select")): 40,
            ("Thread-7 (run_reactor)", ("medbus/transport.py:ready",)): 20,
            ("tasks", ("medbus/storing.py:store", "medbus/client.py:publish")): 15,
        },
        looks=40,
    )
    text = report({"gateway": samples}, {"gateway-dicom": 0.5, "kafka": 0.2}, images=100, seconds=0.4)
    assert "4.00 ms an image" in text.splitlines()[0]
    assert (
        text[text.index("CPU") :]
        == """\
CPU of each process
     5.00  gateway-dicom
     2.00  kafka

gateway, Acceptor: in our functions, with what they call
     3.00  medbus/serving.py:store
     3.00  medbus/spool.py:read
gateway, Acceptor: in which function at last
     3.00  medbus/spool.py:read
     1.00  queue.py:get

gateway, run_reactor: in our functions, with what they call
     2.00  medbus/transport.py:ready
gateway, run_reactor: in which function at last
     2.00  medbus/transport.py:ready

gateway, tasks: in our functions, with what they call
     1.50  medbus/client.py:publish
     1.50  medbus/storing.py:store
gateway, tasks: in which function at last
     1.50  medbus/client.py:publish
"""
    )
