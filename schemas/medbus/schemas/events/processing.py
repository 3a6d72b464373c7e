"""Events of image processing: a request is split into work items, each is done by one server."""

from uuid import UUID

from medbus.schemas.events.base import Blob, Event, Int, Long


class ProcessingEvent(Event):
    """What all events of a processing request have."""

    grant_id: UUID
    subscriber: str


class ProcessingStarted(ProcessingEvent):
    """A request was split into work items."""

    processing_type: str
    version: Int
    items: Int
    images: Long


class ImageProcessed(ProcessingEvent):
    """An image came out of a work item; it is durable."""

    item: Int
    number: Int
    processing_type: str
    description: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    blob: Blob


class ItemProcessed(ProcessingEvent):
    """A work item is done. Where its results were there already, nobody did it and it counts nothing."""

    item: Int
    identity: str
    server: str | None = None
    images: Long
    bytes: Long
    milliseconds: Long
    results: Int
    findings: tuple[str, ...] = ()


class ProcessingFailed(ProcessingEvent):
    """A work item, or a whole request, can't be processed."""

    item: Int | None = None
    server: str | None = None
    reason: str


class ItemSkipped(ProcessingEvent):
    """A work item was not begun, because the request was cancelled."""

    item: Int


class ProcessingCancelled(ProcessingEvent):
    """A request was cancelled: what has not begun is not done."""

    by: str


class ProcessingCompleted(ProcessingEvent):
    """All that a request asked for is done, as far as it could be done."""

    processing_type: str
    sessions: Long
    images: Long
    bytes: Long
    milliseconds: Long
    results: Long = 0
    failed: Int = 0
    skipped: Int = 0


class ResultsKept(ProcessingEvent):
    """What was to be registered of a request was registered, as far as it could be."""

    registered: Int
    refused: tuple[str, ...] = ()


class ServerStarted(Event):
    """A processing server began to work."""

    server: str
    cores: Int
