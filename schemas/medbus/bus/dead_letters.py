"""What becomes of a record that a component can't handle: it is kept, with its origin, as a dead letter."""

from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from medbus.bus.record import Position, Record, Undecodable
from medbus.schemas.events import DeadLettered, Meta, RecordHeader, Value

MAX_ERROR = 4096
"""The most characters kept of an error."""


class Raw(Value):
    """A record as bytes."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def event_id(processor: str, position: Position) -> UUID:
    """Identity of a dead letter: the same processor fails on the same record once, however often it tries."""
    topic, partition = position.partition
    return uuid5(NAMESPACE_OID, f"medbus:dead-letter:{processor}:{topic}:{partition}:{position.offset}")


def dead_letter(processor: str, record: Record, error: str, *, raw: Raw | None = None) -> DeadLettered:
    """The dead letter of a record.

    Args:
        processor: the component that could not handle it.
        record: the record.
        error: why.
        raw: the same as bytes. Without it, a record that does not decode is kept as it was, and of one that
            does only the place is told: the log has the rest.
    """
    identity = event_id(processor, record.position)
    if isinstance(record.event, Undecodable):
        meta = Meta.first(identity, source=processor, occurred_at=record.timestamp)
        undecoded = record.event
        raw = raw or Raw(key=undecoded.key, value=undecoded.value, headers=undecoded.headers)
    else:
        cause = record.event.meta
        meta = Meta(
            event_id=identity,
            cause_id=cause.event_id,
            correlation_id=cause.correlation_id,
            actor=cause.actor,
            source=processor,
            occurred_at=record.timestamp,
        )
        raw = raw or Raw()
    topic, partition = record.position.partition
    return DeadLettered(
        meta=meta,
        processor=processor,
        topic=topic,
        partition=partition,
        offset=record.position.offset,
        key=raw.key,
        value=raw.value,
        headers=tuple(RecordHeader(key=key, value=value) for key, value in raw.headers),
        error=error if len(error) <= MAX_ERROR else error[: MAX_ERROR - 3] + "...",
    )


def without_contents(letter: DeadLettered) -> DeadLettered:
    """The same without the record's bytes, which are too many for a dead letter; they stay in their topic."""
    size = len(letter.value or b"")
    return msgspec.structs.replace(
        letter,
        key=None,
        value=None,
        headers=(),
        error=f"{letter.error} (Its {size} bytes are too many for a dead letter: read it at its origin.)",
    )
