"""What the processing catalog tells: how far a request has come, and what came out of it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from medbus.schemas.events import Answer, Blob, Keep, Value


class State(StrEnum):
    """How far a processing request has come."""

    ASKED = "ASKED"
    """It is not decided, or not yet split into items."""
    REJECTED = "REJECTED"
    PLANNED = "PLANNED"
    """It was split into items, and they are being done."""
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    """It was completed after a cancellation; until then it is asked or planned."""
    FAILED = "FAILED"
    """It could not be processed as a whole."""


class ItemState(StrEnum):
    """How far a work item has come."""

    PLANNED = "PLANNED"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class Job(Value):
    """A processing request with what became of it. Times are those of arrival in the log, UTC.

    Attributes:
        conversation: the correlation id of its events.
        subscriber: who asked; None until it is decided, and where nobody is known by the evidence.
        destinations: who is to get the results: the subscriber, if the request names nobody.
        items: how many it was split into; 0 before.
        done: items that were processed; `failed` and `skipped` are others.
        results: images that came out of its items.
        images: images that are to be processed; 0 before it was split into items.
        cancelled_at: when the first cancellation arrived, also where it came too late.
        reason: why it failed as a whole, or the name of the reason for which it was rejected.
        detail: of the rejection.
    """

    request_id: UUID
    conversation: UUID
    subscriber: str | None = None
    requested_at: datetime
    processing_type: str
    parameters: dict[str, str]
    keep: Keep
    answer: Answer
    destinations: tuple[str, ...] = ()
    state: State = State.ASKED
    items: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    results: int = 0
    images: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    reason: str = ""
    detail: str = ""


class Item(Value):
    """A work item; one whose results were there already was never planned.

    Attributes:
        server: who did it; while it is planned, the one that it is pinned to.
        slot: the partition of the work that it was planned in; None where it was not.
        identity: of its inputs, type, version and parameters; None if it failed and its plan is unknown.
        images: that it took in; so are `bytes`.
        milliseconds: that it took.
        results: images that came out of it.
        reason: why it failed.
        findings: what was noticed of its inputs.
    """

    request_id: UUID
    item: int
    state: ItemState = ItemState.PLANNED
    server: str | None = None
    slot: int | None = None
    identity: str | None = None
    images: int = 0
    bytes: int = 0
    milliseconds: int = 0
    results: int = 0
    reason: str = ""
    findings: tuple[str, ...] = ()
    planned_at: datetime | None = None
    done_at: datetime | None = None


class StoredResult(Value):
    """An image that came out of a work item."""

    request_id: UUID
    item: int
    number: int
    processing_type: str
    description: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    blob: Blob


class Totals(Value):
    """The sums over the items of a request.

    Attributes:
        items: how many it was split into.
        sessions: servers that did some of them.
        images: that were taken in; so are `bytes`, and `milliseconds` that it took.
        results: images that came out.
    """

    items: int
    processed: int = 0
    failed: int = 0
    skipped: int = 0
    sessions: int = 0
    images: int = 0
    bytes: int = 0
    milliseconds: int = 0
    results: int = 0

    @property
    def finished(self) -> bool:
        """Whether every item is processed, failed or skipped."""
        return self.processed + self.failed + self.skipped >= self.items


class Server(Value):
    """A processing server.

    Attributes:
        started_at: when it began to work the last time.
    """

    name: str
    cores: int
    started_at: datetime
