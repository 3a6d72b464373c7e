"""The events that split a request into work items. Pure.

All ids follow from the decision: to plan again what was planned gives the same events. Only slots may be
others, and an item that had to be done may meanwhile have been done for another request.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from medbus.projections.processing import StoredResult
from medbus.schemas.events import (
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    Meta,
    ProcessingFailed,
    ProcessingStarted,
    RequestAuthorized,
)
from medbus.schemas.topics import WORK
from medbus.streams.processing.asked import Asked
from medbus.streams.processing.planning.dividing import Part
from medbus.streams.processing.planning.placing import Slots

NAME = "processing"
"""The component, and so the source of its events."""

LENGTH_BYTES = 2
"""What says how long a text of up to 8191 bytes is."""

HEAD_BYTES = 4 * 1024
"""Of an `ItemPlanned` without its parameters, images and masks: ids, times and names."""


class Earlier(NamedTuple):
    """What came of the same work before.

    Attributes:
        results: in their order.
        findings: what was irregular about the images.
    """

    results: tuple[StoredResult, ...]
    findings: tuple[str, ...] = ()


class Origin(NamedTuple):
    """The decision that a plan follows from.

    Attributes:
        grant: the decision.
        at: when it was recorded.
    """

    grant: RequestAuthorized
    at: datetime

    def meta(self, kind: str) -> Meta:
        """The head of an event that follows from it."""
        return self.grant.meta.caused(kind, source=NAME, occurred_at=self.at, actor=self.grant.subscriber)


def started(origin: Origin, asked: Asked, parts: Sequence[Part]) -> ProcessingStarted:
    """Into how many items a request was split; without any there is nothing to wait for."""
    return ProcessingStarted(
        meta=origin.meta("started"),
        grant_id=origin.grant.request_id,
        subscriber=origin.grant.subscriber,
        processing_type=asked.operation.name,
        version=asked.operation.version,
        items=len(parts),
        images=sum(len(part.images) for part in parts),
    )


def failed(origin: Origin, reason: str) -> ProcessingFailed:
    """A request can't be done as a whole."""
    return ProcessingFailed(
        meta=origin.meta("failed"),
        grant_id=origin.grant.request_id,
        subscriber=origin.grant.subscriber,
        reason=reason,
    )


def plan(
    origin: Origin,
    asked: Asked,
    parts: Sequence[Part],
    *,
    earlier: Mapping[str, Earlier],
    slots: Slots,
    server: str | None = None,
    recorded: Collection[int] = (),
    begun: bool = False,
) -> list[Event]:
    """The events that a request becomes.

    Args:
        origin: the decision.
        asked: what is to be done.
        parts: from `divide`.
        earlier: what came of the same work before, by identity.
        slots: where work waits.
        server: the server that must do it; None for any.
        recorded: parts whose events are in the log already.
        begun: whether the log says already how many parts there are.

    Returns:
        For each part that was not recorded an `ItemPlanned`, or what came of it before, or why it can't be
        done; and at the end how many parts there are.
    """
    events: list[Event] = []
    for part in parts:
        if part.number in recorded:
            continue
        if part.reason:
            events.append(_item_failed(origin, part, part.reason))
        elif found := earlier.get(part.identity):
            events += _done_before(origin, part, found)
        else:
            events.append(_planned(origin, asked, part, slots, server))
    return events if begun else [*events, started(origin, asked, parts)]


def _planned(
    origin: Origin, asked: Asked, part: Part, slots: Slots, server: str | None
) -> ItemPlanned | ProcessingFailed:
    needed = _bytes(asked, part)
    if needed > WORK.max_bytes:
        return _item_failed(origin, part, _too_many(asked, part, needed))
    return ItemPlanned(
        meta=origin.meta(f"item:{part.number}"),
        grant_id=origin.grant.request_id,
        subscriber=origin.grant.subscriber,
        item=part.number,
        slot=slots.take(),
        server=server,
        identity=part.identity,
        processing_type=asked.operation.name,
        version=asked.operation.version,
        parameters=asked.written,
        images=part.images,
        masks=part.masks,
    )


def _too_many(asked: Asked, part: Part, needed: int) -> str:
    count = len(part.images) + len(part.masks)
    fixed = _bytes(asked, replace(part, images=(), masks=()))
    most = (WORK.max_bytes - fixed) * count // (needed - fixed)
    return (
        f"{count} images are too many for one work item: it has up to {WORK.max_bytes} bytes, they need "
        f"{needed}. Choose about {most} at most."
    )


def _bytes(asked: Asked, part: Part) -> int:
    """Bytes that an `ItemPlanned` has at most when it is encoded."""
    texts = [text for pair in asked.written.items() for text in pair]
    for blob in (*part.images, *part.masks):
        texts += blob.digest, blob.transfer_syntax_uid
    sizes = sum(_number_bytes(blob.size) for blob in (*part.images, *part.masks))
    return HEAD_BYTES + sizes + sum(len(text.encode()) + LENGTH_BYTES for text in texts)


def _number_bytes(number: int) -> int:
    """Bytes of an Avro long that is not negative."""
    return number.bit_length() // 7 + 1


def _item_failed(origin: Origin, part: Part, reason: str) -> ProcessingFailed:
    return ProcessingFailed(
        meta=origin.meta(f"item:{part.number}:failed"),
        grant_id=origin.grant.request_id,
        subscriber=origin.grant.subscriber,
        item=part.number,
        reason=reason,
    )


def _done_before(origin: Origin, part: Part, earlier: Earlier) -> list[Event]:
    """The results that were there already, and that nobody had to do anything for them."""
    images = [
        ImageProcessed(
            meta=origin.meta(f"item:{part.number}:{number}"),
            grant_id=origin.grant.request_id,
            subscriber=origin.grant.subscriber,
            item=part.number,
            number=number,
            processing_type=result.processing_type,
            description=result.description,
            study_instance_uid=result.study_instance_uid,
            series_instance_uid=result.series_instance_uid,
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
            blob=result.blob,
        )
        for number, result in enumerate(earlier.results)
    ]
    done = ItemProcessed(
        meta=origin.meta(f"item:{part.number}:processed"),
        grant_id=origin.grant.request_id,
        subscriber=origin.grant.subscriber,
        item=part.number,
        identity=part.identity,
        images=0,
        bytes=0,
        milliseconds=0,
        results=len(images),
        findings=earlier.findings,
    )
    return [*images, done]
