"""/processing: which processing there is, how far it has come, and its end.

Those who asked for it and those who are to get its results see it; for all others it is not there.
"""

import asyncio
import logging
from datetime import datetime
from http import HTTPStatus
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medbus.bus import Bus, Position
from medbus.gateways.grants import Clock, Grants
from medbus.gateways.http import jobs
from medbus.gateways.http.answer import answer
from medbus.gateways.http.bearer import evidence
from medbus.gateways.http.errors import Problem, unavailable
from medbus.gateways.http.jobs import Jobs
from medbus.gateways.http.paging import shown_page
from medbus.gateways.http.permissions import Permissions
from medbus.projections.database import Database
from medbus.projections.processing import Job, ProcessingReader, State
from medbus.schemas.errors import BusError
from medbus.schemas.events import (
    CancellationRequested,
    Meta,
    ProcessingCancelled,
)

log = logging.getLogger(__name__)

KIND = "cancellation"
"""Of the effect: a granted cancellation cancels once."""

SHOWN_SECONDS = 5.0
"""How long to wait until the catalog shows what was done."""

SHOWN_FAILURES = 100
"""Failed items of a request that are shown."""


class Processing:
    """The endpoints.

    Args:
        bus: the log.
        database: the catalogs.
        grants: asks for decisions.
        permissions: asks whether somebody may look.
        clock: the time.
        source: names this gateway in events.
        publish_timeout: seconds to wait for the log.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        database: Database,
        grants: Grants,
        permissions: Permissions,
        clock: Clock,
        source: str,
        publish_timeout: float,
    ) -> None:
        self._bus = bus
        self._database = database
        self._grants = grants
        self._permissions = permissions
        self._clock = clock
        self._source = source
        self._publish_timeout = publish_timeout
        self._reader = ProcessingReader(database)
        self._jobs = Jobs(self._reader, permissions)

    def routes(self) -> list[Route]:
        """Their routes."""
        one = "/processing/{processing_id:uuid}"
        return [
            Route("/processing", self.list, methods=["GET"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.cancel, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """Answers 200 with the requests of the subscriber, or for it, those made last first."""
        subscriber = await self._permissions.account(evidence(request), None)

        async def fetch(since: datetime | None, until: datetime | None, limit: int | None) -> list[Job]:
            return await self._reader.jobs(subscriber=subscriber, since=since, until=until, limit=limit)

        shown = await shown_page(
            *(request, "processing", fetch, lambda each: each.requested_at),
            lambda each: jobs.shown_job(each, subscriber),
        )
        return answer({"subscriber": subscriber, **shown})

    async def show(self, request: Request) -> Response:
        """Answers 200 with how far it has come, what failed and why, and how destinations were answered.

        What was noticed of the images (`findings`) is told once all is done.
        """
        seen = await self._jobs.seen(request)
        job = seen.job
        failures = await self._reader.failures(job.request_id, SHOWN_FAILURES) if job.failed else []
        items = await self._reader.items(job.request_id) if job.completed_at is not None else []
        answers = await self._reader.answers(job.request_id)
        return answer(
            {
                **jobs.shown_job(job, seen.viewer),
                "failures": [jobs.shown_failure(each) for each in failures],
                "findings": jobs.shown_findings(items),
                "answers": jobs.shown_answers(answers, seen),
            }
        )

    async def cancel(self, request: Request) -> Response:
        """Answers 202: what has not begun is not done. Again it changes nothing.

        Raises:
            Problem: 404 there is none, 403 it is not the requester's, 409 it is over, 503 the log does not
                answer.
            Rejected, Undecided: the cancellation was not granted.
        """
        processing_id: UUID = request.path_params["processing_id"]
        shown = evidence(request)
        job = await self._reader.job(processing_id)
        grant = await self._grants.request(
            CancellationRequested(
                meta=Meta.first(
                    uuid4(),
                    source=self._source,
                    occurred_at=self._clock(),
                    conversation=None if job is None else job.conversation,
                ),
                evidence=shown,
                processing_id=processing_id,
            )
        )
        job = jobs.visible(job, grant.subscriber)
        if job.subscriber != grant.subscriber:
            raise Problem(HTTPStatus.FORBIDDEN, f"{job.subscriber} asked for it, and may cancel it.")
        _check_open(job)
        if job.cancelled_at is None:
            position = await self._publish(
                ProcessingCancelled(
                    meta=grant.decision.meta.caused(KIND, source=self._source, occurred_at=self._clock()),
                    grant_id=processing_id,
                    subscriber=grant.subscriber,
                    by=grant.subscriber,
                )
            )
            await self._database.reached(position, SHOWN_SECONDS)
            job = await self._reader.job(processing_id) or job
            _check_open(job)
        return answer(jobs.shown_job(job, grant.subscriber), HTTPStatus.ACCEPTED)

    async def _publish(self, event: ProcessingCancelled) -> Position:
        try:
            async with asyncio.timeout(self._publish_timeout):
                return await self._bus.publish(event)
        except (TimeoutError, BusError) as error:
            log.error("the cancellation of %s is not on the log: %s", event.grant_id, error)  # noqa: TRY400
            raise unavailable("The event log does not answer. Ask again.") from error


def _check_open(job: Job) -> None:
    """Go on only with a job that can be cancelled, or is.

    Raises:
        Problem: it is over otherwise (409).
    """
    if job.state in {State.COMPLETED, State.FAILED, State.REJECTED}:
        raise Problem(HTTPStatus.CONFLICT, f"It is {job.state.lower()} already: nothing is left to cancel.")
