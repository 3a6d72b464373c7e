"""Closes periods and issues invoices.

A period is closed for a subscriber when everything that was on the log before its end has been charged. Then
its periodic fees are charged, and the invoice is issued. Each step has an id of its own that derives from the
one before: whoever is interrupted begins again, and nothing happens twice.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from medbus.bus import Bus, Partition, Position
from medbus.projections.accounts import AccountReader, ClosedPeriod
from medbus.projections.database import Database
from medbus.projections.images import ImageReader
from medbus.schemas import period as periods
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Event, FeeCharged, InvoiceIssued, PeriodClosed
from medbus.schemas.period import Period
from medbus.schemas.topics import IMAGES
from medbus.streams import offsets
from medbus.streams.billing import invoicing, periodic
from medbus.streams.billing.book import Book
from medbus.streams.billing.charging import BILLABLE
from medbus.streams.billing.fee import NAME
from medbus.streams.billing.history import History

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=2)
"""How long after its end a period can be closed: brokers' clocks differ."""

MOST_PERIODS = 1000
"""That are closed for one subscriber at once."""

TOGETHER = 100
"""Invoices that are issued together."""

SCHEDULE_SECONDS = 1.0
"""How often the scheduler looks."""


class NotOver(MedbusError):
    """A period has not ended."""


class CannotClose(MedbusError):
    """A period can't be closed now."""


