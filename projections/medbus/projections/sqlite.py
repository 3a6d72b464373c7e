"""Catalogs in SQLite: a file for each generation, and a symbolic link to the current one.

There is one writer, in a thread of its own, and there are readers in a few more. No statement goes through
the event loop: a loop that is busy decoding would make each of them wait. SQLite releases the interpreter's
lock while it works, so decoding and writing go on side by side.

SQLite up to 3.51.2 (but for 3.50.7 and 3.44.6) can corrupt a file when two connections reset its write-ahead
log at the same time. Here only the writer ever checkpoints, whatever the version: readers are read-only.
"""

import asyncio
import fcntl
import logging
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Select, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from medbus.projections.errors import CatalogError, CatalogInUse, CatalogMissing
from medbus.projections.reading import Readers
from medbus.projections.storage import Building, Storage, Work

log = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_SECONDS = 5.0
WAL_BYTES = 16 * 1024 * 1024
"""The write-ahead log is folded into the file when it is longer than this."""

CHECKPOINT_PAUSE = 1.0
"""Seconds until that is tried again after a reader held on to old pages."""

_WRITING = (
    "PRAGMA journal_mode=WAL",
    # A power failure may take the last transactions but leaves the file whole; the log has them.
    "PRAGMA synchronous=NORMAL",
    "PRAGMA wal_autocheckpoint=0",
    f"PRAGMA journal_size_limit={WAL_BYTES}",
    "PRAGMA cache_size=-65536",
)
# A file that is being built is worthless until it is finished, so nothing protects it.
_BUILDING = (
    # Rows are long, and keys come in no order: with the usual 4096 bytes, pages are split all the time.
    "PRAGMA page_size=8192",
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=MEMORY",
    "PRAGMA synchronous=OFF",
    "PRAGMA cache_size=-262144",
)
_READING = ("PRAGMA query_only=ON", "PRAGMA cache_size=-16384")


def corrupts(version: tuple[int, ...]) -> bool:
    """Whether this version of SQLite has the bug of the reset write-ahead log."""
    if version >= (3, 51, 3):
        return False
    return not (version[:2] == (3, 50) and version >= (3, 50, 7)) and not (
        version[:2] == (3, 44) and version >= (3, 44, 6)
    )


