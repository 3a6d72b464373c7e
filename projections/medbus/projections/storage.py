"""What a database must be able to do to hold catalogs: the port, with one adapter for each kind of database.

A catalog exists in generations. One of them is current; readers see only that one. A new generation is built
beside it and becomes current at one moment.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection, Index, MetaData, Select, Table
from sqlalchemy.schema import CreateIndex, CreateTable

T = TypeVar("T")

Work = Callable[[Connection], T]
"""Synchronous work on a connection, within one transaction. It runs as a whole where the database is: for
SQLite in a thread beside the event loop, so that no statement has to wait for the loop."""


_EARLY = "early"
EARLY = {_EARLY: True}
"""The info of an index without which writing would be slow."""


class Building(ABC):
    """A new generation that nobody reads yet."""

    @abstractmethod
    async def write(self, work: Work[T]) -> T:
        """Do work in a transaction on the new generation."""

    @abstractmethod
    def turn(self) -> AbstractAsyncContextManager[None]:
        """Keep the current generation from being written; within, it may be read as usual."""

    @abstractmethod
    async def finish(self) -> None:
        """Make durable what has been written. More may be written afterwards."""

    @abstractmethod
    async def switch(self) -> None:
        """Make this the current generation."""


class Storage(ABC):
    """A database with catalogs."""

    @abstractmethod
    async def open(self) -> None:
        """Connect.

        Raises:
            CatalogInUse: it is to be written, and another process does already.
        """

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Leaves no thread and no lock behind."""

    @abstractmethod
    async def read(self, work: Work[T]) -> T:
        """Do work in a read-only transaction on the current generation.

        Raises:
            CatalogMissing: there is none.
        """

    async def look(self, statement: Select[Any], parameters: Mapping[str, str]) -> tuple[Any, ...] | None:
        """The first row of a statement that finds few by a key: often asked, and answered at once.

        Raises:
            CatalogMissing: there is none.
        """

        def work(connection: Connection) -> tuple[Any, ...] | None:
            row = connection.execute(statement, parameters).first()
            return None if row is None else tuple(row)

        return await self.read(work)

    @abstractmethod
    async def write(self, work: Work[T]) -> T:
        """Do work in a transaction on the current generation; all of it is kept, or nothing.

        Raises:
            CatalogMissing: there is none.
        """

    @abstractmethod
    def build(self) -> AbstractAsyncContextManager[Building]:
        """Begin a new generation; it is thrown away if it was not switched to.

        Raises:
            CatalogInUse: another process builds one.
        """

    @abstractmethod
    async def maintain(self, grace: float) -> None:
        """What is to be done now and then; removes generations that were replaced `grace` seconds ago."""


def create_tables(connection: Connection, metadata: Sequence[MetaData]) -> None:
    """Create tables with their keys, and those indexes that writing relies on (`info=EARLY`)."""
    for table in _tables(metadata):
        connection.execute(CreateTable(table))
        for index in _indexes(table, early=True):
            connection.execute(CreateIndex(index))


def create_indexes(connection: Connection, metadata: Sequence[MetaData]) -> None:
    """Create the indexes that only readers need. On full tables this is quicker than row by row."""
    for table in _tables(metadata):
        for index in _indexes(table, early=False):
            connection.execute(CreateIndex(index))


def _indexes(table: Table, *, early: bool) -> list[Index]:
    chosen = [index for index in table.indexes if index.info.get(_EARLY, False) is early]
    return sorted(chosen, key=_name)


def _tables(metadata: Sequence[MetaData]) -> list[Table]:
    return [table for each in metadata for table in each.sorted_tables]


def _name(index: Index) -> str:
    return str(index.name)
