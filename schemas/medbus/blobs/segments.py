"""Blobs in a folder, in segments: durable before they are acknowledged.

What stands in a folder from before there were segments, one file for each blob, stays readable.
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from medbus.blobs.address import Digest, digest_of, key_of
from medbus.blobs.buffers import PAGE, Buffers, aligned, rounded
from medbus.blobs.disk import make_folder, opened, read_into, read_page, sync_file
from medbus.blobs.errors import FULL, BlobCorrupted, BlobError, BlobNotFound, disk_failed
from medbus.blobs.index import Place
from medbus.blobs.lane import Lane, digest_at
from medbus.blobs.places import Places
from medbus.blobs.segment import Record, unpack

SEALED: Final = 512 * 1024 * 1024
"""Bytes from which on a segment gets no more blobs."""

_VIEW: Final = 1024 * 1024
"""Bytes of the buffers that are kept for reading; a larger blob gets one of its own."""

_VIEWS_KEPT: Final = 16


class Extent(NamedTuple):
    """Where the bytes of a blob are in a file."""

    path: Path
    start: int
    size: int


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
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._views = Buffers(_VIEW, _VIEWS_KEPT)
        self._closed = False
        with self._guarded():
            make_folder(self._folder)
            self._has_files = (root / key_of(Digest().address)).parent.parent.is_dir()
            self._places = Places(root, self._folder)
            for lane in self._places.abandoned():
                self.give_lane(lane)

    def close(self) -> None:
        """Write the index and let go of all segments that are not being written."""
        with self._lock:
            self._closed = True
            lanes, self._lanes = self._lanes, []
        self._places.close()
        for lane in lanes:
            lane.close()

    def begin(self, transfer_syntax_uid: str) -> "SegmentUpload":
        """Begin a blob."""
        return SegmentUpload(self, transfer_syntax_uid)

    def size(self, address: str) -> int | None:
        """How many bytes a blob has; None if there is none: the segment itself is asked."""
        try:
            digest = digest_of(address)
        except BlobNotFound:
            return None
        with self._guarded():
            found = self._find(digest)
            if found is None or isinstance(found, Extent):
                return None if found is None else found.size
            path = self._folder / found.segment
            try:
                record = unpack(read_page(path, found.offset), UUID(path.stem), found.offset)
                length = path.stat().st_size
            except FileNotFoundError:
                return None
        if record is None or record.digest != digest or length < found.offset + record.extent:
            return None
        return record.size

    @contextmanager
    def view(self, address: str) -> Iterator[memoryview]:
        """All bytes of a blob, which are those of its address.

        Raises:
            BlobNotFound, BlobCorrupted, BlobError.
        """
        extent = self._extent(address)
        kept = rounded(extent.size) <= self._views.size
        buffer = self._views.take() if kept else aligned(extent.size)
        view = buffer[: extent.size]
        try:
            with self._opened(extent) as file:
                read_into(file, buffer[: rounded(extent.size)], extent.start)
            digest = Digest()
            digest.update(view)
            if digest.address != address:
                raise BlobCorrupted(address, digest.address)
            yield view
        finally:
            with contextlib.suppress(BufferError):  # somebody still looks at it: it is not used again
                view.release()
                if kept:
                    self._views.give(buffer)

    def chunks(self, address: str, length: int) -> Iterator[bytes]:
        """The bytes of a blob, so many at once; they are not verified."""
        extent = self._extent(address)
        buffer = aligned(length)
        with self._opened(extent) as file:
            for at in range(0, extent.size, length):
                count = min(length, extent.size - at)
                read_into(file, buffer[: rounded(count)], extent.start + at)
                yield bytes(buffer[:count])

    def read_range(self, address: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: it has no such bytes.
        """
        extent = self._extent(address)
        if not 0 <= start <= start + length <= extent.size:
            raise BlobError(f"The blob {address} has {extent.size} bytes, not {start + length}.")
        begin = start // PAGE * PAGE
        buffer = aligned(start + length - begin)
        with self._opened(extent) as file:
            read_into(file, buffer, extent.start + begin)
        return bytes(buffer[start - begin : start - begin + length])

    # For uploads:

    def take_lane(self) -> Lane:
        """A segment to write into. Raises OSError."""
        with self._lock:
            if self._lanes:
                return self._lanes.pop()
        lane = Lane.create(self._folder)
        self._places.claim(lane.path.name)
        return lane

    def give_lane(self, lane: Lane, *, broken: bool = False) -> None:
        """Give a segment back; one that is long enough, or broken, gets no more blobs."""
        seal = broken or lane.end >= SEALED
        with self._lock:
            if not seal and not self._closed:
                self._lanes.append(lane)
                return
        lane.close()
        self._places.release(lane.path.name, lane.end, seal=seal and lane.end > 0)

    def note(self, digest: bytes, place: Place, end: int) -> None:
        """Remember where a blob is that is durable now."""
        self._places.note(digest, place, end)

    def has(self, digest: bytes) -> bool:
        """Whether a blob is there, intact, as far as this process knows."""
        found = self._places.known(digest) or self._file(digest)
        if found is None:
            return False
        extent = self._extent_of(found)
        try:
            with opened(extent.path) as file:
                if digest_at(file, extent.start, extent.size) != digest:
                    return False
                sync_file(file)  # the process that wrote it may not have got that far yet
                return True
        except OSError:
            return False

    def _find(self, digest: bytes) -> Place | Extent | None:
        places = self._places
        return places.remembered(digest) or self._file(digest) or places.sought(digest)

    def _file(self, digest: bytes) -> Extent | None:
        """A blob in a file of its own."""
        if not self._has_files:
            return None
        path = self.root / key_of(f"blake3:{digest.hex()}")
        with contextlib.suppress(FileNotFoundError):
            return Extent(path, 0, path.stat().st_size)
        return None

    def _extent(self, address: str) -> Extent:
        with self._guarded():
            found = self._find(digest_of(address))
        if found is None:
            raise BlobNotFound(address)
        return self._extent_of(found)

    def _extent_of(self, found: Place | Extent) -> Extent:
        if isinstance(found, Extent):
            return found
        return Extent(self._folder / found.segment, found.offset + PAGE, found.size)

    @contextmanager
    def _opened(self, extent: Extent) -> Iterator[int]:
        with self._guarded():
            try:
                with opened(extent.path) as file:
                    yield file
            except FileNotFoundError as error:
                raise BlobError(
                    f"The file {extent.path.name} is missing.", f"Restore {self.root} from a backup."
                ) from error

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_failed(error, self.root) from error


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
            self._give_up(broken=error.errno not in FULL)
            raise disk_failed(error, self._segments.root) from error
        self._size += count

    def commit(self, digest: Digest, buffer: memoryview, count: int) -> None:
        """Append the last bytes, and make the blob durable. One that is there already, intact, is kept.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: writing fails.
        """
        raw = digest.raw
        if self._segments.has(raw):
            self.abort()
            return
        try:
            lane = self._lane = self._lane or self._segments.take_lane()
            self._size += count
            offset = lane.commit(Record(raw, self._size, self._transfer_syntax_uid), buffer, count)
        except OSError as error:
            # Nobody knows how much of it is on the disk; other processes may have seen its header.
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
