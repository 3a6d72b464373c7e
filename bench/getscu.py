"""DCMTK's getscu and movescu as the second clients: their start is counted, and what they do with images."""

import os
import subprocess
import time

from bench.inflow import PeerFailed
from bench.process import NODELAY, dcmtk
from bench.retrieve import CALLING

SECONDS = 120.0
INSTALL = "DCMTK's getscu and movescu are not installed: apt-get install dcmtk."


def installed() -> bool:
    """Whether both are there."""
    return all(map(dcmtk, ("getscu", "movescu")))


def getscu(port: int, called: str, study_instance_uid: str) -> float:
    """Get a study and forget it; returns the seconds that it took.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        study_instance_uid: what to get.

    Raises:
        PeerFailed: it did not come as a whole.
    """
    return _run("getscu", port, called, study_instance_uid, "--ignore")


def movescu(port: int, called: str, study_instance_uid: str, destination: str) -> float:
    """Have a study sent to a destination; returns the seconds that it took.

    Raises:
        PeerFailed: it was not sent as a whole.
    """
    return _run("movescu", port, called, study_instance_uid, "-aem", destination)


def _run(name: str, port: int, called: str, study_instance_uid: str, *options: str) -> float:
    start = time.monotonic()
    done = subprocess.run(
        [
            *(dcmtk(name) or name, "-S", "-aet", CALLING, "-aec", called, *options),
            *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_instance_uid}"),
            *("127.0.0.1", str(port)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **NODELAY},
        timeout=SECONDS,
        check=False,
    )
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise PeerFailed(f"{name} failed: {done.stderr.decode(errors='replace')[-300:]}")
    return seconds
