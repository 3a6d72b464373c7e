"""A catalog in memory, without any projector, and everything that is in a catalog."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, delete, select
from sqlalchemy.pool import StaticPool

from medbus.bus import Record
from medbus.projections import positions, projection
from medbus.projections.projection import Projection
from medbus.projections.projector import PROJECTIONS

Dump = dict[str, list[tuple[Any, ...]]]


@cache
def _founded(projections: Sequence[Projection]) -> Connection:
    """A catalog for many examples: making tables and compiling statements takes longer than using them."""
    connection = create_engine("sqlite+pysqlite://", poolclass=StaticPool).connect()
    projection.found(connection, projections)
    return connection


@contextmanager
def catalog(projections: Sequence[Projection] = PROJECTIONS) -> Iterator[Connection]:
    """An empty catalog."""
    connection = _founded(projections)
    metadata = [positions.metadata, *(each.metadata for each in projections)]
    for table in (table for each in metadata for table in each.sorted_tables):
        if table is not positions.definitions:
            connection.execute(delete(table))
    connection.commit()
    yield connection
    connection.rollback()


def dump(connection: Connection, *, with_positions: bool = False) -> Dump:
    """All rows of all tables, in a fixed order."""
    metadata: list[MetaData] = [each.metadata for each in PROJECTIONS]
    tables = [table for each in metadata for table in each.sorted_tables]
    if with_positions:
        tables.append(positions.positions)
    return {
        table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
        for table in tables
    }


def rows_of(batches: Iterable[Sequence[Record]], projections: Sequence[Projection] = PROJECTIONS) -> Dump:
    """The rows that batches of records lead to."""
    with catalog(projections) as connection:
        for batch in batches:
            projection.apply(connection, projections, batch)
        return dump(connection)
