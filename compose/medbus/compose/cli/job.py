"""Processing requests as the HTTP gateway shows them."""

from datetime import datetime
from uuid import UUID

import msgspec

OVER = frozenset({"COMPLETED", "CANCELLED", "FAILED", "REJECTED"})
"""States in which nothing more comes."""


class Asked(msgspec.Struct, frozen=True):
    """The answer to a request: it was granted."""

    id: UUID
    subscriber: str


class Failure(msgspec.Struct, frozen=True):
    """A work item that failed."""

    item: int
    server: str | None
    reason: str


class Finding(msgspec.Struct, frozen=True):
    """What was noticed of the images of so many items."""

    finding: str
    items: int


class Answered(msgspec.Struct, frozen=True):
    """How a destination was given the results."""

    destination: str
    answer: str
    address: str
    delivered: int
    failed: int
    attempts: int
    reason: str
    answered_at: datetime


class Job(msgspec.Struct, frozen=True):
    """A processing request, and how far it has come. In a list it has no failures, findings and answers."""

    id: UUID
    type: str
    parameters: dict[str, str]
    sender: str
    destinations: tuple[str, ...]
    keep: str
    answer: str
    state: str
    items: int
    done: int
    failed: int
    skipped: int
    images: int
    results: int
    requested_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    reason: str
    detail: str
    conversation: UUID
    failures: tuple[Failure, ...] = ()
    findings: tuple[Finding, ...] = ()
    answers: tuple[Answered, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.state in OVER

    @property
    def well(self) -> bool:
        """Whether all was done that was asked for, so far."""
        return self.state not in OVER - {"COMPLETED"} and not self.failed

    @property
    def items_over(self) -> int:
        """Work items of which nothing more comes."""
        return self.done + self.failed + self.skipped


class Jobs(msgspec.Struct, frozen=True):
    """A page of requests, those made last first; `next` leads to the one after it."""

    subscriber: str
    processing: tuple[Job, ...]
    next: str | None


class Result(msgspec.Struct, frozen=True):
    """The header of a result."""

    destinations: tuple[str, ...]
    sender: str
    type: str
    description: str
    item: int
    number: int
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    digest: str
    size: int
    transfer_syntax_uid: str


class Results(msgspec.Struct, frozen=True):
    """A page of results, by item and number; `next` leads to the one after it."""

    id: UUID
    results: tuple[Result, ...]
    next: str | None
