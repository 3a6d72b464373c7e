"""Records that a projection can't take up, for the dead-letter topic."""

from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from medbus.bus import Position, Record, Undecodable
from medbus.schemas.events import DeadLettered, Meta, RecordHeader

LONGEST_ERROR = 4096
"""The most characters kept of an error."""


def event_id(processor: str, position: Position) -> UUID:
    """Identity of a dead letter: however often a record fails, it is the same."""
    topic, partition = position.partition
    return uuid5(NAMESPACE_OID, f"medbus:dead-letter:{processor}:{topic}:{partition}:{position.offset}")


def dead_letter(record: Record, error: str, *, processor: str) -> DeadLettered:
    """The event that says that a record could not be taken up.

    Args:
        record: which. Of one that was decoded only the place is told: the log keeps the rest.
        error: why.
        processor: who gave up.
    """
    identity = event_id(processor, record.position)
    topic, partition = record.position.partition
    if isinstance(record.event, Undecodable):
        raw = record.event
        meta = Meta.first(identity, source=processor, occurred_at=record.timestamp)
    else:
        raw = Undecodable(error=error, key=None, value=None)
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
        topic=topic,
        partition=partition,
        offset=record.position.offset,
        key=raw.key,
        value=raw.value,
        headers=tuple(RecordHeader(key=key, value=value) for key, value in raw.headers),
        error=error[:LONGEST_ERROR],
    )


def without_contents(letter: DeadLettered) -> DeadLettered:
    """The same without the record's bytes, which are too many for a dead letter; they stay where they are."""
    return msgspec.structs.replace(letter, key=None, value=None, headers=())