class PeriodService:
    """Closes periods and issues invoices.

    Args:
        bus: an open bus.
        database: the catalogs.
    """

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database
        self._accounts = AccountReader(database)
        self._images = ImageReader(database)
        self._history = History(bus)

    async def close(
        self,
        period: Period,
        *,
        at: datetime,
        subscribers: Sequence[str] | None = None,
        deadline: float = 60.0,
    ) -> list[PeriodClosed]:
        """Close a period, and those before it that were left open; what is closed already stays as it is.

        Args:
            period: which.
            at: the time now.
            subscribers: whose; all that had a contract with a price list in it by default.
            deadline: seconds to wait until everything has been charged.

        Returns:
            What was closed now, by subscriber and time.

        Raises:
            NotOver: it has not ended.
            CannotClose: it begins within what is closed already, or the billing workers or the catalogs don't
                catch up in time. Nothing was closed.
        """
        if at < period.end + GRACE:
            raise NotOver(
                f"The period {period.name} is not over: it ends at {period.end:%Y-%m-%d %H:%M} UTC.",
                f"Close it after {period.end + GRACE:%Y-%m-%d %H:%M:%S} UTC.",
            )
        until = time.monotonic() + deadline
        ends = await self._bus.end_offsets(*BILLABLE)
        book = await self._history.refresh()
        chosen = sorted(book.subscribers) if subscribers is None else list(dict.fromkeys(subscribers))
        for name in chosen:
            if name not in book.subscribers:
                raise CannotClose(f"There is no subscriber {name!r}.", "See `medbus subscriber list`.")
        events = [
            periodic.closed(name, each, at)
            for name in chosen
            for each in await self._open(book, name, period, strict=subscribers is not None)
        ]
        if events:
            await self._charged(ends, until)
            await self._publish(events, until)
        return events

    async def issue(self, deadline: float = 60.0) -> list[InvoiceIssued]:
        """Issue the invoices of all closed periods that have none.

        Returns:
            What was issued.

        Raises:
            CannotClose: the catalogs don't catch up in time.
        """
        pending = await self._accounts.pending()
        if not pending:
            return []
        until = time.monotonic() + deadline
        # What the catalog does not know of the images of the period would be missing in its fees.
        for partition, end in (await self._bus.end_offsets(IMAGES)).items():
            if end:
                await self._visible(Position(partition, end - 1), until)
        issued: list[InvoiceIssued] = []
        for begin in range(0, len(pending), TOGETHER):
            issued += await self._issue(pending[begin : begin + TOGETHER], deadline)
        return issued

    async def run(self, unit: str, *, stop: asyncio.Event, clock: Callable[[], datetime]) -> None:
        """Close each period when it is over, until told to stop: the scheduler.

        Args:
            unit: how long periods are: one of `period.UNITS`.
            stop: ends it.
            clock: tells the time.
        """
        done: str | None = None
        while not stop.is_set():
            now = clock()
            due = periods.before(periods.containing(now - GRACE, unit))
            try:
                if due.name != done:
                    await self.close(due, at=now)
                    done = due.name
                for invoice in await self.issue():
                    log.info("issued invoice %s", invoice.number)
            except MedbusError as error:
                log.warning("periods are looked at again: %s", error)
            try:
                async with asyncio.timeout(SCHEDULE_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _open(self, book: Book, subscriber: str, period: Period, *, strict: bool) -> list[Period]:
        """The periods of a subscriber that end with this one and are not closed."""
        last = await self._accounts.last_closed(subscriber)
        if last is not None and last.end >= period.end:
            if last.end == period.end or not strict or last.start == period.start:
                return []
            raise CannotClose(
                f"For {subscriber} everything up to {last.end:%Y-%m-%d %H:%M} UTC is closed.",
                "Name a later period, or none.",
            )
        if last is not None and last.end > period.start:
            if not strict:
                log.warning(
                    "%s of %s begins within %s, which is closed", period.name, subscriber, last.period
                )
                return []
            raise CannotClose(
                f"{period.name} begins before the end of {last.period}, which is closed for {subscriber}.",
                f"First close shorter periods, up to {period.end:%Y-%m-%d %H:%M} UTC.",
            )
        first = book.first(subscriber) if last is None else last.end
        found: list[Period] = []
        each = period
        while first is not None and each.end > first and len(found) < MOST_PERIODS:
            if last is not None and each.start < last.end:
                break
            if any(segment.prices is not None for segment in book.segments(subscriber, each.start, each.end)):
                found.append(each)
            each = periods.before(each)
        return found[::-1]

    async def _charged(self, ends: Mapping[Partition, int], until: float) -> None:
        """Wait until the billing workers have charged everything before these offsets."""
        while True:
            done = await offsets.patiently_committed(self._bus, NAME, BILLABLE)
            behind = {partition: end for partition, end in ends.items() if done.get(partition, 0) < end}
            if not behind:
                return
            if time.monotonic() > until:
                raise CannotClose(
                    f"Billing is behind: {sum(end - done.get(p, 0) for p, end in behind.items())} events are "
                    "not charged yet.",
                    "Do the billing workers run? See `medbus status`. Then close the period again.",
                )
            await asyncio.sleep(0.2)

    async def _visible(self, position: Position, until: float) -> None:
        if not await self._database.reached(position, timeout=max(0.0, until - time.monotonic())):
            raise CannotClose(
                f"The catalogs do not show {position} yet.", "Does the projector run? See `medbus status`."
            )

    async def _publish(self, events: Sequence[Event], until: float) -> None:
        """Publish events, and wait until the catalogs show them."""
        for position in await self._bus.publish_all(events):
            await self._visible(position, until)

    async def _issue(self, pending: Sequence[ClosedPeriod], deadline: float) -> list[InvoiceIssued]:
        until = time.monotonic() + deadline
        book = await self._history.refresh()
        billed: list[tuple[ClosedPeriod, str, str]] = []
        fees: list[FeeCharged] = []
        for closed in pending:
            segments = book.segments(closed.subscriber, closed.start, closed.end)
            prices = next((each.prices for each in reversed(segments) if each.prices is not None), None)
            if prices is None:
                continue
            billed.append((closed, segments[-1].terms.name, prices.event.currency))
            byte_seconds = await periodic.byte_seconds(self._images, closed.subscriber, segments)
            fees += periodic.fees(closed, segments, byte_seconds)
        await self._publish(fees, until)
        issued = [
            invoice
            for closed, name, currency in billed
            for invoice in invoicing.invoices(
                closed, name=name, currency=currency, lines=await self._accounts.lines(closed)
            )
        ]
        await self._publish(issued, until)
        return issued
