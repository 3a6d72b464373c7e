"""Permission for a conversation: ask for it on the log, wait for the decision, keep count of what is left."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from uuid import UUID

from medbus.bus import Bus, Start, Subscription
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import RejectionReason, Request, RequestAuthorized, RequestRejected, Scope
from medbus.schemas.topics import DECISIONS

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

DECISION_TIMEOUT = 5.0
"""Seconds that a requester is kept waiting; a decision takes milliseconds when all is well."""


def utc_now() -> datetime:
    """The clock at the rim."""
    return datetime.now(UTC)


class Rejected(MedbusError):
    """The service decided against a request."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(f"The request was rejected: {reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Undecided(MedbusError):
    """Nobody decided about a request in time, so it counts as refused for now."""


class Exhausted(MedbusError):
    """A grant has no images or bytes left."""


class Grant:
    """An authorised request, and what is left of it.

    Args:
        decision: the event that authorised it.
    """

    def __init__(self, decision: RequestAuthorized) -> None:
        self.decision = decision
        self._images = 0
        self._bytes = 0

    @property
    def grant_id(self) -> UUID:
        """The id of the request that was granted."""
        return self.decision.request_id

    @property
    def subscriber(self) -> str:
        return self.decision.subscriber

    @property
    def scope(self) -> Scope:
        return self.decision.scope

    def expired(self, now: datetime) -> bool:
        """Whether it is over."""
        return now >= self.decision.expires_at

    def take(self, size: int) -> None:
        """Count one image of `size` bytes.

        Raises:
            Exhausted: it would be one image, or that many bytes, too much; nothing was counted.
        """
        if self.decision.max_images is not None and self._images + 1 > self.decision.max_images:
            raise Exhausted(f"The grant's {self.decision.max_images} images are used up.")
        if self.decision.max_bytes is not None and self._bytes + size > self.decision.max_bytes:
            raise Exhausted(f"The grant's {self.decision.max_bytes} bytes are used up.")
        self._images += 1
        self._bytes += size

    def give_back(self, size: int) -> None:
        """Undo a `take` whose image was not registered after all."""
        self._images -= 1
        self._bytes -= size


class Grants(AbstractAsyncContextManager["Grants"]):
    """Asks for decisions. One subscription serves all requests of a process.

    Args:
        bus: an open bus.
        timeout: seconds to wait for a decision.
    """

    def __init__(self, bus: Bus, *, timeout: float = DECISION_TIMEOUT) -> None:
        self._bus = bus
        self._timeout = timeout
        self._waiting: dict[UUID, asyncio.Future[RequestAuthorized | RequestRejected]] = {}
        self._subscription: Subscription
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        # The subscription stands at the end of the log before the first request is written, so no decision
        # can come before it.
        self._subscription = await self._bus.subscribe(DECISIONS, start=Start.END).__aenter__()
        self._task = asyncio.create_task(self._follow(), name="decisions")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._subscription.__aexit__(kind, error, trace)

    async def run(self) -> None:
        """Wait until following the decisions fails; a gateway that can't hear them must not go on.

        Raises:
            MedbusError: why it failed.
        """
        await asyncio.shield(self._task)

    async def request(self, request: Request) -> Grant:
        """Publish a request and wait for the decision on it.

        Raises:
            Rejected: it was decided against.
            Undecided: there was no decision in time, or the request could not be written in time.
        """
        decided = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = decided
        try:
            async with asyncio.timeout(self._timeout):
                await self._bus.publish(request)
                decision = await decided
        except TimeoutError:
            raise Undecided(
                f"No decision on {type(request).__name__} {request.request_id} within {self._timeout:g} s.",
                "Is the auth processor running, and does Kafka answer? See `medbus status`.",
            ) from None
        finally:
            del self._waiting[request.request_id]
        if isinstance(decision, RequestRejected):
            raise Rejected(decision.reason, decision.detail)
        return Grant(decision)

    async def _follow(self) -> None:
        async for records in self._subscription:
            for record in records:
                event = record.event
                if isinstance(event, RequestAuthorized | RequestRejected):
                    waiting = self._waiting.get(event.request_id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(event)
