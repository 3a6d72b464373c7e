"""DCMTK's storescu as the second client: what many a site sends with."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.blast import RUN_SECONDS
from bench.inflow import PeerFailed
from bench.process import NODELAY, dcmtk
from bench.slice import Slice

CALLING = "STORESCU"
INSTALL = "DCMTK's storescu is not installed: apt-get install dcmtk."


def installed() -> bool:
    """Whether there is one."""
    return dcmtk("storescu") is not None


def storescu(port: int, called: str, slices: Sequence[Slice], folder: Path, associations: int = 1) -> float:
    """Send images; returns the seconds that it took, the start of the programs included.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        slices: what to send; dealt out over the associations.
        folder: for the files; they are removed again.
        associations: how many programs there are at once.

    Raises:
        PeerFailed: an image was not taken.
    """
    program = dcmtk("storescu")
    if program is None:
        raise PeerFailed(INSTALL)
    with ExitStack() as stack:
        folders = []
        for number in range(associations):
            each = folder / f"association-{number}"
            stack.callback(shutil.rmtree, each, ignore_errors=True)
            _write(each, slices[number::associations])
            folders.append(each)
        os.sync()
        start = time.monotonic()
        senders = [
            subprocess.Popen(
                # -xe: Explicit VR Little Endian; -R: propose only what is needed; +sd: all files of a folder
                [program, "-xe", "-R", "-aet", CALLING, "-aec", called, "+sd", "127.0.0.1", str(port), each],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **NODELAY},
            )
            for each in folders
        ]
        for sender in senders:
            stack.callback(sender.kill)
        for sender in senders:
            said = sender.communicate(timeout=RUN_SECONDS)[1]
            if sender.returncode != 0:
                raise PeerFailed(f"storescu failed: {said.decode(errors='replace')[-300:]}")
        return time.monotonic() - start


def _write(folder: Path, slices: Sequence[Slice]) -> None:
    folder.mkdir()
    for number, each in enumerate(slices):
        (folder / f"{number:05}.dcm").write_bytes(each.part10())
