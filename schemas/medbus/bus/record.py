"""What comes out of the bus: events with their place in the log."""

from datetime import datetime
from typing import NamedTuple

from medbus.schemas.events import Event, Value


class Partition(NamedTuple):
    """A partition of a topic; the topic's name is without the installation's prefix."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Position(NamedTuple):
    """The place of a record in the log."""

    partition: Partition
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}"


class Undecodable(Value):
    """A record that holds no event of ours, as it was."""

    error: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Record(Value):
    """An event where it stands in the log; the timestamp is the broker's, at arrival, UTC."""

    position: Position
    timestamp: datetime
    event: Event | Undecodable
