"""Reads of catalogs in SQLite: a few aiosqlite connections, each with a thread of its own."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import Engine

from medbus.projections.storage import Work

T = TypeVar("T")

READERS = 4


class Reader(aiosqlite.Connection):
    """A connection in whose thread a whole piece of work is done at once.

    aiosqlite passes each statement to the thread by itself, so between two of them a busy event loop would be
    waited for. It must be closed: its thread keeps the process alive.

    Args:
        connect: opens the connection, read-only; called in the thread.
        engine: makes an engine of the open connection.
    """

    def __init__(
        self, connect: Callable[[], object], engine: Callable[[Callable[[], object]], Engine]
    ) -> None:
        super().__init__(connect, iter_chunk_size=64)  # type: ignore[arg-type]  # SQLAlchemy does not care
        self._engine = engine(lambda: self._conn)

    async def do(self, work: Work[T]) -> T:
        """Do work in a read-only transaction."""
        execute: Any = self._execute
        result: T = await execute(self._do, work)
        return result

    def _do(self, work: Work[T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)


class Readers:
    """The readers of one file, opened as they are needed.

    Args:
        connect: opens a connection to the file.
        engine: see `Reader`.
    """

    def __init__(
        self, connect: Callable[[], object], engine: Callable[[Callable[[], object]], Engine]
    ) -> None:
        self._connect = connect
        self._engine = engine
        self._idle: list[Reader] = []
        self._places = asyncio.Semaphore(READERS)
        self._closed = False

    async def do(self, work: Work[T]) -> T:
        """Do work with a reader that is free; waits for one if need be."""
        async with self._places:
            reader = self._idle.pop() if self._idle else await self._open()
            try:
                return await reader.do(work)
            finally:
                if self._closed:
                    await reader.close()
                else:
                    self._idle.append(reader)

    async def _open(self) -> Reader:
        reader = Reader(self._connect, self._engine)
        await reader
        return reader

    async def close(self) -> None:
        """Close the readers; those that are busy are closed when they have done their work."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()
