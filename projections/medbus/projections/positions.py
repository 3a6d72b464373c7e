"""How far each projection has come: the next offset of every partition, kept with the rows that it led to."""

from collections.abc import Iterable, Mapping

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, Text, bindparam, func, select

from medbus.bus import Partition
from medbus.projections import rows

metadata = MetaData()

positions = Table(
    "positions",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

definitions = Table(
    "definitions",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("definition", Text, nullable=False),
)
"""How each projection's tables were defined when they were made."""

Positions = dict[str, dict[Partition, int]]
"""Next offsets by projection and partition."""

_ALL = select(positions.c.projection, positions.c.topic, positions.c.partition, positions.c.next_offset)
_LOWEST = select(positions.c.topic, positions.c.partition, func.min(positions.c.next_offset)).group_by(
    positions.c.topic, positions.c.partition
)
_NEXT_OFFSET = select(func.min(positions.c.next_offset)).where(
    positions.c.topic == bindparam("topic"), positions.c.partition == bindparam("partition")
)


def load(connection: Connection) -> Positions:
    """The positions of all projections."""
    found: Positions = {}
    for projection, topic, number, offset in connection.execute(_ALL):
        found.setdefault(projection, {})[Partition(topic, number)] = offset
    return found


def save(connection: Connection, projection: str, offsets: Mapping[Partition, int]) -> None:
    """Set positions of a projection."""
    rows.replace(
        connection,
        positions,
        [(projection, p.topic, p.number, offset) for p, offset in offsets.items()],
    )


def begin(connection: Connection, projection: str, partitions: Iterable[Partition]) -> None:
    """Let a projection be at the beginning of partitions of which it has no position."""
    rows.add(connection, positions, [(projection, p.topic, p.number, 0) for p in partitions])


def lowest(connection: Connection) -> dict[Partition, int]:
    """The lowest position of any projection, by partition."""
    return {Partition(topic, number): offset for topic, number, offset in connection.execute(_LOWEST)}


def next_offset(connection: Connection, partition: Partition) -> int:
    """The lowest position of any projection in a partition; 0 where none has begun."""
    return connection.scalar(_NEXT_OFFSET, {"topic": partition.topic, "partition": partition.number}) or 0


def load_definitions(connection: Connection) -> dict[str, str]:
    """How the tables of each projection were defined."""
    return dict(tuple(row) for row in connection.execute(select(definitions)))


def save_definition(connection: Connection, projection: str, definition: str) -> None:
    """Note how the tables of a projection are defined."""
    rows.add(connection, definitions, [(projection, definition)])
