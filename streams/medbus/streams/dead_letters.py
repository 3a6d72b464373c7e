"""What becomes of a record that a processor can't handle: it is kept as it was, with its origin."""

from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from medbus.bus import Position, Record, Undecodable
from medbus.schemas.events import DeadLettered, Meta, RecordHeader, Value

MAX_ERROR = 4096
"""The most characters kept of an error."""


class Raw(Value):
    """A record as bytes."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def event_id(processor: str, position: Position) -> UUID:
    """Identity of a dead letter: the same processor fails on the same record once, however often it tries."""
    topic, partition = position.partition
    return uuid5(NAMESPACE_OID, f"medbus:dead-letter:{processor}:{topic}:{partition}:{position.offset}")


def dead_letter(processor: str, record: Record, raw: Raw, error: str) -> DeadLettered:
    """The dead letter of a record.

    Args:
        processor: which could not handle it.
        record: the record.
        raw: the same as bytes.
        error: why.
    """
    identity = event_id(processor, record.position)
    if isinstance(record.event, Undecodable):
        meta = Meta.first(identity, source=processor, occurred_at=record.timestamp)
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
    return DeadLettered(
        meta=meta,
        processor=processor,
        topic=record.position.partition.topic,
        partition=record.position.partition.number,
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
