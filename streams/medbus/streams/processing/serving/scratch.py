"""Room for arrays that are too large for memory: files that nobody else sees, mapped into it."""

import math
import mmap
import os
import tempfile
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

TRIM_SECONDS: Final = 0.005
"""So often the pages of files are taken out of memory again: a sample of a whole stack touches some ten
megabytes in a millisecond. What was written stays in the page cache, which the system empties when memory is
short."""


class Scratch(AbstractContextManager["Scratch"]):
    """Room for the arrays of one piece of work, in files without a name, gone with the process however it
    ends. Pixels come and go slice by slice, so little of a file is in memory.

    Args:
        folder: for the files, on a disk; None for the system's, which on some systems is memory.
        limit: bytes of arrays in memory.
    """

    def __init__(self, folder: Path | None, limit: int) -> None:
        self._folder = folder
        self._left = limit
        self._mapped: list[mmap.mmap] = []
        self._done = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Arrays may still be in use: a map goes when the last of them does.
        self._done.set()
        self._mapped.clear()

    @property
    def spooled(self) -> int:
        """Bytes of arrays that are in files."""
        return sum(len(each) for each in self._mapped)

    def claim(self, size: int) -> bool:
        """Whether there is memory for an array of so many bytes; then it is taken."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def room(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array with no particular values, in a file.

        Raises:
            OSError: the disk is full.
        """
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        with nameless(self._folder) as file:
            # Said now that the disk is full: a page without a place would end the process.
            os.posix_fallocate(file.fileno(), 0, size)
            mapped = mmap.mmap(file.fileno(), size)
        self._mapped.append(mapped)
        if len(self._mapped) == 1:
            threading.Thread(
                target=_keep_trimmed, args=(self._mapped, self._done), name="trim", daemon=True
            ).start()
        return np.frombuffer(mapped, kind).reshape(shape)

    def trim(self) -> None:
        """Take the pages of files out of memory now: who writes as fast as memory is does not wait for
        whoever does so now and then."""
        _trim(self._mapped)


def nameless(folder: Path | None) -> BinaryIO:
    """An empty file that nobody else sees, in a folder or in the system's for such files."""
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder, prefix="medbus-"))


def _keep_trimmed(mapped: list[mmap.mmap], done: threading.Event) -> None:
    while not done.wait(TRIM_SECONDS):
        _trim(mapped)


def _trim(mapped: list[mmap.mmap]) -> None:
    """Nothing is lost: the file has what the pages have."""
    for each in list(mapped):
        each.madvise(mmap.MADV_DONTNEED)
