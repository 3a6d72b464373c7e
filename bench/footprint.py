"""What the service takes: memory of each process after it has worked, and CPU while it does nothing."""

import time
from collections.abc import Iterator

from bench import orthanc
from bench.blast import blast
from bench.figure import Figure
from bench.ingest import receivers
from bench.process import cpu_seconds, resident_megabytes
from bench.stage import Stage

IDLE_SECONDS = 5.0


def footprint(stage: Stage) -> Iterator[Figure]:
    """Peak resident memory of each process after ingest and retrieval, and CPU of the idle service."""
    for receiver in receivers(stage):
        blast(receiver.port, receiver.ae_title, stage.study(), associations=4)
    time.sleep(1)
    stage.say("watching the idle service")
    running = stage.service
    before = cpu_seconds(running.pid)
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds(running.pid) - before) / IDLE_SECONDS * 100
    memory = {name: resident_megabytes(pid) for name, pid in running.pids.items()}
    for name, (_, peak) in memory.items():
        yield Figure(name=f"memory/{name}/peak", unit="MB", values=[peak])
    peer = None if stage.orthanc is None else resident_megabytes(stage.orthanc.pid)
    for number, name in enumerate(("now", "peak")):
        yield Figure(
            name=f"memory/all/{name}",
            unit="MB",
            values=[sum(each[number] for each in memory.values())],
            peer=orthanc.NAME,
            peer_values=[] if peer is None else [peer[number]],
        )
    yield Figure(name="idle/cpu", unit="% of a core", values=[idle])
    running.verify()
