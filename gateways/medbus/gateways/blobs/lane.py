"""A segment that this process appends to: one blob at a time, past the page cache where the disk allows it.

On a disk that keeps up, copying into the page cache and back out of it is what takes the time: written
directly, half a megabyte is durable in a sixth of it.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final, Self
from uuid import UUID, uuid4

from medbus.gateways.blobs.address import Digest
from medbus.gateways.blobs.buffers import PAGE, rounded
from medbus.gateways.blobs.segment import Record, pack, scan

STEP: Final = 32 * 1024 * 1024
"""Bytes that a segment grows by."""

SUFFIX: Final = ".segment"
_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_CHUNK: Final = 1024 * 1024


class Lane:
    """An open segment. One thread at a time. Made by `create` and `adopt`; holds a lock on its file.

    Attributes:
        path: of the segment.
        end: where the next record begins.
    """

    def __init__(self, path: Path, file: int, end: int, length: int) -> None:
        self.path = path
        self.end = end
        self._file = file
        self._length = length
        self._id = UUID(path.stem)

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new segment in a folder. Raises OSError."""
        while True:
            path = folder / f"{uuid4()}{SUFFIX}"
            file = open_segment(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            if _locked(file):
                _sync_folder(folder)
                return cls(path, file, 0, 0)
            os.close(file)  # another process took it for an abandoned one, and has it now

    @classmethod
    def adopt(cls, path: Path, end: int) -> "tuple[Self, list[tuple[int, Record]]] | None":
        """A segment that a process left, and its records from `end` on; None if another process has it.

        What was not finished is cut off. The last record may not be whole after a power failure: then its
        blob was never acknowledged, and it is cut off too. Raises OSError.
        """
        file = open_segment(path, os.O_RDWR)
        try:
            if not _locked(file):
                os.close(file)
                return None
            length = os.fstat(file).st_size
            found = list(scan(lambda at: read_page(path, at), UUID(path.stem), end, length))
            if found and not _whole(path, *found[-1]):
                found.pop()
            if found:
                end = found[-1][0] + found[-1][1].extent
            if end < length:
                os.ftruncate(file, end)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(file)
            raise
        return cls(path, file, end, end), found

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
        """Cut off what was not used and let go of the file."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self.end)
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _put(self, position: int, view: memoryview) -> None:
        missing = position + len(view) - self._length
        if missing > 0:
            self._grow(missing)
        while view:
            written = os.pwrite(self._file, view, position)
            position += written
            view = view[written:]

    def _grow(self, missing: int) -> None:
        allocate = getattr(os, "posix_fallocate", None)
        for step in (max(STEP, missing), missing):
            try:
                if allocate is None:
                    os.ftruncate(self._file, self._length + step)
                else:
                    allocate(self._file, self._length, step)
            except OSError as error:
                # Less may fit.
                if step == missing or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
            else:
                self._length += step
                return


def _filled(buffer: memoryview, count: int) -> memoryview:
    """The first page and the bytes after it, filled up to whole pages."""
    size = PAGE + rounded(count)
    buffer[PAGE + count : size] = bytes(size - PAGE - count)
    return buffer[:size]


def open_segment(path: Path, flags: int) -> int:
    """Open a file past the page cache, or through it where there is no other way."""
    flags |= os.O_CLOEXEC
    try:
        return os.open(path, flags | _DIRECT, 0o640)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The file system can't; it may have made the file all the same.
        return os.open(path, flags & ~os.O_EXCL, 0o640)


def read_page(path: Path, offset: int) -> bytes:
    """A page of a segment."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), PAGE, offset)


def sync_file(file: int) -> None:
    """Wait until the bytes of a file are on the disk."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync alone does not reach the disk
        fcntl.fcntl(file, full)
    else:
        os.fdatasync(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whole(path: Path, offset: int, record: Record) -> bool:
    digest = Digest()
    with path.open("rb") as file:
        file.seek(offset + PAGE)
        left = record.size
        while left and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.raw == record.digest


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
