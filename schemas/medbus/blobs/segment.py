"""The format of segments: files of many blobs, each described by a page of its own. Pure.

A segment is a row of records. A record is a header of one page and the bytes of a blob, filled up to whole
pages. The header is written last, or in one with all else: where there is none the record was never finished,
and the segment ends; or, if records follow, it is damaged. Only the last record may be incomplete, after a
power failure: it was not acknowledged. A header names its segment and its place: bytes of an earlier,
abandoned blob can't pass for one.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from uuid import UUID
from zlib import crc32

from medbus.blobs.buffers import PAGE, rounded

MAGIC: Final = b"MEDBUS\0\1"
"""The last byte is the version of the format."""

_HEADER: Final = struct.Struct(">8s16sQ32sQ64s")
_CHECKSUM: Final = struct.Struct(">I")


class Record(NamedTuple):
    """What a header says.

    Attributes:
        digest: BLAKE3 of the blob.
        size: bytes of the blob.
        transfer_syntax_uid: of the data set that it is.
    """

    digest: bytes
    size: int
    transfer_syntax_uid: str

    @property
    def extent(self) -> int:
        """Bytes of the whole record."""
        return PAGE + rounded(self.size)


def pack(record: Record, segment: UUID, offset: int) -> bytes:
    """The header of a record at a place."""
    uid = record.transfer_syntax_uid.encode("ascii", "replace")
    head = _HEADER.pack(MAGIC, segment.bytes, offset, record.digest, record.size, uid[:64])
    return (head + _CHECKSUM.pack(crc32(head))).ljust(PAGE, b"\0")


def unpack(data: bytes | memoryview, segment: UUID, offset: int) -> Record | None:
    """The record whose header this is; None if it is none, or belongs to another place."""
    if len(data) < _HEADER.size + _CHECKSUM.size or data[:8] != MAGIC:
        return None
    _, name, place, digest, size, uid = _HEADER.unpack_from(data)
    if (name, place) != (segment.bytes, offset):
        return None
    if _CHECKSUM.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        return None
    return Record(digest, size, uid.rstrip(b"\0").decode("ascii"))


def scan(
    read: Callable[[int], bytes], segment: UUID, start: int, length: int, *, beyond_damage: bool = False
) -> Iterator[tuple[int, Record]]:
    """The records of a segment from an offset on, with their offsets.

    Args:
        read: gives a page at an offset.
        segment: which it is.
        start: where a record begins, or the segment ends.
        length: of the file.
        beyond_damage: whether to look for records also behind a page that is no header. Of a segment that
            grows meanwhile none is passed over: what seemed a gap is looked at again from the other side.
    """
    seen, gap = start, None
    while start + PAGE <= length:
        record = unpack(read(start), segment, start)
        if record is not None and start + record.extent <= length:
            if gap is not None and start > seen:
                seen, start, gap = start, gap, None
                continue
            yield start, record
            start += record.extent
            gap = None
        elif beyond_damage:
            gap = start if gap is None else gap
            start += PAGE
        else:
            return
