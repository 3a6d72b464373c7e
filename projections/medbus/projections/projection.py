"""What a projection is, and how records are applied to several of them at once."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from sqlalchemy import Connection, MetaData
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from medbus.bus import Partition, Record, Undecodable
from medbus.projections import positions
from medbus.projections.storage import create_indexes, create_tables
from medbus.schemas.topics import Topic


class Projection(ABC):
    """Builds the rows of one catalog from events. It has no effect but on those rows.

    Attributes:
        name: tells it from the others in the same database.
        topics: what it reads.
        metadata: its tables. While catalogs are built, `apply` can rely only on their keys, and on indexes
            that are marked as EARLY.
    """

    name: ClassVar[str]
    topics: ClassVar[tuple[Topic, ...]]
    metadata: ClassVar[MetaData]

    @abstractmethod
    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        """Take up events of its topics, in the order of the log within each partition.

        The same events in another grouping, in another order of partitions, or some of them twice, must lead
        to the same rows.
        """

    @property
    def definition(self) -> str:
        """Changes when the tables do."""
        dialect = sqlite.dialect()
        parts: list[CreateTable | CreateIndex] = []
        for table in self.metadata.sorted_tables:
            parts.append(CreateTable(table))
            parts.extend(
                CreateIndex(index) for index in sorted(table.indexes, key=lambda each: str(each.name))
            )
        text = "\n".join(str(part.compile(dialect=dialect)) for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()


def found(connection: Connection, projections: Iterable[Projection]) -> None:
    """Make the tables of a new catalog, without indexes."""
    create_tables(connection, [positions.metadata, *(each.metadata for each in projections)])
    for each in projections:
        positions.save_definition(connection, each.name, each.definition)


def index(connection: Connection, projections: Iterable[Projection]) -> None:
    """Make the indexes of a catalog that was founded."""
    create_indexes(connection, [each.metadata for each in projections])


def join(connection: Connection, projection: Projection) -> None:
    """Make the tables and indexes of a projection that is new in a catalog."""
    create_tables(connection, [projection.metadata])
    create_indexes(connection, [projection.metadata])
    positions.save_definition(connection, projection.name, projection.definition)


def begin(connection: Connection, projections: Iterable[Projection], partitions: Sequence[Partition]) -> None:
    """Let projections be at the beginning of the partitions that are new to them."""
    for each in projections:
        names = {topic.name for topic in each.topics}
        positions.begin(connection, each.name, [p for p in partitions if p.topic in names])


def apply(connection: Connection, projections: Sequence[Projection], records: Sequence[Record]) -> None:
    """Let every projection take up those records that it reads and has not seen, and note how far it is.

    Records that hold no event are passed over.
    """
    first: dict[Partition, int] = {}
    following: dict[Partition, int] = {}
    for record in records:
        partition, offset = record.position
        first.setdefault(partition, offset)
        following[partition] = offset + 1
    known = positions.load(connection)
    for projection in projections:
        names = {topic.name for topic in projection.topics}
        at = known.get(projection.name, {})
        ahead = {p: end for p, end in following.items() if p.topic in names and end > at.get(p, 0)}
        if not ahead:
            continue
        if len(ahead) == len(first) and all(at.get(p, 0) <= offset for p, offset in first.items()):
            new = [record for record in records if type(record.event) is not Undecodable]
        else:
            new = [
                record
                for record in records
                if record.position.partition in ahead
                and record.position.offset >= at.get(record.position.partition, 0)
                and type(record.event) is not Undecodable
            ]
        if new:
            projection.apply(connection, new)
        positions.save(connection, projection.name, ahead)
