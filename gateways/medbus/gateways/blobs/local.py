"""Blobs in a folder, durable before they are acknowledged.

A blob is written to a file of its own in `incoming`, forced to the disk, renamed to its address, and the
folder's entry forced to the disk too. Whatever kills the process or the machine in between leaves no blob
whose bytes are not those of its address.
"""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

from medbus.gateways.blobs.address import Digest, address_of, key_of
from medbus.gateways.blobs.errors import BlobError, BlobStoreFull

STALE: Final = 60.0
"""Seconds after which an unfinished file that no process holds is removed."""

_INCOMING: Final = "incoming"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK: Final = 1024 * 1024


class Folder:
    """A folder of blobs.

    Args:
        root: is made if it is not there.
        stale: seconds after which an unfinished file of a process that died is removed.

    Raises:
        BlobError: it can't be made or written to.
    """

    def __init__(self, root: Path, *, stale: float = STALE) -> None:
        self.root = root
        self.incoming = root / _INCOMING
        try:
            _make(self.incoming)
            self._make_folders()
            self._remove_stale(stale)
        except OSError as error:
            raise failed(error, root) from error

    def path(self, address: str) -> Path:
        """Where a blob stands, or would stand."""
        return self.root / key_of(address)

    def _make_folders(self) -> None:
        """Make all folders of addresses at once, so that none has to become durable together with a blob."""
        parent = self.path(address_of(b"")).parent.parent
        _make(parent)
        for number in range(256):
            (parent / f"{number:02x}").mkdir(exist_ok=True)
        _sync_folder(parent)

    def _remove_stale(self, stale: float) -> None:
        """Remove what processes left that died while writing. One that lives holds a lock on its file."""
        for path in self.incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process removed or finished it
                if time.time() - path.stat().st_mtime < stale:
                    continue
                with path.open("rb") as file, contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


class FileUpload:
    """One blob on its way into a folder. One thread at a time."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = folder.incoming / f"{uuid4().hex}.part"
        try:
            self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o440)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            raise failed(error, folder.root) from error

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: writing fails.
        """
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise failed(error, self._folder.root) from error

    def commit(self, address: str) -> None:
        """Make the blob durable under its address. One that stands there intact already is kept.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: writing fails.
        """
        path = self._folder.path(address)
        try:
            if _is_intact(path, address):
                self.abort()
            else:
                _sync_file(self._file)
                os.replace(self._path, path)
                self._close()
            _sync_folder(path.parent)
        except OSError as error:
            raise failed(error, self._folder.root) from error

    def abort(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                os.close(file)


def failed(error: OSError, where: Path) -> BlobError:
    """What an error of the operating system means for the blob store."""
    if error.errno in _FULL:
        return BlobStoreFull(str(where))
    return BlobError(
        f"The blob folder {where} can't be used: {error.strerror or error}.",
        "Check that it exists, that it may be written to, and that the disk is well.",
    )


def _is_intact(path: Path, address: str) -> bool:
    digest = Digest()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.address == address


def _make(folder: Path) -> None:
    """Make a folder and those that it is in, all of them durable."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_file(file: int) -> None:
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync alone does not reach the disk
        fcntl.fcntl(file, full)
    else:
        os.fdatasync(file)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
