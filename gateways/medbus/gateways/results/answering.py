"""Asks the catalog again and again what is to be registered and who is to be answered, and sees to it.

What is done is told by the log, and by nothing else: this process keeps no state. So an effect may come
twice, where it was had but is not on the log; its event has an id that is derived, and comes once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from medbus.bus import Bus
from medbus.gateways.dicom.status import Refused, Unanswerable
from medbus.gateways.grants import Clock
from medbus.gateways.results.backoff import Backoff
from medbus.gateways.results.errand import (
    LONGEST_REASON,
    Away,
    Errand,
    Impossible,
    Means,
    Peer,
    Unfinished,
)
from medbus.gateways.results.following import Following
from medbus.gateways.results.keeping import Keeping
from medbus.gateways.results.settings import Settings
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError, CatalogMissing
from medbus.projections.processing import Job, ProcessingReader
from medbus.schemas.events import Answer, RequestAuthorized, ResultsAnswered

log = logging.getLogger(__name__)

AT_ONCE = 500
"""So many more requests are asked for than are under way: one destination that is away hides no other."""

CATALOG_SECONDS = 5.0
"""For the catalog to show what was heard; then it is asked all the same."""

LONGEST_PAUSE = 60.0
"""Seconds for which an errand sleeps at most, so that it sees when its time is over."""

CATALOG_AWAY = (CatalogError, SQLAlchemyError, OSError)

EXPECTED = (Unfinished, Refused, Unanswerable, TimeoutError, *CATALOG_AWAY)

Key = tuple[UUID, str]
"""A request, and the destination that is to be answered; empty where images are to be registered."""


class Answering:
    """Keeps and answers.

    Args:
        bus: the log.
        database: tells how far the catalog has come.
        processing: the processing catalog.
        following: says when there is something to do.
        keeping: registers images.
        means: ways to destinations.
        settings: delays, and when to give up.
        clock: the time.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        database: Database,
        processing: ProcessingReader,
        following: Following,
        keeping: Keeping,
        means: Mapping[Answer, Means],
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._database = database
        self._processing = processing
        self._following = following
        self._keeping = keeping
        self._means = means
        self._settings = settings
        self._clock = clock
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._errands: dict[Key, Errand] = {}
        self._peers: dict[tuple[str, Answer], Peer] = {}

    async def run(self) -> None:
        """Go on until cancelled; what is under way ends with it."""
        try:
            while True:
                try:
                    await self._look()
                except CatalogMissing:
                    pass  # a new installation
                except CATALOG_AWAY as error:
                    log.warning("the catalog can't be asked: %s", error)
                await self._wait()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _look(self) -> None:
        """Begin what is new."""
        # What is done is forgotten before the catalog is asked: it shows that by then.
        for key, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[key]
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("request %s for %s failed, and is begun again", *key, exc_info=error)
                else:
                    self._errands.pop(key, None)
        for job in await self._processing.unkept(AT_ONCE + len(self._tasks)):
            await self._begin((job.request_id, ""), job, self._keep)
        for job, destination in await self._processing.unanswered(AT_ONCE + len(self._tasks)):
            await self._begin((job.request_id, destination), job, self._answer)

    async def _begin(
        self, key: Key, job: Job, work: Callable[[Key, Job, RequestAuthorized], Awaitable[None]]
    ) -> None:
        if key in self._tasks:
            return
        grant = await self._processing.grant(job.request_id)
        if grant is None:
            log.error("request %s was completed without a grant", job.request_id)
            return
        self._tasks[key] = asyncio.ensure_future(work(key, job, grant))

    async def _wait(self) -> None:
        """Until something was heard, and the catalog shows it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._following.heard.wait(), self._settings.poll)
        for position in self._following.latest():
            with suppress(*CATALOG_AWAY):
                await self._database.reached(position, CATALOG_SECONDS)

    def _overdue(self, job: Job, tries: int) -> bool:
        """Whether it is too late to try again."""
        since = job.completed_at or job.requested_at
        return tries >= self._settings.least_tries and self._clock() >= since + timedelta(
            seconds=self._settings.give_up
        )

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.first_delay, self._settings.longest_delay)

    async def _keep(self, key: Key, job: Job, grant: RequestAuthorized) -> None:
        backoff, tries = self._backoff(), 0
        while True:
            try:
                position = await self._keeping.keep(job, grant, last=self._overdue(job, tries))
                break
            except Exception as error:
                tries += 1
                delay = backoff.delay()
                _tell(error, "images of %s can't be registered now, next in %.0f s", key[0], delay)
                await asyncio.sleep(delay)
        await self._database.reached(position, CATALOG_SECONDS)

    async def _answer(self, key: Key, job: Job, grant: RequestAuthorized) -> None:
        errand = self._errands.setdefault(key, Errand(job, key[1], grant))
        means = self._means[job.answer]
        peer = self._peers.setdefault((errand.destination, job.answer), Peer(self._backoff()))
        others = peer.tries
        reason = await self._try(errand, means, peer)
        if reason:
            await means.give_up(errand, reason)
        answered = ResultsAnswered(
            meta=grant.meta.caused(
                errand.kind("answered"), source=self._settings.source, occurred_at=self._clock()
            ),
            grant_id=grant.request_id,
            subscriber=grant.subscriber,
            destination=errand.destination,
            answer=job.answer,
            address=errand.address,
            delivered=errand.delivered,
            failed=errand.failed,
            attempts=errand.tries + peer.tries - others,
            reason=(reason or next(iter(errand.refused.values()), ""))[:LONGEST_REASON],
        )
        position = await self._bus.publish(answered)
        log.info(
            "%s answered for %s: %d delivered, %d failed %s",
            errand.destination,
            errand.request_id,
            errand.delivered,
            errand.failed,
            answered.reason,
        )
        await self._database.reached(position, CATALOG_SECONDS)

    async def _try(self, errand: Errand, means: Means, peer: Peer) -> str:
        """Try until it is done; the reason why it was given up, empty if it was not."""
        clock = asyncio.get_running_loop().time
        backoff, due, reason, others = self._backoff(), 0.0, "", peer.tries
        while True:
            if self._overdue(errand.job, errand.tries + peer.tries - others):
                return reason or peer.reason
            if (wait := max(due, peer.not_before) - clock()) > 0:
                await asyncio.sleep(min(wait, LONGEST_PAUSE))
                continue
            async with peer.turn:
                if peer.not_before > clock():
                    continue
                try:
                    await means.attempt(errand)
                except Away as error:
                    peer.away(str(error), clock())
                    reason = ""
                    log.info("%s is away: %s", errand.destination, error)
                    continue
                except Impossible as error:
                    errand.tries += 1
                    return str(error) or "impossible"
                except Exception as error:
                    # Whatever it is: it must neither end the others' errands nor be forgotten.
                    reason = str(error) or type(error).__name__
                    _tell(error, "%s was not answered for %s", errand.destination, errand.request_id)
                    due = clock() + backoff.delay()
                else:
                    reason = ""
                errand.tries += 1
                peer.there()
                if not reason:
                    return ""


def _tell(error: Exception, message: str, *arguments: object) -> None:
    """Log what was to be expected in a line, and the rest with where it came from."""
    if isinstance(error, EXPECTED):
        log.info(f"{message}: %s", *arguments, error)
    else:
        log.error(message, *arguments, exc_info=error)
