"""/processing/ID/results: what came out of a processing request, as a list and as DICOM files (PS3.10)."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from http import HTTPStatus

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.dicom import part10
from medbus.gateways.dicom.values import is_uid
from medbus.gateways.grants import Clock
from medbus.gateways.http.answer import PRIVATE, answer
from medbus.gateways.http.errors import Problem, unavailable
from medbus.gateways.http.jobs import Jobs, Seen, shown_result
from medbus.gateways.http.permissions import Permissions
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.processing import ProcessingReader, StoredResult
from medbus.schemas.errors import BusError
from medbus.schemas.events import Channel, ImageDelivered, Terms

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/dicom"

DEFAULT, MOST = 100, 1000
"""Results in a page."""

_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)


class Results:
    """The endpoints.

    Args:
        bus: where deliveries are put on the log.
        database: the catalogs.
        blobs: where the images are.
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
        blobs: BlobStore,
        permissions: Permissions,
        clock: Clock,
        source: str,
        publish_timeout: float,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._clock = clock
        self._source = source
        self._publish_timeout = publish_timeout
        self._directory = DirectoryReader(database)
        self._reader = ProcessingReader(database)
        self._jobs = Jobs(self._reader, permissions)

    def routes(self) -> list[Route]:
        """Their routes."""
        every = "/processing/{processing_id:uuid}/results"
        return [Route(every, self.list), Route(f"{every}/{{sop_instance_uid}}", self.fetch)]

    async def list(self, request: Request) -> Response:
        """Answers 200 with the headers of the results so far, by item and number, page by page."""
        after, limit = _wanted(request.query_params)
        seen = await self._jobs.seen(request)
        found = await self._reader.results(seen.job.request_id, after=after, limit=limit + 1)
        page = found[:limit]
        following = f"{page[-1].item}.{page[-1].number}" if len(found) > limit else None
        results = [shown_result(each, seen) for each in page]
        return answer({"id": seen.job.request_id, "results": results, "next": following})

    async def fetch(self, request: Request) -> Response:
        """Answers 200 with a result as a DICOM file.

        The file says who sent it and whom it is for, where these have an AE title. The last bytes go out once
        the log has the delivery.

        Raises:
            Problem: 404 there is no such result, 503 the log does not answer.
        """
        seen = await self._jobs.seen(request)
        sop_instance_uid = request.path_params["sop_instance_uid"]
        result = None
        if is_uid(sop_instance_uid):
            result = await self._reader.result(seen.job.request_id, sop_instance_uid)
        if result is None:
            raise Problem(HTTPStatus.NOT_FOUND, "The processing request has no such result.")
        head = part10.preamble(
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
            transfer_syntax_uid=result.blob.transfer_syntax_uid,
            sending_ae_title=await self._sender(seen),
            receiving_ae_title=await self._receiver(seen),
        )
        headers = {
            **PRIVATE,
            "Content-Length": str(len(head) + result.blob.size),
            "Content-Disposition": f'attachment; filename="{sop_instance_uid}.dcm"',
        }
        if request.method == "HEAD":
            return Response(headers=headers, media_type=MEDIA_TYPE)
        chunks = aiter(self._blobs.stream(result.blob.digest))
        first, second = await anext(chunks, b""), await anext(chunks, None)
        if second is None:
            await self._delivered(seen, result)
            return Response(head + first, headers=headers, media_type=MEDIA_TYPE)

        async def content() -> AsyncIterator[bytes]:
            yield head
            yield first
            held = second
            async for chunk in chunks:
                yield held
                held = chunk
            await self._delivered(seen, result)
            yield held

        return StreamingResponse(content(), headers=headers, media_type=MEDIA_TYPE)

    async def _delivered(self, seen: Seen, result: StoredResult) -> None:
        """Put a delivery on the log; fetched again under the same grant, it is the same one.

        Raises:
            Problem: the log does not take it (503).
        """
        event = ImageDelivered(
            meta=seen.grant.decision.meta.caused(
                result.sop_instance_uid, source=self._source, occurred_at=self._clock()
            ),
            grant_id=seen.grant.grant_id,
            subscriber=seen.viewer,
            channel=Channel.HTTP,
            destination=seen.viewer,
            study_instance_uid=result.study_instance_uid,
            sop_instance_uid=result.sop_instance_uid,
            digest=result.blob.digest,
            size=result.blob.size,
            transfer_syntax_uid=result.blob.transfer_syntax_uid,
        )
        try:
            async with asyncio.timeout(self._publish_timeout):
                await self._bus.publish(event)
        except (TimeoutError, BusError) as error:
            log.error("a delivery to %s is not on the log: %s", seen.viewer, error)  # noqa: TRY400
            raise unavailable("The event log does not answer. Ask again.") from error

    async def _sender(self, seen: Seen) -> str | None:
        """The AE title of who asked: of the apparatus that did, or else of the first of the contract."""
        if seen.job.subscriber is None:
            return None
        contract = await self._directory.contract(seen.job.subscriber)
        grant = await self._reader.grant(seen.job.request_id)
        asked = None if grant is None else grant.apparatus_id
        return None if contract is None else _ae_title(contract.terms, asked)

    async def _receiver(self, seen: Seen) -> str | None:
        """The AE title of who fetches: of the first apparatus that images could be sent to, or of any."""
        contract = await self._directory.contract(seen.viewer)
        if contract is None:
            return None
        reachable = [each for each in contract.terms.apparatuses if each.host and each.port]
        return reachable[0].ae_title if reachable else _ae_title(contract.terms, None)


def _ae_title(terms: Terms, apparatus_id: str | None) -> str | None:
    """The AE title of an apparatus, or else of the first one."""
    titles = {each.apparatus_id: each.ae_title for each in terms.apparatuses}
    return titles.get(apparatus_id or "") or next(iter(titles.values()), None)


def _wanted(query: QueryParams) -> tuple[tuple[int, int] | None, int]:
    """The place that a page begins after, and its length.

    Raises:
        Problem: they are none (422).
    """
    limit, after = query.get("limit", str(DEFAULT)), query.get("after")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MOST):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"limit is a number from 1 to {MOST}.")
    if after is None:
        return None, int(limit)
    place = _PLACE.fullmatch(after)
    if place is None:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "after is what another page says in next, as 0.1.")
    return (int(place[1]), int(place[2])), int(limit)
