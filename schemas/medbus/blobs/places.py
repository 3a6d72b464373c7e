"""Where every blob of a folder is, whichever process wrote it.

The truth is in the segments; the index is the quick way to it. This process remembers what it has not written
into the index yet, other processes look at what the segments gained, and an index that is lost, damaged or
older than the segments is made anew from them.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from medbus.blobs.disk import Pages, alone, opened
from medbus.blobs.errors import BlobError
from medbus.blobs.index import Index, Place, remove
from medbus.blobs.lane import SUFFIX, Lane
from medbus.blobs.segment import Record, scan

log = logging.getLogger(__name__)

T = TypeVar("T")

WRITE_BEHIND: Final = 0.2
"""Seconds for which the places of new blobs are collected before they go into the index."""

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)
"""Errors that say nothing about the table itself."""


class Places:
    """Any number of threads may use it.

    Args:
        root: of the store; the index is in it.
        folder: with the segments.

    Raises:
        BlobError: the index can't be used.
        OSError: the segments can't be read.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._path = root / "index.sqlite"
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._looking = threading.Lock()
        self._renewing = threading.Lock()
        self._new: dict[bytes, Place] = {}
        self._runs: dict[str, tuple[int, int]] = {}
        self._mine: set[str] = set()
        self._others: dict[bytes, Place] = {}
        self._seen: dict[str, int] = {}
        self._timer: threading.Timer | None = None
        self._closed = False
        try:
            with alone(self._guard):
                try:
                    self._index = Index(self._path)
                except sqlite3.DatabaseError as error:
                    if _passes(error):
                        raise
                    log.warning("the index of %s is damaged, a new one is made", root)
                    remove(self._path)
                    self._index = Index(self._path)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Write what is new into the index, and let go of it."""
        with self._lock:
            self._closed = True
            timer = self._timer
        if timer is not None:
            timer.cancel()
        self.flush()
        with self._flushing, self._looking, self._renewing:
            self._index.close()

    def abandoned(self) -> Iterator[Lane]:
        """Take over the segments that processes left which are gone. Raises OSError."""
        known = self._healing(lambda index: index.segments())
        missing = known.keys() - self._names()
        if missing:
            log.warning("%d segments are missing in %s", len(missing), self._folder)
        for name in sorted(self._names()):
            noted = known.get(name)
            if noted is not None and noted.sealed:
                continue
            adopted = Lane.adopt(self._folder / name, 0 if noted is None else noted.indexed)
            if adopted is None:
                continue
            lane, start, found = adopted
            self.claim(name)
            if noted is not None and start < noted.indexed:
                log.warning("the segment %s is shorter than the index says, it is read anew", name)
                self._healing(partial(Index.forget, segment=name))
            if found:
                with self._lock:
                    self._new |= _places(name, found)
                    self._runs[name] = (start, lane.end)
                self.flush()
            yield lane

    def claim(self, segment: str) -> None:
        """Note that this process writes a segment."""
        with self._lock:
            self._mine.add(segment)

    def release(self, segment: str, end: int, *, seal: bool) -> None:
        """Note that this process writes a segment no more, and whether nobody will."""
        if seal:
            self.flush()
            with contextlib.suppress(BlobError):  # who opens the store next seals it
                self._healing(lambda index: index.seal(segment, end))
        with self._lock:
            self._mine.discard(segment)

    def note(self, digest: bytes, place: Place, end: int) -> None:
        """Remember where a blob is that is durable now.

        Args:
            end: of its record.
        """
        with self._lock:
            self._new[digest] = place
            start, _ = self._runs.get(place.segment, (place.offset, 0))
            self._runs[place.segment] = (start, end)
            if self._timer is None and not self._closed:
                self._timer = threading.Timer(WRITE_BEHIND, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def known(self, digest: bytes) -> Place | None:
        """Where a blob is that this process wrote, or that the index has."""
        return self._new.get(digest) or self._healing(lambda index: index.find(digest))

    def remembered(self, digest: bytes) -> Place | None:
        """Where a blob is, as far as that is known without looking at what other processes do."""
        return self.known(digest) or self._others.get(digest)

    def sought(self, digest: bytes) -> Place | None:
        """Where a blob is that other processes may just have written. Raises OSError."""
        self._look_at_others()
        return self._others.get(digest) or self.known(digest)

    def flush(self) -> None:
        """Write into the index what is new. If that fails, it stays in memory, and is tried again."""
        with self._flushing:
            with self._lock:
                self._timer = None
                new, runs = dict(self._new), dict(self._runs)
            if not runs:
                return
            try:
                index = self._index
                if index.replaced:
                    self._renew(index)
                if not self._healing(lambda index: index.add(new.items(), runs)):
                    self._healing(self._fill)
            except (BlobError, OSError):
                log.exception("the index of %s can't be written; blobs are found without it", self._root)
                return
            with self._lock:
                for digest, place in new.items():
                    if self._new.get(digest) == place:
                        del self._new[digest]
                for name, (_, end) in runs.items():
                    if self._runs[name][1] == end:
                        del self._runs[name]
                    else:
                        self._runs[name] = (end, self._runs[name][1])

    def _look_at_others(self) -> None:
        """Find what other processes wrote and have not put into the index yet."""
        with self._looking:
            if self._index.replaced:
                self._renew(self._index)
            known = self._healing(lambda index: index.segments())
            ends = {name: noted.indexed for name, noted in known.items() if not noted.sealed}
            kept = {
                digest: place
                for digest, place in self._others.items()
                if place.segment in ends or place.segment not in known
                if place.offset >= ends.get(place.segment, 0)
            }
            with self._lock:
                mine = set(self._mine)
            seen = {}
            for name in self._names() - mine:
                if name in known and name not in ends:
                    continue
                start = max(ends.get(name, 0), self._seen.get(name, 0))
                with contextlib.suppress(FileNotFoundError):
                    if (self._folder / name).stat().st_size < start:
                        start = ends.get(name, 0)  # somebody cut off what was not finished
                    for offset, record in self._scanned(name, start):
                        kept[record.digest] = Place(name, offset, record.size)
                        start = offset + record.extent
                seen[name] = start
            self._others, self._seen = kept, seen

    def _healing(self, work: Callable[[Index], T]) -> T:
        """Do work on the index; make a new one and do it again if it is damaged. Raises BlobError."""
        index = self._index
        try:
            return work(index)
        except sqlite3.Error as error:
            if self._closed and isinstance(error, sqlite3.ProgrammingError):
                raise BlobError(f"The blob store {self._root} is closed.", "Open it again.") from error
            if self._index is index and not index.replaced and _passes(error):
                raise self._unusable(error) from error
            try:
                self._renew(index)
                return work(self._index)
            except (sqlite3.Error, OSError) as again:
                raise self._unusable(again) from again

    def _renew(self, damaged: Index) -> None:
        """Put a new index in the place of one that is damaged or gone; nobody sees it half filled."""
        with self._renewing:
            if self._index is not damaged:
                return  # another thread has done it
            log.warning("the index of %s is lost or damaged, a new one is made", self._root)
            try:
                with alone(self._guard):
                    if not damaged.replaced:
                        remove(self._path)  # else another process has done it
                    new = Index(self._path)
                    self._fill(new)
            except sqlite3.Error as error:
                raise self._unusable(error) from error
            self._index = new
            damaged.close()

    def _fill(self, index: Index) -> None:
        """Write into an index what the segments have and it has not."""
        known = index.segments()
        for name in self._names():
            noted = known.get(name)
            if noted is not None and noted.sealed:
                continue
            start = 0 if noted is None else noted.indexed
            with contextlib.suppress(FileNotFoundError):
                found = list(self._scanned(name, start, beyond_damage=True))
                if found:
                    offset, record = found[-1]
                    index.add(_places(name, found).items(), {name: (start, offset + record.extent)})

    def _scanned(self, name: str, start: int, *, beyond_damage: bool = False) -> Iterator[tuple[int, Record]]:
        path = self._folder / name
        with opened(path) as file:
            length = os.fstat(file).st_size
            yield from scan(Pages(file), UUID(path.stem), start, length, beyond_damage=beyond_damage)

    def _names(self) -> set[str]:
        return {name for name in os.listdir(self._folder) if name.endswith(SUFFIX)}

    @property
    def _guard(self) -> Path:
        return self._path.with_suffix(".lock")

    def _unusable(self, error: Exception) -> BlobError:
        return BlobError(
            f"The index of the blob folder {self._root} can't be used: {error}.",
            "Check that it may be written to, and that the disk has room and is well.",
        )


def _passes(error: sqlite3.Error) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _PASSING and code != sqlite3.SQLITE_IOERR_SHORT_READ


def _places(name: str, found: list[tuple[int, Record]]) -> dict[bytes, Place]:
    return {record.digest: Place(name, offset, record.size) for offset, record in found}
