"""Permission for a conversation: ask for it on the log, wait for the decision, keep count of what is left."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from uuid import UUID
from weakref import WeakSet

from medbus.bus import Bus, Record, Subscription
from medbus.bus.client import Offsets
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import (
    ContractCancelled,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    Scope,
    SubscriberContracted,
)
from medbus.schemas.topics import DECISIONS, SUBSCRIBERS

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

DECISION_TIMEOUT = 5.0
"""Seconds that a requester is kept waiting; a decision takes milliseconds when all is well."""


IDLE_PACE = 0.025
"""Seconds from one look at the decisions to the next while nobody here waits for one: those for other
gateways come in a stream, and each look takes a millisecond of CPU here and at the broker."""

CANCELLED = "the contract was cancelled"
"""What a peer is told whose grant ended."""


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

    Attributes:
        ended: whether the subscriber's contract was cancelled meanwhile. It is not renewed then.
    """

    def __init__(self, decision: RequestAuthorized) -> None:
        self.decision = decision
        self.ended = False
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
        """Whether its time is over, so that a new one is to be asked for."""
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
    """Asks for decisions, and ends grants whose contract is cancelled. One subscription serves a process.

    A decision rests on a catalog that may not have shown a cancellation yet. So a grant that comes after the
    cancellation of its subscriber's contract ended before it began, until there is a new contract.

    Args:
        bus: an open bus.
        timeout: seconds to wait for a decision.
        known: where in the log of contracts the catalog stood, at least, before the first request: what
            follows there is not missed. Without, it is the end of the log.
    """

    def __init__(self, bus: Bus, *, timeout: float = DECISION_TIMEOUT, known: Offsets | None = None) -> None:
        self._bus = bus
        self._timeout = timeout
        self._known = known or {}
        self._waiting: dict[UUID, asyncio.Future[Grant | RequestRejected]] = {}
        self._open: WeakSet[Grant] = WeakSet()
        self._cancelled: set[str] = set()
        self._seen: set[UUID] = set()
        self._subscription: Subscription
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        # The subscription stands at the end of the log before the first request is written, so no decision
        # can come before it.
        start = await self._bus.end_offsets(DECISIONS, SUBSCRIBERS)
        for partition in self._bus.partitions(SUBSCRIBERS):
            start[partition] = min(start[partition], self._known.get(partition, start[partition]))
        subscription = self._bus.subscribe(DECISIONS, SUBSCRIBERS, start=start, pace=IDLE_PACE)
        self._subscription = await subscription.__aenter__()
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

    async def run(self, stop: asyncio.Event) -> None:
        """Wait until told to stop, or until following the decisions fails.

        A gateway that can't hear them lets nobody in: better to end and be started again.

        Raises:
            MedbusError: why it failed.
        """
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((self._task, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._task.done():
            self._task.result()

    def cancelled(self, subscriber: str) -> bool:
        """Whether a subscriber's contract was cancelled, and no new one made, since this process follows."""
        return subscriber in self._cancelled

    async def request(self, request: Request) -> Grant:
        """Publish a request and wait for the decision on it.

        Raises:
            Rejected: it was decided against, or the contract was cancelled while it was decided.
            Undecided: there was no decision in time, or the request could not be written in time.
        """
        decided: asyncio.Future[Grant | RequestRejected] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = decided
        self._subscription.pace = 0.0
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
            if not self._waiting:
                self._subscription.pace = IDLE_PACE
        if isinstance(decision, RequestRejected):
            raise Rejected(decision.reason, decision.detail)
        if decision.ended:
            raise Rejected(
                RejectionReason.CONTRACT_CANCELLED, f"The contract of {decision.subscriber} was cancelled."
            )
        return decision

    async def _follow(self) -> None:
        async for records in self._subscription:
            for record in records:
                self._take_up(record)

    def _take_up(self, record: Record) -> None:
        match record.event:
            case RequestAuthorized() as event:
                # A grant is made here and not where it is waited for, so that no cancellation comes between.
                if event.request_id in self._waiting:
                    self._decided(event.request_id, self._granted(event))
            case RequestRejected() as event:
                self._decided(event.request_id, event)
            case ContractCancelled() | SubscriberContracted() as event if (
                event.meta.event_id not in self._seen
            ):
                self._seen.add(event.meta.event_id)
                self._changed(event)

    def _changed(self, event: ContractCancelled | SubscriberContracted) -> None:
        if isinstance(event, SubscriberContracted):
            self._cancelled.discard(event.subscriber)
            return
        self._cancelled.add(event.subscriber)
        for grant in self._open:
            if grant.subscriber == event.subscriber:
                grant.ended = True

    def _granted(self, decision: RequestAuthorized) -> Grant:
        grant = Grant(decision)
        grant.ended = self.cancelled(decision.subscriber)
        self._open.add(grant)
        return grant

    def _decided(self, request_id: UUID, decision: Grant | RequestRejected) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(decision)