class SqliteStorage(Storage):
    """Catalogs in SQLite.

    Args:
        path: the symbolic link to the current generation, for example `catalogs/catalog.sqlite`; the
            generations are beside it, as `catalog-1.sqlite`.
        writer: whether to write.
    """

    def __init__(self, path: Path, *, writer: bool) -> None:
        self._path = path
        self._writes = writer
        self._writer = ThreadPoolExecutor(1, "catalog-writer")
        self._reading: tuple[_File, Readers] | None = None
        self._looking: tuple[_File, sqlite3.Connection] | None = None
        self._write_generation: _Generation | None = None
        self._lock: IO[str] | None = None
        self._checkpoint_due = 0.0

    async def open(self) -> None:
        version = sqlite3.sqlite_version_info
        if corrupts(version):
            log.info("SQLite %s needs a single checkpointer; it has one", sqlite3.sqlite_version)
        if self._path.exists() and not self._path.is_symlink():
            raise CatalogError(
                f"{self._path} is a file; it should be a link to one.", "Move it away, it will be built anew."
            )
        if self._writes:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._beside("writer"), f"{self._path} has a writer already")

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        reading, self._reading = self._reading, None
        if self._looking is not None:
            self._looking[1].close()
            self._looking = None
        try:
            if reading is not None:
                await reading[1].close()
            await loop.run_in_executor(self._writer, self._close_writer)
        finally:
            await asyncio.to_thread(self._stop)

    async def read(self, work: Work[T]) -> T:
        async def attempt(file: _File) -> T:
            return await (await self._readers(file)).do(work)

        return await self._on_current(attempt)

    async def look(self, statement: Select[Any], parameters: Mapping[str, str]) -> tuple[Any, ...] | None:
        # A look takes 10 µs in this thread. To ask another thread for it would take ten times as long.
        async def attempt(file: _File) -> tuple[Any, ...] | None:
            row: tuple[Any, ...] | None = self._look(file).execute(_text(statement), parameters).fetchone()
            return row

        return await self._on_current(attempt)

    async def _on_current(self, attempt: "Callable[[_File], Awaitable[T]]") -> T:
        while True:
            file = self._current()
            try:
                return await attempt(file)
            except (OperationalError, sqlite3.OperationalError):
                # It may have been replaced, and removed, between looking and opening.
                if self._current() == file:
                    raise

    def _look(self, file: "_File") -> sqlite3.Connection:
        old = self._looking
        if old is not None and old[0] == file:
            return old[1]
        new = _connect(file.path, "ro", _READING)
        self._looking = file, new
        if old is not None:
            old[1].close()
        return new

    async def write(self, work: Work[T]) -> T:
        if self._lock is None:
            raise CatalogError("The database was opened to be read.", "Open it with writer=True.")
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)

    @asynccontextmanager
    async def build(self) -> AsyncIterator[Building]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._beside("rebuild"), f"{self._path} is being rebuilt already"):
            current = self._number(self._link())
            for number, path in self._generations():
                if number > current:
                    _remove(path)
            file = self._path.with_name(f"{self._path.stem}-{current + 1}{self._path.suffix}")
            building = SqliteBuilding(file, self._path, self._beside("turn"))
            try:
                yield building
            finally:
                await building.close()

    async def maintain(self, grace: float) -> None:
        if self._lock is not None:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._tidy, grace)

    def _stop(self) -> None:
        self._writer.shutdown()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _readers(self, file: "_File") -> Readers:
        old = self._reading
        if old is not None and old[0] == file:
            return old[1]
        new = Readers(lambda: _connect(file.path, "ro", _READING), _read_engine)
        self._reading = file, new
        if old is not None:
            await old[1].close()
        return new

    def _write(self, work: Work[T]) -> T:
        with _turn(self._beside("turn")):
            generation = self._follow()
            with generation.engine.begin() as connection:
                result = work(connection)
        if time.monotonic() > self._checkpoint_due:
            self._checkpoint(generation, WAL_BYTES)
        return result

    def _follow(self) -> "_Generation":
        """The current generation, opened to be written; nobody switches to another meanwhile."""
        file = self._current()
        generation = self._write_generation
        if generation is None or generation.file != file:
            if generation is not None:
                log.info("the catalog was rebuilt: %s takes over", file.path.name)
                generation.close()
            self._write_generation = None
            generation = self._write_generation = _Generation(file, _writing)
        return generation

    def _checkpoint(self, generation: "_Generation", limit: int) -> None:
        path = generation.file.path
        log_file = path.with_name(f"{path.name}-wal")
        if not log_file.exists() or log_file.stat().st_size <= limit:
            return
        with generation.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute("PRAGMA busy_timeout=100")
            busy, pages, done = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            raw.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")
        if busy:
            # A reader holds on to old pages. It is not worth to wait for it: the next time will do.
            log.debug("%d of %d pages could be written back", done, pages)
            self._checkpoint_due = time.monotonic() + CHECKPOINT_PAUSE

    def _tidy(self, grace: float) -> None:
        with suppress(CatalogMissing), _turn(self._beside("turn")):
            generation = self._follow()
        if self._write_generation is None:
            return
        self._checkpoint(generation, 0)
        switched = self._path.lstat().st_mtime
        if time.time() - switched >= grace:
            for number, path in self._generations():
                if number < self._number(generation.file.path.name):
                    _remove(path)

    def _close_writer(self) -> None:
        if self._write_generation is not None:
            self._checkpoint(self._write_generation, 0)
            self._write_generation.close()
            self._write_generation = None

    def _link(self) -> str | None:
        try:
            return os.readlink(self._path)
        except FileNotFoundError:
            return None

    def _current(self) -> "_File":
        name = self._link()
        while name is not None:
            path = self._path.with_name(name)
            with suppress(FileNotFoundError):
                return _File(path, path.stat().st_ino)
            previous, name = name, self._link()
            if name == previous:
                break
        raise CatalogMissing(
            f"There is no catalog at {self._path} yet.", "The projector builds it: does it run?"
        )

    def _number(self, name: str | None) -> int:
        match = None if name is None else self._pattern().fullmatch(name)
        return 0 if match is None else int(match[1])

    def _generations(self) -> list[tuple[int, Path]]:
        return [
            (int(match[1]), path)
            for path in self._path.parent.iterdir()
            if (match := self._pattern().fullmatch(path.name))
        ]

    def _pattern(self) -> re.Pattern[str]:
        return re.compile(f"{re.escape(self._path.stem)}-([0-9]+){re.escape(self._path.suffix)}")

    def _beside(self, purpose: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{purpose}")


class SqliteBuilding(Building):
    """A generation's file while it is being built."""

    def __init__(self, file: Path, link: Path, turn: Path) -> None:
        self._file = file
        self._link = link
        self._turn_file = turn
        self._thread = ThreadPoolExecutor(1, "catalog-builder")
        self._generation: _Generation | None = None
        self._switched = False

    async def write(self, work: Work[T]) -> T:
        return await self._run(lambda: self._write(work))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        turn = _turn(self._turn_file)
        await self._run(turn.__enter__)
        try:
            yield
        finally:
            await self._run(lambda: turn.__exit__(None, None, None))

    async def finish(self) -> None:
        await self._run(lambda: _synchronise(self._file))

    async def switch(self) -> None:
        await self._run(self._switch)

    async def close(self) -> None:
        await self._run(self._close)
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _write(self, work: Work[T]) -> T:
        if self._generation is None:
            self._generation = _Generation(_File(self._file, 0), _building)
        with self._generation.engine.begin() as connection:
            return work(connection)

    def _switch(self) -> None:
        if self._generation is not None:
            self._generation.close()
            self._generation = None
        # From here on it is read while it is written.
        raw = sqlite3.connect(self._file)
        raw.execute("PRAGMA journal_mode=WAL")
        raw.close()
        _synchronise(self._file)
        new = self._link.with_name(f"{self._link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(self._file.name)
        new.replace(self._link)
        _synchronise(self._link.parent)
        self._switched = True

    def _close(self) -> None:
        if self._generation is not None:
            self._generation.close()
        if not self._switched:
            _remove(self._file)


class _File(NamedTuple):
    """A file as it is now: another one may later have its name."""

    path: Path
    inode: int


class _Generation:
    """An open generation."""

    def __init__(self, file: _File, opened: Callable[[Path], Engine]) -> None:
        self.file = file
        self.engine = opened(file.path)

    def close(self) -> None:
        self.engine.dispose()


def _read_engine(connection: Callable[[], object]) -> Engine:
    return _engine(connection, "BEGIN", poolclass=StaticPool)


def _writing(path: Path) -> Engine:
    # IMMEDIATE: a transaction that reads first and writes later would fail at once if another wrote between.
    return _engine(lambda: _connect(path, "rw", _WRITING), "BEGIN IMMEDIATE", poolclass=StaticPool)


def _building(path: Path) -> Engine:
    return _engine(lambda: _connect(path, "rwc", _BUILDING), "BEGIN IMMEDIATE", poolclass=StaticPool)


def _engine(creator: Callable[[], object], begin: str, **options: Any) -> Engine:
    engine = create_engine("sqlite+pysqlite://", creator=creator, **options)

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _connect(path: Path, mode: str, settings: tuple[str, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    for setting in settings:
        connection.execute(setting)
    return connection


@cache
def _text(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def _locked(path: Path, trouble: str) -> IO[str]:
    """A lock that ends with this process, however it ends."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise CatalogInUse(f"{trouble}: process {owner}.", "There can be only one: stop it first.") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Either writes the current generation, or switches to another."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
