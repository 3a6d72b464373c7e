"""Where blobs are: a table in a file of its own, which can be made anew from the segments at any time."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

_BUSY_SECONDS: Final = 30.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS segments (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, indexed INTEGER NOT NULL DEFAULT 0,
    sealed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS blobs (
    digest BLOB PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_FIND: Final = """
SELECT segments.name, blobs.offset, blobs.size FROM blobs JOIN segments ON segments.number = blobs.segment
WHERE blobs.digest = ?
"""
_ADD_SEGMENT: Final = "INSERT INTO segments (name) VALUES (?) ON CONFLICT DO NOTHING"
_ADD_BLOB: Final = """
INSERT INTO blobs SELECT ?, number, ?, ? FROM segments WHERE name = ?
ON CONFLICT DO UPDATE SET segment = excluded.segment, offset = excluded.offset, size = excluded.size
"""
_ADVANCE: Final = "UPDATE segments SET indexed = max(indexed, ?) WHERE name = ?"


class Place(NamedTuple):
    """Where a blob is: the segment's file name, the offset of the record, the bytes of the blob."""

    segment: str
    offset: int
    size: int


class Index:
    """The table. Any number of threads and processes may use it.

    Args:
        path: of the file; it is made if it is not there.

    Raises:
        sqlite3.DatabaseError: it is damaged, as from every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            # A power failure may take the last entries; what they said is in the segments.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except BaseException:
            self._connection.close()
            raise

    def find(self, digest: bytes) -> Place | None:
        """Where a blob is, as far as is known here."""
        with self._lock:
            row = self._connection.execute(_FIND, (digest,)).fetchone()
        return None if row is None else Place(*row)

    def add(self, places: Iterable[tuple[bytes, Place]], ends: Mapping[str, int]) -> None:
        """Note where blobs are.

        Args:
            places: by digest; an earlier place of the same blob is forgotten.
            ends: segments, and up to which offset all of their records are noted with this.
        """
        with self._lock, self._transaction() as connection:
            connection.executemany(_ADD_SEGMENT, [(name,) for name in ends])
            connection.executemany(
                _ADD_BLOB, [(digest, place.offset, place.size, place.segment) for digest, place in places]
            )
            connection.executemany(_ADVANCE, [(end, name) for name, end in ends.items()])

    def seal(self, segment: str) -> None:
        """Note that a segment grows no more."""
        with self._lock:
            self._connection.execute("UPDATE segments SET sealed = 1 WHERE name = ?", (segment,))

    def sealed(self) -> set[str]:
        """The segments that grow no more."""
        with self._lock:
            return {name for (name,) in self._connection.execute("SELECT name FROM segments WHERE sealed")}

    def ends(self) -> dict[str, int]:
        """Up to which offset the records of each segment are noted that may grow."""
        with self._lock:
            rows = self._connection.execute("SELECT name, indexed FROM segments WHERE NOT sealed")
            return dict(rows.fetchall())

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def remove(path: Path) -> None:
    """Remove the file of an index, with what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
