"""POST /activation: a subscriber's program runs for the first time and asks to be added.

The body is `{"program": "NAME VERSION"}`; who asks is known by the bearer token. Again it changes nothing.
"""

import asyncio
import logging
from datetime import datetime
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medbus.bus import Bus
from medbus.gateways.grants import Clock, Grant, Grants
from medbus.gateways.http import body
from medbus.gateways.http.answer import answer, moment
from medbus.gateways.http.bearer import evidence
from medbus.gateways.http.errors import unavailable
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.schemas.errors import BusError
from medbus.schemas.events import ActivationRequested, Meta, SubscriberActivated

log = logging.getLogger(__name__)

LONGEST_PROGRAM = 128
"""Characters of name and version."""

KIND = "activation"
"""Of the effect: a granted request activates once."""

SHOWN_SECONDS = 5.0
"""How long to wait until the catalog shows the activation."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked."""

    program: str


class Activation:
    """The endpoint.

    Args:
        bus: the log.
        database: tells when the catalog shows the activation.
        grants: asks for decisions.
        directory: contracts.
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
        directory: DirectoryReader,
        clock: Clock,
        source: str,
        publish_timeout: float,
    ) -> None:
        self._bus = bus
        self._database = database
        self._grants = grants
        self._directory = directory
        self._clock = clock
        self._source = source
        self._publish_timeout = publish_timeout

    def routes(self) -> list[Route]:
        """Its route."""
        return [Route("/activation", self.activate, methods=["POST"])]

    async def activate(self, request: Request) -> Response:
        """Answers 200 with the subscriber, and when it was activated first.

        Raises:
            Problem: 401 no token, 400 and 422 the body is not what is expected, 503 the log does not answer.
            Rejected, Undecided: the request was not granted.
        """
        shown = evidence(request)
        asked = body.decode(await body.read(request), Asked)
        program = body.text("program", asked.program, LONGEST_PROGRAM)
        grant = await self._grants.request(
            ActivationRequested(
                meta=Meta.first(uuid4(), source=self._source, occurred_at=self._clock()),
                evidence=shown,
                program=program,
            )
        )
        activated_at = await self._activated_at(grant) or await self._publish(grant, program)
        return answer({"subscriber": grant.subscriber, "activated_at": moment(activated_at)})

    async def _activated_at(self, grant: Grant) -> datetime | None:
        contract = await self._directory.contract(grant.subscriber)
        return None if contract is None else contract.activated_at

    async def _publish(self, grant: Grant, program: str) -> datetime:
        """Put the activation on the log; the time of the first one there, if another was faster."""
        event = SubscriberActivated(
            meta=grant.decision.meta.caused(KIND, source=self._source, occurred_at=self._clock()),
            subscriber=grant.subscriber,
            program=program,
        )
        try:
            async with asyncio.timeout(self._publish_timeout):
                position = await self._bus.publish(event)
        except (TimeoutError, BusError) as error:
            log.error("the activation of %s is not on the log: %s", grant.subscriber, error)  # noqa: TRY400
            raise unavailable("The event log does not answer. Ask again.") from error
        if await self._database.reached(position, SHOWN_SECONDS):
            return await self._activated_at(grant) or event.meta.occurred_at
        return event.meta.occurred_at
