"""A segment that this process appends to: one blob at a time."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid4

from medbus.blobs.address import Digest
from medbus.blobs.buffers import PAGE, aligned, rounded
from medbus.blobs.disk import (
    Pages,
    allocate,
    locked,
    open_direct,
    read_into,
    sync_file,
    sync_folder,
    write_all,
)
from medbus.blobs.errors import FULL
from medbus.blobs.segment import Record, pack, scan

SUFFIX: Final = ".segment"

_STEP: Final = 32 * 1024 * 1024
"""Bytes that a segment grows by; smaller steps make what is written in them slower."""

_CHUNK: Final = 1024 * 1024


class Adopted(NamedTuple):
    """A segment that was taken over.

    Attributes:
        lane: to append to it.
        start: from which offset on it was looked through.
        found: the records from there on, by offset.
    """

    lane: "Lane"
    start: int
    found: list[tuple[int, Record]]


class Lane:
    """An open segment. One thread at a time. Made by `create` and `adopt`; holds a lock on its file.

    Attributes:
        path: of the segment.
        end: where the next record begins.
    """

    def __init__(self, path: Path, file: int, end: int) -> None:
        self.path = path
        self.end = end
        self._file = file
        self._length = end
        self._id = UUID(path.stem)

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new segment in a folder. Raises OSError."""
        while True:
            path = folder / f"{uuid4()}{SUFFIX}"
            file = open_direct(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            if locked(file):
                sync_folder(folder)
                return cls(path, file, 0)
            os.close(file)  # another process took it for an abandoned one, and has it now

    @classmethod
    def adopt(cls, path: Path, start: int) -> Adopted | None:
        """Take over a segment that a process left; None if another process has it, or it is gone.

        What was not finished is cut off. The last record may not be whole after a power failure: then its
        blob was never acknowledged, and it is cut off too. A damaged header does not hide what comes after.

        Args:
            start: up to where its records are known; a segment that is shorter is looked through anew.

        Raises:
            OSError: it can't be read or written.
        """
        try:
            file = open_direct(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if not locked(file) or os.fstat(file).st_nlink == 0:
                os.close(file)
                return None
            length = os.fstat(file).st_size
            end = start = start if start <= length else 0
            found = list(scan(Pages(file), UUID(path.stem), start, length, beyond_damage=True))
            if found:
                at, last = found[-1]
                if digest_at(file, at + PAGE, last.size) != last.digest:
                    found.pop()
            if found:
                end = found[-1][0] + found[-1][1].extent
            if end < length:
                os.ftruncate(file, end)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(file)
            raise
        return Adopted(cls(path, file, end), start, found)

    def write(self, offset: int, buffer: memoryview, count: int) -> None:
        """Put bytes of the next record in their place.

        Args:
            offset: within the blob, whole pages.
            buffer: aligned; the bytes stand from its second page on.
            count: how many; what fills up their last page becomes zeros.
        """
        self._put(self.end + PAGE + offset, _filled(buffer, count)[PAGE:])

    def commit(self, record: Record, buffer: memoryview, count: int) -> int:
        """Put the last bytes of the next record in their place, and make it durable; where it is.

        Args:
            record: what it is.
            buffer, count: as for `write`; the header goes into the first page.
        """
        offset = self.end
        buffer[:PAGE] = pack(record, self._id, offset)
        filled = _filled(buffer, count)
        if count == record.size:
            self._put(offset, filled)
        else:
            self._put(offset + PAGE + record.size - count, filled[PAGE:])
            self._put(offset, filled[:PAGE])
        sync_file(self._file)
        if os.fstat(self._file).st_nlink == 0:
            raise OSError(errno.ENOENT, "the segment was removed")
        self.end += record.extent
        return offset

    def close(self) -> None:
        """Cut off what was not used, and let go of the file; one without records is removed."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self.end)
        if self.end == 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _put(self, position: int, view: memoryview) -> None:
        missing = position + len(view) - self._length
        if missing > 0:
            self._grow(missing)
        write_all(self._file, view, position)

    def _grow(self, missing: int) -> None:
        step = max(missing, _STEP)
        try:
            allocate(self._file, self._length, step)
        except OSError as error:
            if step == missing or error.errno not in FULL:
                raise
            step = missing  # less may fit
            allocate(self._file, self._length, step)
        self._length += step


def _filled(buffer: memoryview, count: int) -> memoryview:
    """The first page and the bytes after it, filled up to whole pages."""
    size = PAGE + rounded(count)
    buffer[PAGE + count : size] = bytes(size - PAGE - count)
    return buffer[:size]


def digest_at(file: int, start: int, size: int) -> bytes:
    """The digest of so many bytes from an offset on. Raises OSError."""
    digest = Digest()
    buffer = aligned(min(_CHUNK, size))
    for at in range(0, size, _CHUNK):
        count = min(_CHUNK, size - at)
        read_into(file, buffer[: rounded(count)], start + at)
        digest.update(buffer[:count])
    return digest.raw
