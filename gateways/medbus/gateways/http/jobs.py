"""Processing requests as those see them who asked for them or are to get their results."""

from collections import Counter
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.requests import Request

from medbus.gateways.grants import Grant
from medbus.gateways.http.answer import moment
from medbus.gateways.http.bearer import evidence
from medbus.gateways.http.errors import Problem
from medbus.gateways.http.permissions import Permissions
from medbus.projections.processing import Item, Job, ProcessingReader, State, StoredResult
from medbus.schemas.events import ResultsAnswered


class Seen(NamedTuple):
    """A job, and who looks at it under which grant."""

    job: Job
    viewer: str
    grant: Grant

    @property
    def destinations(self) -> tuple[str, ...]:
        """Those that the viewer may know of: all if it asked, else itself."""
        return destinations(self.job, self.viewer)


class Jobs:
    """Shows jobs to those whom they concern.

    Args:
        reader: the processing catalog.
        permissions: asks whether somebody may look.
    """

    def __init__(self, reader: ProcessingReader, permissions: Permissions) -> None:
        self._reader = reader
        self._permissions = permissions

    async def seen(self, request: Request) -> Seen:
        """The job that a path names.

        Raises:
            Problem: there is no token (401), or no such job that the requester may see (404).
            Rejected, Undecided: looking is not granted.
        """
        processing_id = request.path_params["processing_id"]
        shown = evidence(request)
        job = await self._reader.job(processing_id)
        conversation = None if job is None else job.conversation
        grant = await self._permissions.result(shown, processing_id, conversation)
        return Seen(visible(job, grant.subscriber), grant.subscriber, grant)


def visible(job: Job | None, viewer: str) -> Job:
    """The job, if somebody may see it: who asked for it, and unless it was rejected, its destinations.

    Raises:
        Problem: it may not, or there is none (404).
    """
    if job is not None:
        promised = () if job.state is State.REJECTED else job.destinations
        if viewer == job.subscriber or viewer in promised:
            return job
    raise Problem(HTTPStatus.NOT_FOUND, f"{viewer} has no such processing request.")


def destinations(job: Job, viewer: str) -> tuple[str, ...]:
    """The destinations that somebody may know of: all of its own job, of another's itself."""
    return job.destinations if viewer == job.subscriber else (viewer,)


def shown_job(job: Job, viewer: str) -> dict[str, Any]:
    """A job in a list. Of its items, `done`, `failed` and `skipped` are over."""
    return {
        "id": job.request_id,
        "type": job.processing_type,
        "parameters": job.parameters,
        "sender": job.subscriber,
        "destinations": destinations(job, viewer),
        "keep": job.keep,
        "answer": job.answer,
        "state": job.state,
        "items": job.items,
        "done": job.done,
        "failed": job.failed,
        "skipped": job.skipped,
        "images": job.images,
        "results": job.results,
        "requested_at": moment(job.requested_at),
        "started_at": moment(job.started_at),
        "completed_at": moment(job.completed_at),
        "cancelled_at": moment(job.cancelled_at),
        "reason": job.reason,
        "detail": job.detail,
        "conversation": job.conversation,
    }


def shown_failure(item: Item) -> dict[str, Any]:
    """A work item that failed."""
    return {"item": item.item, "server": item.server, "reason": item.reason}


def shown_findings(items: Iterable[Item]) -> list[dict[str, Any]]:
    """What was noticed of the images, and of how many items."""
    counts = Counter(finding for item in items for finding in item.findings)
    return [{"finding": finding, "items": count} for finding, count in counts.items()]


def shown_answers(answers: Sequence[ResultsAnswered], seen: Seen) -> list[dict[str, Any]]:
    """How destinations were answered; those that the viewer may know of."""
    return [
        {
            "destination": each.destination,
            "answer": each.answer,
            "address": each.address,
            "delivered": each.delivered,
            "failed": each.failed,
            "attempts": each.attempts,
            "reason": each.reason,
            "answered_at": moment(each.meta.occurred_at),
        }
        for each in answers
        if each.destination in seen.destinations
    ]


def shown_result(result: StoredResult, seen: Seen) -> dict[str, Any]:
    """The header of a result: for whom and from whom it is, and what was done."""
    return {
        "destinations": seen.destinations,
        "sender": seen.job.subscriber,
        "type": result.processing_type,
        "description": result.description,
        "item": result.item,
        "number": result.number,
        "study_instance_uid": result.study_instance_uid,
        "series_instance_uid": result.series_instance_uid,
        "sop_class_uid": result.sop_class_uid,
        "sop_instance_uid": result.sop_instance_uid,
        "digest": result.blob.digest,
        "size": result.blob.size,
        "transfer_syntax_uid": result.blob.transfer_syntax_uid,
    }
