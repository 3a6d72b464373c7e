"""What is in a folder of blobs, as its segments say themselves; and how to harm it."""

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from medbus.blobs.buffers import PAGE
from medbus.blobs.disk import read_page
from medbus.blobs.segment import scan


class Found(NamedTuple):
    """Where the bytes of a blob stand; the header is the page before."""

    path: Path
    offset: int
    size: int

    @property
    def contents(self) -> bytes:
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), self.size, self.offset)


def root_of(url: str) -> Path:
    """The folder of a `file://` URL."""
    return Path(url.removeprefix("file://"))


def segments(root: Path) -> list[Path]:
    """Its segments."""
    return sorted((root / "segments").iterdir())


def found(root: Path) -> dict[str, Found]:
    """All blobs by address."""
    blobs = {}
    for path in segments(root):
        length = path.stat().st_size
        for offset, record in scan(partial(read_page, path), UUID(path.stem), 0, length):
            blobs[f"blake3:{record.digest.hex()}"] = Found(path, offset + PAGE, record.size)
    return blobs


def damage(root: Path, digest: str, data: bytes | bytearray) -> None:
    """Put other bytes in the place of a blob's, as far as they go."""
    path, offset, size = found(root)[digest]
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(data[:size]).ljust(size, b"\0"), offset)


def lose(root: Path, digest: str) -> None:
    """Wipe out a blob with its header."""
    path, offset, size = found(root)[digest]
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(PAGE + size), offset - PAGE)
