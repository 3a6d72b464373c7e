"""Blobs in a folder: segments, and an index that says which blob is where.

A blob that was acknowledged is in a segment, on the disk. The index is only the quick way to it: this process
remembers what it has not written into it yet, other processes look at what the segments gained, and an index
that is lost or damaged is made anew.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from medbus.gateways.blobs.address import Digest, digest_of
from medbus.gateways.blobs.buffers import PAGE, Buffers, aligned, rounded
from medbus.gateways.blobs.errors import BlobCorrupted, BlobError, BlobNotFound, disk_failed
from medbus.gateways.blobs.index import Index, Place, remove
from medbus.gateways.blobs.lane import SUFFIX, Lane, open_segment, read_page
from medbus.gateways.blobs.segment import Record, scan, unpack

log = logging.getLogger(__name__)

T = TypeVar("T")

SEALED: Final = 512 * 1024 * 1024
"""Bytes from which on a segment gets no more blobs."""

WRITE_BEHIND: Final = 0.2
"""Seconds for which the places of new blobs are collected before they go into the index."""

_VIEW: Final = 1024 * 1024
"""Bytes of the buffers that are kept for reading; a larger blob gets one of its own."""

_VIEWS_KEPT: Final = 16


class Segments:
    """A folder of blobs. Any number of threads and processes may use it.

    Args:
        root: is made if it is not there.

    Raises:
        BlobError: it can't be made or used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = root / "segments"
        self._index_path = root / "index.sqlite"
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._lanes: list[Lane] = []
        self._mine: set[str] = set()
        self._new: dict[bytes, Place] = {}
        self._ends: dict[str, int] = {}
        self._others: dict[bytes, Place] = {}
        self._others_ends: dict[str, int] = {}
        self._timer: threading.Timer | None = None
        self._views = Buffers(_VIEW, _VIEWS_KEPT)
        self._closed = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._index = self._opened_index()
            self._adopt()
        except OSError as error:
            raise disk_failed(error, root) from error

    def close(self) -> None:
        """Write the index and let go of all segments that are not being written."""
        with self._lock:
            self._closed = True
            timer, lanes, self._lanes = self._timer, self._lanes, []
        if timer is not None:
            timer.cancel()
        self._flush()
        for lane in lanes:
            lane.close()

    def begin(self, transfer_syntax_uid: str) -> "SegmentUpload":
        """Begin a blob."""
        return SegmentUpload(self, transfer_syntax_uid)

    def find(self, address: str) -> Place | None:
        """Where a blob is, whichever process wrote it.

        Raises:
            BlobNotFound: that is no address.
        """
        digest = digest_of(address)
        place = self.known(digest) or self._others.get(digest)
        if place is None:
            with self._guarded():
                self._look_at_others()
            place = self._others.get(digest) or self.known(digest)
        return place

    def known(self, digest: bytes) -> Place | None:
        """Where a blob is that this process wrote, or that the index has."""
        return self._new.get(digest) or self._healing(lambda: self._index.find(digest))

    def size(self, address: str) -> int | None:
        """How many bytes a blob has; None if there is none: the segment itself is asked."""
        try:
            place = self.find(address)
            if place is None:
                return None
            path = self._folder / place.segment
            with self._guarded():
                record = unpack(read_page(path, place.offset), UUID(path.stem), place.offset)
                whole = record is not None and path.stat().st_size >= place.offset + record.extent
        except (BlobNotFound, FileNotFoundError):
            return None
        return place.size if whole and record is not None and record.digest == digest_of(address) else None

    @contextmanager
    def view(self, address: str) -> Iterator[memoryview]:
        """All bytes of a blob, which are those of its address.

        Raises:
            BlobNotFound, BlobCorrupted, BlobError.
        """
        place = self._place(address)
        kept = rounded(place.size) <= self._views.size
        buffer = self._views.take() if kept else aligned(place.size)
        try:
            view = buffer[: place.size]
            with self._opened(place) as file:
                self._read(file, buffer[: rounded(place.size)], place.offset + PAGE)
            digest = Digest()
            digest.update(view)
            if digest.address != address:
                raise BlobCorrupted(address, digest.address)
            yield view
        finally:
            if kept:
                self._views.give(buffer)

    def chunks(self, address: str, length: int) -> Iterator[bytes]:
        """The bytes of a blob, so many at once; they are not verified."""
        place = self._place(address)
        buffer = aligned(length)
        with self._opened(place) as file:
            for at in range(0, place.size, length):
                count = min(length, place.size - at)
                self._read(file, buffer[: rounded(count)], place.offset + PAGE + at)
                yield bytes(buffer[:count])

    def read_range(self, address: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: it has no such bytes.
        """
        place = self._place(address)
        if not 0 <= start <= start + length <= place.size:
            raise BlobError(f"The blob {address} has {place.size} bytes, not {start + length}.")
        begin = start // PAGE * PAGE
        buffer = aligned(start + length - begin)
        with self._opened(place) as file:
            self._read(file, buffer, place.offset + PAGE + begin)
        return bytes(buffer[start - begin : start - begin + length])

    # For uploads:

    def take_lane(self) -> Lane:
        """A segment to write into. Raises OSError."""
        with self._lock:
            if self._lanes:
                return self._lanes.pop()
        lane = Lane.create(self._folder)
        with self._lock:
            self._mine.add(lane.path.name)
        return lane

    def give_lane(self, lane: Lane, *, broken: bool = False) -> None:
        """Give a segment back; one that is long enough, or broken, gets no more blobs."""
        name = lane.path.name
        with self._lock:
            if not broken and lane.end < SEALED and not self._closed:
                self._lanes.append(lane)
                return
        lane.close()
        if lane.end >= SEALED:
            self._flush()
            self._healing(lambda: self._index.seal(name))
        with self._lock:
            self._mine.discard(name)

    def note(self, digest: bytes, place: Place, end: int) -> None:
        """Remember where a blob is that is durable now."""
        with self._lock:
            self._new[digest] = place
            self._ends[place.segment] = end
            if self._timer is None and not self._closed:
                self._timer = threading.Timer(WRITE_BEHIND, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def intact(self, place: Place, digest: bytes) -> bool:
        """Whether the bytes at a place have that digest."""
        found = Digest()
        buffer = aligned(_VIEW)
        try:
            with self._opened(place) as file:
                for at in range(0, place.size, _VIEW):
                    count = min(_VIEW, place.size - at)
                    self._read(file, buffer[: rounded(count)], place.offset + PAGE + at)
                    found.update(buffer[:count])
        except (BlobError, OSError):
            return False
        return found.raw == digest

    def _place(self, address: str) -> Place:
        place = self.find(address)
        if place is None:
            raise BlobNotFound(address)
        return place

    @contextmanager
    def _opened(self, place: Place) -> Iterator[int]:
        with self._guarded():
            try:
                file = open_segment(self._folder / place.segment, os.O_RDONLY)
            except FileNotFoundError as error:
                raise BlobError(
                    f"The segment {place.segment} is missing.", f"Restore {self._folder} from a backup."
                ) from error
            try:
                yield file
            finally:
                os.close(file)

    @staticmethod
    def _read(file: int, buffer: memoryview, offset: int) -> None:
        while buffer and (count := os.preadv(file, [buffer], offset)):
            offset += count
            buffer = buffer[count:]
        buffer[:] = bytes(len(buffer))  # the file ends too early: zeros have another digest

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_failed(error, self.root) from error

    # The index:

    def _flush(self) -> None:
        """Write into the index what is new."""
        with self._flushing:
            with self._lock:
                self._timer = None
                new, ends = dict(self._new), dict(self._ends)
            if not new:
                return
            try:
                self._healing(lambda: self._index.add(new.items(), ends))
            except (BlobError, sqlite3.Error):
                log.exception("the index of %s can't be written; blobs are found without it", self.root)
                return
            with self._lock:
                for digest, place in new.items():
                    if self._new.get(digest) == place:
                        del self._new[digest]
                for name, end in ends.items():
                    if self._ends.get(name) == end:
                        del self._ends[name]

    def _healing(self, work: Callable[[], T]) -> T:
        """Do work on the index; make a new one and do it again if it is damaged."""
        index = self._index
        try:
            return work()
        except sqlite3.OperationalError as error:
            raise BlobError(f"The index of {self.root} can't be used: {error}.") from error
        except sqlite3.DatabaseError:
            log.exception("the index of %s is damaged, a new one is made", self.root)
            with self._guarded():
                self._make_index(index)
            return work()

    def _opened_index(self) -> Index:
        try:
            index = Index(self._index_path)
            missing = (index.ends().keys() | index.sealed()) - self._names()
        except sqlite3.OperationalError as error:
            raise BlobError(f"The index of {self.root} can't be used: {error}.") from error
        except sqlite3.DatabaseError:
            log.warning("the index of %s is damaged, a new one is made", self.root)
            remove(self._index_path)
            return Index(self._index_path)
        if missing:
            log.warning("%d segments are missing in %s", len(missing), self._folder)
        return index

    def _make_index(self, damaged: Index) -> None:
        with self._lock:
            if self._index is not damaged:
                return  # another thread has done it
            damaged.close()
            remove(self._index_path)
            self._index = Index(self._index_path)
            self._others_ends.clear()
        for name in self._names():
            path = self._folder / name
            found = list(self._scanned(path, 0))
            end = found[-1][0] + found[-1][1].extent if found else 0
            self._index.add(_places(name, found), {name: end})

    def _names(self) -> set[str]:
        return {path.name for path in self._folder.glob(f"*{SUFFIX}")}

    def _adopt(self) -> None:
        """Take over the segments that processes left which are gone."""
        sealed, ends = self._index.sealed(), self._index.ends()
        for name in sorted(self._names() - sealed):
            adopted = Lane.adopt(self._folder / name, ends.get(name, 0))
            if adopted is None:
                continue
            lane, found = adopted
            self._index.add(_places(name, found), {name: lane.end})
            self._mine.add(name)
            self.give_lane(lane)

    def _look_at_others(self) -> None:
        """Find what other processes wrote and have not put into the index yet."""
        ends = self._healing(self._index.ends)
        sealed = self._healing(self._index.sealed)
        with self._lock:
            self._others = {
                digest: place
                for digest, place in self._others.items()
                if place.segment not in sealed and place.offset >= ends.get(place.segment, 0)
            }
            unsealed = self._names() - sealed - self._mine
            starts = {name: max(ends.get(name, 0), self._others_ends.get(name, 0)) for name in unsealed}
            for name, end in starts.items():
                self._others_ends[name] = end
                for offset, record in self._scanned(self._folder / name, end):
                    self._others[record.digest] = Place(name, offset, record.size)
                    self._others_ends[name] = offset + record.extent

    @staticmethod
    def _scanned(path: Path, start: int) -> Iterator[tuple[int, Record]]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            length = path.stat().st_size
            yield from scan(lambda at: read_page(path, at), UUID(path.stem), start, length)


class SegmentUpload:
    """One blob on its way into a segment. One thread at a time."""

    def __init__(self, segments: Segments, transfer_syntax_uid: str) -> None:
        self._segments = segments
        self._transfer_syntax_uid = transfer_syntax_uid
        self._lane: Lane | None = None
        self._size = 0

    def write(self, buffer: memoryview, count: int) -> None:
        """Append bytes: whole pages.

        Args:
            buffer: aligned; the bytes stand from its second page on.
            count: how many.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: writing fails.
        """
        try:
            if self._lane is None:
                self._lane = self._segments.take_lane()
            self._lane.write(self._size, buffer, count)
        except OSError as error:
            raise disk_failed(error, self._segments.root) from error
        self._size += count

    def commit(self, digest: Digest, buffer: memoryview, count: int) -> None:
        """Append the last bytes, and make the blob durable. One that is there already, intact, is kept.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: writing fails.
        """
        raw = digest.raw
        known = self._segments.known(raw)
        if known is not None and self._segments.intact(known, raw):
            self.abort()
            return
        try:
            lane = self._lane = self._lane or self._segments.take_lane()
            self._size += count
            offset = lane.commit(Record(raw, self._size, self._transfer_syntax_uid), buffer, count)
        except OSError as error:
            self._give_up(broken=True)
            raise disk_failed(error, self._segments.root) from error
        self._lane = None
        self._segments.note(raw, Place(lane.path.name, offset, self._size), lane.end)
        self._segments.give_lane(lane)

    def abort(self) -> None:
        """Leave nothing behind: what was written is overwritten by the next blob."""
        self._give_up(broken=False)

    def _give_up(self, *, broken: bool) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            self._segments.give_lane(lane, broken=broken)


def _places(name: str, found: list[tuple[int, Record]]) -> list[tuple[bytes, Place]]:
    return [(record.digest, Place(name, offset, record.size)) for offset, record in found]
