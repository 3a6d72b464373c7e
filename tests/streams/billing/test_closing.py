"""Closing periods and issuing invoices, and the audit of both, on a real log with real workers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4, uuid5

import msgspec
import pytest
from tests.streams.billing.ledger import Ledger, price
from tests.streams.processes import everything

from medbus.bus import Bus
from medbus.projections.accounts import AccountReader
from medbus.projections.database import Database
from medbus.projections.projector import Projector
from medbus.schemas import period
from medbus.schemas.events import (
    Event,
    FeeCharged,
    FeeKind,
    ImageDelivered,
    InvoiceIssued,
    Money,
    PeriodClosed,
    Role,
    Terms,
)
from medbus.schemas.period import Period
from medbus.schemas.topics import DELIVERIES, FEES
from medbus.streams.billing import service
from medbus.streams.billing.closing import CannotClose, NotOver, PeriodService
from medbus.streams.billing.rebilling import What, rebill
from medbus.streams.contracts.commands import Contract
from medbus.streams.contracts.service import ContractService
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.service import TariffService

GB = 10**9
PRICES = (
    price(FeeKind.SUBSCRIPTION, "100"),
    price(FeeKind.MANAGEMENT, "20"),
    price(FeeKind.REGISTRATION_ALLOCATED, "0.5", GB),
    price(FeeKind.DELIVERY, "0.05"),
)


class Site:
    """A log, its catalogs, a billing worker, a price list and a subscriber."""

    def __init__(self, bus: Bus, database: Database) -> None:
        self.bus = bus
        self.periods = PeriodService(bus, database)
        self.accounts = AccountReader(database)

    async def carry_out(self) -> None:
        """Make the price list and a contract of 10 GB."""
        now = datetime.now(UTC)
        await TariffService(self.bus).handle(
            SetTariff(
                command_id=uuid4(), at=now, source="test", tariff="standard", currency="EUR", prices=PRICES
            )
        )
        await asyncio.sleep(0.01)
        await self.contract("A")

    async def contract(self, subscriber: str) -> None:
        terms = Terms(
            name=f"Hospital {subscriber}",
            roles=(Role.IMAGE_RECEIVING,),
            tariff="standard",
            capacity_bytes=10 * GB,
        )
        await ContractService(self.bus).handle(
            Contract(
                command_id=uuid4(), at=datetime.now(UTC), source="test", subscriber=subscriber, terms=terms
            )
        )
        # Whatever has the same millisecond is before the contract is in force.
        await asyncio.sleep(0.01)

    async def deliver(self, count: int, subscriber: str = "A") -> None:
        ledger = Ledger()
        for _ in range(count):
            ledger.delivered(0, subscriber)
        await self.bus.publish_all([fresh(record.event) for record in ledger.records])  # type: ignore[arg-type]

    async def fees(self) -> list[FeeCharged]:
        found = [record.event for record in await everything(self.bus, FEES)]
        return [each for each in found if isinstance(each, FeeCharged)]


def fresh(event: Event) -> Event:
    meta = msgspec.structs.replace(event.meta, event_id=uuid4(), correlation_id=uuid4())
    return msgspec.structs.replace(event, meta=meta)


def now_as_a_period() -> Period:
    """The time from ten minutes ago until now, as if that were a period of the calendar."""
    now = datetime.now(UTC)
    return Period(name=f"{now:%Y-%m-%dT%H:%M}", start=now - timedelta(minutes=10), end=now)


def much_later(whole: Period) -> datetime:
    return whole.end + timedelta(days=1)


@asynccontextmanager
async def running(bus: Bus, folder: Path, *, worker: bool = True) -> AsyncIterator[Site]:
    url = f"sqlite+aiosqlite:///{folder / 'catalog.sqlite'}"
    stop = asyncio.Event()
    async with Database(url, writer=True) as written, Database(url) as database, asyncio.TaskGroup() as tasks:
        projector = Projector(bus, written)
        await projector.catch_up()
        tasks.create_task(projector.run(stop))
        if worker:
            tasks.create_task(
                service.run(service.Settings(bootstrap=bus.bootstrap, prefix=bus.prefix), stop=stop)
            )
        try:
            yield Site(bus, database)
        finally:
            stop.set()


async def test_from_deliveries_to_an_invoice_that_the_audit_agrees_with(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        await site.deliver(7)
        whole = now_as_a_period()
        (closed,) = await site.periods.close(whole, at=much_later(whole))
        assert (closed.subscriber, closed.start, closed.end) == ("A", whole.start, whole.end)
        (invoice,) = await site.periods.issue()
        assert invoice.number == f"A-{whole.name}"
        assert invoice.name == "Hospital A"
        charged = {line.kind: (line.count, line.amount.minor_units) for line in invoice.lines}
        # Of 10 GB for a moment, no byte-day is charged.
        allocated = charged.pop(FeeKind.REGISTRATION_ALLOCATED)
        assert allocated[0] == 1
        assert charged == {
            FeeKind.SUBSCRIPTION: (1, 10_000),
            FeeKind.MANAGEMENT: (1, 2_000),
            FeeKind.DELIVERY: (7, 35),
        }
        assert invoice.total == Money(minor_units=12_035 + allocated[1], currency="EUR")
        balance = await site.accounts.balance("A", "EUR")
        assert balance.charged == balance.invoiced == invoice.total.minor_units
        report = await rebill(bus, folder(tmp_path))
        assert (report.fees, report.invoices, report.waiting, report.clean) == (10, 1, 0, True)


async def test_closing_and_issuing_again_changes_nothing(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        whole = now_as_a_period()
        assert len(await site.periods.close(whole, at=much_later(whole))) == 1
        assert len(await site.periods.issue()) == 1
        assert await site.periods.close(whole, at=much_later(whole)) == []
        assert await site.periods.issue() == []
        kinds = [type(record.event) for record in await everything(bus, FEES)]
        assert kinds.count(PeriodClosed) == kinds.count(InvoiceIssued) == 1


async def test_what_was_interrupted_is_completed_once(bus: Bus, tmp_path: Path) -> None:
    """Killed between the fees of the period and the invoice: its fees come again, with their ids."""
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        whole = now_as_a_period()
        await site.periods.close(whole, at=much_later(whole))
        other = PeriodService(bus, site.accounts._database)
        await asyncio.gather(site.periods.issue(), other.issue())
        fees = await site.fees()
        assert len({fee.meta.event_id for fee in fees}) == 3
        balance = await site.accounts.balance("A", "EUR")
        (stored,) = await site.accounts.invoices()
        assert balance.charged == balance.invoiced == stored.invoice.total.minor_units


async def test_what_is_delivered_after_the_end_is_in_the_next_invoice(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        await site.deliver(2)
        first = now_as_a_period()
        await asyncio.sleep(0.01)
        await site.deliver(3)
        await site.periods.close(first, at=much_later(first))
        (invoice,) = await site.periods.issue()
        assert {line.kind: line.count for line in invoice.lines}[FeeKind.DELIVERY] == 2
        second = Period(name="second", start=first.end, end=datetime.now(UTC))
        await asyncio.sleep(0.01)
        named = msgspec.structs.replace(second, name="2026-01-01T00:01")
        await site.periods.close(named, at=much_later(named))
        (next_,) = await site.periods.issue()
        assert {line.kind: line.count for line in next_.lines}[FeeKind.DELIVERY] == 3
        assert FeeKind.SUBSCRIPTION not in {line.kind for line in next_.lines}


async def test_a_period_that_is_not_over_is_not_closed(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path, worker=False) as site:
        whole = period.named("2026-10")
        with pytest.raises(NotOver, match="ends at 2026-11-01 00:00 UTC") as caught:
            await site.periods.close(whole, at=whole.end)
        assert caught.value.advice == "Close it after 2026-11-01 00:00:02 UTC."


async def test_nothing_is_closed_while_billing_is_behind(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path, worker=False) as site:
        await site.carry_out()
        await site.deliver(4)
        whole = now_as_a_period()
        with pytest.raises(CannotClose, match="Billing is behind: 5 events are not charged yet"):
            await site.periods.close(whole, at=much_later(whole), deadline=1)
        assert await everything(bus, FEES) == []


async def test_periods_that_were_left_open_are_closed_first(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        today = period.containing(datetime.now(UTC), "hour")
        later = period.containing(today.end + timedelta(hours=1), "hour")
        closed = await site.periods.close(later, at=much_later(later))
        assert [each.period for each in closed] == [
            today.name,
            period.containing(today.end, "hour").name,
            later.name,
        ]
        assert len(await site.periods.issue()) == 3


async def test_periods_do_not_overlap(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        hour = period.containing(datetime.now(UTC), "hour")
        await site.periods.close(hour, at=much_later(hour))
        day = period.containing(hour.start, "day")
        later = day if day.end > hour.end else period.containing(hour.start, "month")
        with pytest.raises(CannotClose, match=r"begins before the end of .*, which is closed for A"):
            await site.periods.close(later, at=much_later(later), subscribers=["A"])
        assert await site.periods.close(later, at=much_later(later)) == []
        with pytest.raises(CannotClose, match="There is no subscriber 'nobody'"):
            await site.periods.close(hour, at=much_later(hour), subscribers=["nobody"])


async def test_the_scheduler_closes_what_is_over(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        await site.contract("B")
        now, stop = datetime.now(UTC), asyncio.Event()
        next_month = period.containing(now, "month").end + timedelta(minutes=1)
        scheduler = asyncio.create_task(site.periods.run("month", stop=stop, clock=lambda: next_month))
        await until(lambda: count_invoices(site), 2)
        stop.set()
        await asyncio.wait_for(scheduler, 5)
        found = await site.accounts.invoices()
        assert {each.invoice.number for each in found} == {f"A-{now:%Y-%m}", f"B-{now:%Y-%m}"}


async def test_the_audit_finds_what_was_tampered_with(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path) as site:
        await site.carry_out()
        await site.deliver(3)
        whole = now_as_a_period()
        await site.periods.close(whole, at=much_later(whole))
    async with running(bus, folder(tmp_path), worker=False) as site:
        fees = await site.fees()
        invented = fresh(fees[-1])
        assert isinstance(invented, FeeCharged)
        await bus.publish(invented)
        report = await rebill(bus, folder(tmp_path))
        (difference,) = report.differences
        assert (difference.what, difference.found) == (What.SURPLUS, invented)
        assert (report.fees, report.different, report.clean) == (4, 1, False)
        assert (await rebill(bus, folder(tmp_path), subscriber="B")).clean
        assert (await rebill(bus, folder(tmp_path), period=period.named("2020-01"))).clean


async def test_the_audit_finds_a_fee_that_is_not_what_the_prices_say(bus: Bus, tmp_path: Path) -> None:
    """Somebody wrote a fee before billing did: it was first, so it counts, and it is found."""
    async with running(bus, tmp_path, worker=False) as site:
        await site.carry_out()
        await site.deliver(1)
    ledger = Ledger()
    ledger.tariff(0, price(FeeKind.DELIVERY, "9"))
    ledger.contract(1)
    ledger.delivered(2)
    (wrong,) = ledger.charged()
    (delivered,) = [record.event for record in await everything(bus, DELIVERIES)]
    assert isinstance(delivered, ImageDelivered)
    meta = msgspec.structs.replace(wrong.meta, event_id=uuid5(delivered.meta.event_id, "DELIVERY"))
    await bus.publish(msgspec.structs.replace(wrong, meta=meta))
    async with running(bus, folder(tmp_path)) as site:
        await until(lambda: count_fees(site), 3)
    report = await rebill(bus, folder(tmp_path))
    (difference,) = report.differences
    assert difference.what is What.DIFFERENT
    assert difference.expected is not None
    assert difference.found is not None
    assert (difference.expected.amount.minor_units, difference.found.amount.minor_units) == (5, 900)


async def test_what_billing_has_not_come_to_is_not_missing(bus: Bus, tmp_path: Path) -> None:
    async with running(bus, tmp_path, worker=False) as site:
        await site.carry_out()
        await site.deliver(3)
        report = await rebill(bus, folder(tmp_path))
        assert (report.fees, report.waiting, report.clean) == (0, 4, True)


async def count_fees(site: Site) -> int:
    return len(await site.fees())


async def count_invoices(site: Site) -> int:
    return len(await site.accounts.invoices())


async def until(count: Callable[[], Awaitable[int]], wanted: int, seconds: float = 30) -> None:
    """Wait until there are so many."""
    deadline = asyncio.get_running_loop().time() + seconds
    found = await count()
    while found < wanted:
        assert asyncio.get_running_loop().time() < deadline, f"{found} of {wanted} after {seconds} s"
        await asyncio.sleep(0.05)
        found = await count()


def folder(parent: Path) -> Path:
    made = parent / uuid4().hex
    made.mkdir()
    return made
