"""What comes of a work item, and the events that say so. Pure."""

from collections.abc import Sequence
from typing import Final

from medbus.schemas.events import (
    Blob,
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Meta,
    ProcessingFailed,
    Value,
)

NAME: Final = "processing-server"
"""Source of the events, and the start of the consumer groups."""

MOST_FINDINGS: Final = 100
LONGEST: Final = 1000
"""Characters of a finding or a reason: an event has its limits, and an image may say anything."""


class Made(Value):
    """An object that was made and is in the blob store.

    Attributes:
        description: what was done, in English.
    """

    description: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    blob: Blob


class Outcome(Value):
    """A work item that was done.

    Attributes:
        made: the results in their order.
        findings: what was irregular about the images, in English.
        images: objects that were read.
        bytes: of those objects.
        milliseconds: from the first byte that was read to the last one that was durable.
    """

    made: tuple[Made, ...]
    findings: tuple[str, ...]
    images: int
    bytes: int
    milliseconds: int


class Trouble(Value):
    """A work item that could not be done.

    Attributes:
        reason: why, and what to do about it.
        passing: the same may succeed a moment later.
        memory: there was not enough.
    """

    reason: str
    passing: bool = False
    memory: bool = False


def processed(item: ItemPlanned, outcome: Outcome, server: str) -> Sequence[Event]:
    """The events of an item that was done: its results, then the item. Done again, they are the same events;
    only who did it and how long it took may differ."""
    results = [
        ImageProcessed(
            meta=_meta(item, f"image:{number}"),
            grant_id=item.grant_id,
            subscriber=item.subscriber,
            item=item.item,
            number=number,
            processing_type=item.processing_type,
            description=each.description[:LONGEST],
            study_instance_uid=each.study_instance_uid,
            series_instance_uid=each.series_instance_uid,
            sop_class_uid=each.sop_class_uid,
            sop_instance_uid=each.sop_instance_uid,
            blob=each.blob,
        )
        for number, each in enumerate(outcome.made)
    ]
    done = ItemProcessed(
        meta=_meta(item, "processed"),
        grant_id=item.grant_id,
        subscriber=item.subscriber,
        item=item.item,
        identity=item.identity,
        server=server,
        images=outcome.images,
        bytes=outcome.bytes,
        milliseconds=outcome.milliseconds,
        results=len(results),
        findings=tuple(each[:LONGEST] for each in outcome.findings[:MOST_FINDINGS]),
    )
    return (*results, done)


def skipped(item: ItemPlanned) -> Sequence[Event]:
    """The event of an item that was not begun, because its request was cancelled."""
    return (
        ItemSkipped(
            meta=_meta(item, "skipped"),
            grant_id=item.grant_id,
            subscriber=item.subscriber,
            item=item.item,
        ),
    )


def failed(item: ItemPlanned, reason: str, server: str) -> Sequence[Event]:
    """The event of an item that can't be done."""
    return (
        ProcessingFailed(
            meta=_meta(item, "failed"),
            grant_id=item.grant_id,
            subscriber=item.subscriber,
            item=item.item,
            server=server,
            reason=reason[:LONGEST],
        ),
    )


def _meta(item: ItemPlanned, kind: str) -> Meta:
    return item.meta.caused(kind, source=NAME, occurred_at=item.meta.occurred_at)
