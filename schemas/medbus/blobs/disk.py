"""Files that are read and written past the page cache where the file system allows it, and what makes them
durable.

On a disk that keeps up, copying into the page cache and back out of it is what takes the time: written
directly, half a megabyte is durable in a sixth of it.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from medbus.blobs.buffers import PAGE, aligned

_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})

_AHEAD: Final = 256 * 1024
"""Bytes that are read at once where pages are read one after the other."""

_NEAR: Final = 64 * 1024


def open_direct(path: Path, flags: int) -> int:
    """Open a file past the page cache, or through it where there is no other way. Raises OSError."""
    flags |= os.O_CLOEXEC
    try:
        return os.open(path, flags | _DIRECT, 0o640)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The file system can't; it may have made the file all the same.
        return os.open(path, flags & ~os.O_EXCL, 0o640)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file to be read."""
    file = open_direct(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def read_into(file: int, buffer: memoryview, offset: int) -> None:
    """Fill a buffer; what the file does not have becomes zeros, which have another digest.

    Args:
        file: as `open_direct` opened it.
        buffer: aligned, whole pages.
        offset: a multiple of a page.
    """
    while buffer:
        try:
            count = os.preadv(file, [buffer], offset)
        except OSError as error:
            if error.errno == errno.EINVAL and _made_buffered(file):
                continue
            raise
        if count == 0:
            buffer[:] = bytes(len(buffer))
            return
        offset += count
        buffer = buffer[count:]


def read_page(path: Path, offset: int) -> bytes:
    """A page of a file."""
    buffer = aligned(PAGE)
    with opened(path) as file:
        read_into(file, buffer, offset)
    return bytes(buffer)


def write_all(file: int, view: memoryview, offset: int) -> None:
    """Write whole pages. Raises OSError."""
    while view:
        try:
            count = os.pwrite(file, view, offset)
        except OSError as error:
            if error.errno == errno.EINVAL and _made_buffered(file):
                continue
            raise
        offset += count
        view = view[count:]


def allocate(file: int, start: int, count: int) -> None:
    """Make a file so much longer. Raises OSError if there is no room for that."""
    try:
        os.posix_fallocate(file, start, count)
    except AttributeError:  # macOS
        os.ftruncate(file, start + count)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        os.ftruncate(file, start + count)


def sync_file(file: int) -> None:
    """Wait until the bytes of a file are on the disk."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync alone does not reach the disk
        fcntl.fcntl(file, full)
    else:
        os.fdatasync(file)


def sync_folder(path: Path) -> None:
    """Wait until the entries of a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it is in, all of them durable."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def locked(file: int) -> bool:
    """Lock a file; False if another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process and thread at a time; the others wait."""
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


class Pages:
    """The pages of a file, as a callable from offset to bytes. Who goes back gets what is there by now."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._buffer = aligned(_AHEAD)
        self._start = 0
        self._count = 0
        self._next = -1

    def __call__(self, offset: int) -> bytes:
        if not self._next <= offset < self._start + self._count:
            near = 0 <= offset - self._next < _NEAR and self._next >= 0
            self._start, self._count = offset, 0
            count = _AHEAD if near else PAGE
            read_into(self._file, self._buffer[:count], offset)
            self._count = count
        self._next = offset + PAGE
        at = offset - self._start
        return bytes(self._buffer[at : at + PAGE])


def _made_buffered(file: int) -> bool:
    """Go on through the page cache: the file system wants another alignment, or takes nothing directly."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    if not flags & _DIRECT:
        return False
    with contextlib.suppress(OSError):
        fcntl.fcntl(file, fcntl.F_SETFL, flags & ~_DIRECT)
        return True
    return False
