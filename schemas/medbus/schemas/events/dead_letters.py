"""Records that no component could handle, kept as they were."""

from medbus.schemas.events.base import Event, Int, Long, Value


class RecordHeader(Value):
    """A header of a Kafka record."""

    key: str
    value: bytes | None = None


class DeadLettered(Event):
    """A record that a component could not handle, with its origin."""

    processor: str
    topic: str
    partition: Int
    offset: Long
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[RecordHeader, ...] = ()
    error: str
