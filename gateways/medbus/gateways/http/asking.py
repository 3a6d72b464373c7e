"""POST /processing: have images processed.

The body is JSON, see `order`; or multipart/form-data, where the part `request` holds that JSON and the parts
`image` and `mask` hold DICOM files. Who asks is known by the bearer token.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.grants import Clock, Grants
from medbus.gateways.http import body, order
from medbus.gateways.http.answer import answer
from medbus.gateways.http.bearer import evidence
from medbus.gateways.http.errors import CHALLENGE, Problem
from medbus.gateways.http.form import MEDIA_TYPE
from medbus.gateways.http.order import Order
from medbus.gateways.http.upload import Limits, Upload, receive
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.processing import ProcessingReader
from medbus.schemas.errors import InvalidEvent, MedbusError
from medbus.schemas.events import CredentialKind, Evidence, Meta, RejectionReason

log = logging.getLogger(__name__)

Check = Callable[[str, Mapping[str, str]], int]
"""Says how many inputs a processing type takes: 2 with masks. Raises MedbusError if type or parameters are
not what they may be. Called in a thread."""

SHOWN_SECONDS = 5.0
"""How long to wait until the catalog shows a request that was granted."""

_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.1
_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


class Asking:
    """The endpoint.

    Args:
        bus: the log.
        database: the catalogs.
        blobs: where enclosed images are kept.
        grants: asks for decisions.
        clock: the time.
        source: names this gateway in events.
        limits: of bodies.
        check: of type and parameters; without, whoever plans the processing finds out what is wrong.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        database: Database,
        blobs: BlobStore,
        grants: Grants,
        clock: Clock,
        source: str,
        limits: Limits,
        check: Check | None,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._grants = grants
        self._clock = clock
        self._source = source
        self._limits = limits
        self._check = check
        self._directory = DirectoryReader(database)
        self._reader = ProcessingReader(database)

    def routes(self) -> list[Route]:
        """Its route."""
        return [Route("/processing", self.ask, methods=["POST"])]

    async def ask(self, request: Request) -> Response:
        """Answers 202 with the id; the processing goes on by itself.

        Raises:
            Problem: 401 and 403 who asks is not known; 400, 408, 413, 415 and 422 the body is not what it
                may be.
            Rejected, Undecided: the request was not granted.
            BlobError: enclosed images can't be kept.
        """
        shown = evidence(request)
        await self._check_known(shown)
        received = await self._received(request)
        processing_id = uuid4()
        meta = Meta.first(processing_id, source=self._source, occurred_at=self._clock())
        asked = received.request.requested(meta, shown, received.images, received.masks)
        await self._check_inputs(received)
        try:
            self._bus.codec.encode(asked)
        except InvalidEvent as error:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Name whole series. {error.message}"
            ) from error
        grant = await self._grants.request(asked)
        await self._shown(processing_id)
        location = {"Location": f"/processing/{processing_id}"}
        return answer(
            {"id": processing_id, "subscriber": grant.subscriber}, HTTPStatus.ACCEPTED, headers=location
        )

    async def _check_known(self, shown: Evidence) -> None:
        """Go on only if the catalog knows the token as one of a contract in force: the body may be long.

        Raises:
            Problem: it is not (401, 403).
        """
        assert shown.token is not None  # noqa: S101
        contract = await self._directory.by_credential(CredentialKind.BEARER_TOKEN, shown.token)
        now = self._clock()
        good = contract is not None and any(
            each.digest == shown.token
            and not each.revoked
            and (each.expires_at is None or now < each.expires_at)
            for each in contract.credentials
        )
        if contract is None or not good:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "This token is not known here. Ask the service's manager for one.",
                reason=RejectionReason.WRONG_CREDENTIAL,
                headers=CHALLENGE,
            )
        if not contract.live or self._grants.cancelled(contract.subscriber):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"The contract of {contract.subscriber} was cancelled.",
                reason=RejectionReason.CONTRACT_CANCELLED,
            )

    async def _received(self, request: Request) -> Upload[Order]:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind == MEDIA_TYPE:
            return await receive(request, self._blobs, self._limits, self._read)
        if kind != "application/json":
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"A body is application/json or {MEDIA_TYPE}, not {kind!r}.",
            )
        content = await body.read(request, self._limits.request_bytes)
        return Upload(await self._read(content), (), ())

    async def _read(self, content: bytes) -> Order:
        """The order that a client wrote, checked as far as it can be without its images."""
        read = order.read(content)
        await self._inputs(read)
        return read

    async def _inputs(self, asked: Order) -> int | None:
        """How many inputs it takes; None if nobody knows.

        Raises:
            Problem: type or parameters are not what they may be (422).
        """
        if self._check is None:
            return None
        try:
            return await asyncio.to_thread(self._check, asked.type, asked.words())
        except MedbusError as error:
            said = f"{error.message} {error.advice}".strip()
            raise Problem(_UNPROCESSABLE, said) from error

    async def _check_inputs(self, received: Upload[Order]) -> None:
        """Go on only with images, and with masks where they are needed and nowhere else.

        Raises:
            Problem: something is missing or too much (422).
        """
        asked = received.request
        if not (received.images or asked.images.any):
            wrong = "No image is named or enclosed."
        else:
            inputs, masks = await self._inputs(asked), bool(received.masks or asked.masks.any)
            if inputs is None or masks == (inputs == 2):
                return
            wrong = f"{asked.type} takes no masks." if masks else f"{asked.type} needs masks: there are none."
        raise Problem(_UNPROCESSABLE, wrong)

    async def _shown(self, processing_id: UUID) -> None:
        """Wait until the catalog shows that a request was granted: whoever is answered may look at once."""
        deadline = asyncio.get_running_loop().time() + SHOWN_SECONDS
        wait = _FIRST_WAIT
        while asyncio.get_running_loop().time() < deadline:
            job = await self._reader.job(processing_id)
            if job is not None and job.subscriber is not None:
                return
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)
        log.warning("the catalog does not show the processing request %s", processing_id)
