"""Where blobs are: a table in a file of its own, which can be made anew from the segments at any time."""

import contextlib
import os
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
);
CREATE TABLE IF NOT EXISTS blobs (
    digest BLOB PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
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
# What comes after a gap must not hide it.
_ADVANCE: Final = "UPDATE segments SET indexed = max(indexed, ?) WHERE name = ? AND indexed >= ?"
_SEAL: Final = "UPDATE segments SET sealed = 1 WHERE name = ? AND indexed >= ?"
_FORGET: Final = "DELETE FROM blobs WHERE segment = (SELECT number FROM segments WHERE name = ?)"
_REWIND: Final = "UPDATE segments SET indexed = 0, sealed = 0 WHERE name = ?"


class Place(NamedTuple):
    """Where a blob is: the segment's file name, the offset of the record, the bytes of the blob."""

    segment: str
    offset: int
    size: int


class Known(NamedTuple):
    """Up to which offset the records of a segment are in the table, and whether it grows no more."""

    indexed: int
    sealed: bool


class Index:
    """The table. Any number of threads and processes may use it.

    Args:
        path: of the file; it is made if it is not there.

    Raises:
        sqlite3.DatabaseError: it is damaged, as from every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Who looks does not wait for who writes.
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer = _connected(path)
        try:
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.executescript(_SCHEMA)
            self._reader = _connected(path)
            self._reader.execute("SELECT count(*) FROM segments").fetchone()
            self._file = _identity(path)
        except BaseException:
            self.close()
            raise

    @property
    def replaced(self) -> bool:
        """Whether the file is gone, or another one stands in its place."""
        return _identity(self._path) != self._file

    def find(self, digest: bytes) -> Place | None:
        """Where a blob is, as far as is known here."""
        with self._reading:
            row = self._reader.execute(_FIND, (digest,)).fetchone()
        return None if row is None else Place(*row)

    def segments(self) -> dict[str, Known]:
        """All segments that are noted here."""
        with self._reading:
            rows = self._reader.execute("SELECT name, indexed, sealed FROM segments").fetchall()
        return {name: Known(indexed, bool(sealed)) for name, indexed, sealed in rows}

    def add(self, places: Iterable[tuple[bytes, Place]], runs: Mapping[str, tuple[int, int]]) -> bool:
        """Note where blobs are.

        Args:
            places: by digest; an earlier place of the same blob is forgotten.
            runs: for each of their segments, from which offset to which one all records are among them.

        Returns:
            Whether no record before them is missing.
        """
        with self._writing, self._transaction() as connection:
            connection.executemany(_ADD_SEGMENT, [(name,) for name in runs])
            connection.executemany(
                _ADD_BLOB, [(digest, place.offset, place.size, place.segment) for digest, place in places]
            )
            advanced = [
                connection.execute(_ADVANCE, (end, name, start)).rowcount
                for name, (start, end) in runs.items()
            ]
        return all(advanced)

    def seal(self, segment: str, end: int) -> None:
        """Note that a segment grows no more, if all of its records up to its end are noted."""
        with self._writing, self._transaction() as connection:
            connection.execute(_ADD_SEGMENT, (segment,))
            connection.execute(_SEAL, (segment, end))

    def forget(self, segment: str) -> None:
        """Forget the records of a segment, which is not as it is noted here."""
        with self._writing, self._transaction() as connection:
            connection.execute(_FORGET, (segment,))
            connection.execute(_REWIND, (segment,))

    def close(self) -> None:
        """Let go of the file."""
        for name in ("_reader", "_writer"):
            connection: sqlite3.Connection | None = getattr(self, name, None)
            if connection is not None:
                with self._reading, self._writing, contextlib.suppress(sqlite3.Error):
                    connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # the first error is the one that matters
                self._writer.execute("ROLLBACK")
            raise


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # A power failure may take the last entries; what they said is in the segments.
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def remove(path: Path) -> None:
    """Remove the file of an index, with what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
