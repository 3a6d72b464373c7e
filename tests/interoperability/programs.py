"""DCMTK's programs as peers, run to their end."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.gateways import dcmtk
from tests.interoperability.serving import AE_TITLE, CALLING

SECONDS = 30.0


def run(
    name: str,
    port: int,
    *options: object,
    called: str = AE_TITLE,
    files: Sequence[Path] = (),
    folder: Path | None = None,
) -> str:
    """Run a client against a port of loopback; returns what it printed.

    Args:
        name: of the program.
        port: whom it calls.
        options: beside the AE titles.
        called: AE title that it calls.
        files: which it is to send.
        folder: in which it writes what it gets: movescu minds no option for that where it keeps every bit.

    Raises:
        AssertionError: it did not succeed.
    """
    done = subprocess.run(
        [
            *(dcmtk.tool(name), "-v", "-aet", CALLING, "-aec", called),
            *map(str, options),
            *("127.0.0.1", str(port)),
            *map(str, files),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Else DCMTK leaves Nagle's algorithm on: some 40 ms for each image.
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=SECONDS,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}"
    return done.stdout


def storescu(port: int, files: Sequence[Path], *options: object, called: str = AE_TITLE) -> None:
    """Send files, each of which has to be answered with success."""
    said = run("storescu", port, *options, called=called, files=files)
    assert said.count("Received Store Response (Success)") == len(files), said


def study_key(study_instance_uid: str) -> tuple[str, ...]:
    """The options that ask for a study, at the Study Root."""
    return ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_instance_uid}")
