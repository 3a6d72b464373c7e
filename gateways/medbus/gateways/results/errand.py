"""One request's results for one destination, and what can happen to them on their way."""

import asyncio
from collections import Counter
from typing import Protocol
from uuid import UUID

from medbus.gateways.results.backoff import Backoff
from medbus.projections.processing import Job
from medbus.schemas.events import RequestAuthorized
from medbus.schemas.events.base import Meta

LONGEST_REASON = 300
"""Characters of a reason in an event."""


class Away(Exception):
    """The destination can't be reached: nothing else needs to be tried there for a while."""


class Unfinished(Exception):
    """Something did not go well that may go well later; the destination is there."""


class Impossible(Exception):
    """It makes no sense to try again."""


class Errand:
    """What is to be done for one request and destination, and how far it has come.

    Args:
        job: the request.
        destination: the subscriber that gets the results.
        grant: of the request.

    Attributes:
        address: where it was tried at last: AE title with host and port, or a URL.
        delivered: how many images, or announcements, arrived.
        failed: how many did not, and will not.
        arrived: SOP Instance UIDs that the destination has.
        refused: those that it will not have, with the reason.
        postponed: those that did not go well so far, with the reason and the status.
        trouble: how often the association broke with each.
        tries: how often it was tried with the destination there.
    """

    def __init__(self, job: Job, destination: str, grant: RequestAuthorized) -> None:
        self.job = job
        self.destination = destination
        self.grant = grant
        self.address = ""
        self.delivered = 0
        self.failed = 0
        self.arrived: set[str] = set()
        self.refused: dict[str, str] = {}
        self.postponed: dict[str, tuple[str, int | None]] = {}
        self.trouble: Counter[str] = Counter()
        self.tries = 0
        self.recalled = False

    @property
    def request_id(self) -> UUID:
        return self.job.request_id

    def kind(self, what: str, of: str = "") -> str:
        """What tells an effect of the grant from its other effects."""
        return ":".join(filter(None, (what, self.destination, of)))

    def event_id(self, what: str, of: str = "") -> UUID:
        """The id of the event that says `what` of this errand: always the same."""
        meta: Meta = self.grant.meta
        return meta.caused(self.kind(what, of), source="", occurred_at=meta.occurred_at).event_id


class Means(Protocol):
    """A way to a destination."""

    async def attempt(self, errand: Errand) -> None:
        """Try it; whoever returns has finished, and says in the errand what was delivered and what failed.

        Raises:
            Away, Unfinished: to be tried again.
            Impossible: not to be tried again.
        """
        ...

    async def give_up(self, errand: Errand, reason: str) -> None:
        """Put on the log what failed for good, and say it in the errand."""
        ...


class Peer:
    """A destination by one means: one errand at a time, and none while it is known to be away.

    Args:
        backoff: of this one.

    Attributes:
        turn: held while it is tried.
        not_before: when to try again, on the event loop's clock.
        tries: how often it was away.
        reason: why, the last time.
    """

    def __init__(self, backoff: Backoff) -> None:
        self.turn = asyncio.Lock()
        self.not_before = 0.0
        self.tries = 0
        self.reason = ""
        self._backoff = backoff

    def away(self, reason: str, now: float) -> None:
        """It was not there."""
        self.tries += 1
        self.reason = reason
        self.not_before = now + self._backoff.delay()

    def there(self) -> None:
        """It was there."""
        self.not_before = 0.0
        self._backoff.reset()
