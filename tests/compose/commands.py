"""The `medbus` command, run in this process."""

import io
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from medbus.compose.cli.app import main


class Told(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


def command(home: Path, *arguments: str) -> Told:
    """Run the `medbus` command against a home, in this process."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    code: str | int | None = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBUS_HOME", str(home))
        patch.setattr(sys, "argv", ["medbus", *arguments])
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return Told(code, out, err)
