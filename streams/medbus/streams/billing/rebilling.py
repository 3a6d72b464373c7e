"""Audit: every fee and every invoice is computed again from the log and compared with what the log has.

The same pure functions compute them, over catalogs that are built for this from the log alone, in a scratch
folder: what is compared never passes through the catalogs in use.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Set
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import aiosqlite
import msgspec

from medbus.bus import Bus, Partition, Record
from medbus.projections.accounts import AccountProjection, AccountReader, ClosedPeriod
from medbus.projections.database import Database
from medbus.projections.images import ImageProjection, ImageReader
from medbus.projections.projector import Projector
from medbus.schemas.events import FeeCharged, FeeKind, InvoiceIssued, Origin, Value
from medbus.schemas.period import Period
from medbus.schemas.topics import FEES
from medbus.streams import offsets
from medbus.streams.billing import invoicing, periodic
from medbus.streams.billing.book import Book
from medbus.streams.billing.charging import BILLABLE, fees
from medbus.streams.billing.fee import NAME
from medbus.streams.billing.history import History

Progress = Callable[[str, int], None]
"""Told what is being done, and how many records were read for it so far."""

MOST_DIFFERENCES = 1000
"""That are told one by one."""

_DDL = "CREATE TABLE {} (fee_id TEXT PRIMARY KEY, fee BLOB NOT NULL) WITHOUT ROWID"
_ENTER = "INSERT OR IGNORE INTO {} VALUES (?, ?)"
_DIFFERENCES = """
SELECT expected.fee, found.fee FROM expected LEFT JOIN found USING (fee_id)
WHERE found.fee IS NULL OR found.fee <> expected.fee
UNION ALL
SELECT NULL, found.fee FROM found WHERE fee_id NOT IN (SELECT fee_id FROM expected)
"""

_decoder = msgspec.json.Decoder(FeeCharged)


class What(StrEnum):
    """How something differs."""

    MISSING = "missing"
    SURPLUS = "surplus"
    DIFFERENT = "different"


class Difference(Value):
    """A fee that is not as it should be.

    Attributes:
        expected: as it is computed from the log; None if there should be none.
        found: as the log has it; None if it has none.
    """

    what: What
    expected: FeeCharged | None
    found: FeeCharged | None

    @property
    def fee(self) -> FeeCharged:
        """Whichever there is, the expected one first."""
        fee = self.expected or self.found
        assert fee is not None  # noqa: S101
        return fee

    @property
    def fee_id(self) -> str:
        return str(self.fee.meta.event_id)

    @property
    def subscriber(self) -> str:
        return self.fee.subscriber

    @property
    def kind(self) -> FeeKind:
        return self.fee.kind

    @property
    def cause(self) -> Origin:
        return self.fee.cause


class InvoiceDifference(Value):
    """An invoice that is not as it should be."""

    number: str
    expected: InvoiceIssued | None
    found: InvoiceIssued | None


class Report(Value):
    """What an audit came to.

    Attributes:
        fees: how many fees there should be.
        waiting: how many more will follow from events that billing has not come to yet.
        invoices: how many invoices were compared.
        different: how many fees and invoices are not as they should be.
        differences: those fees, MOST_DIFFERENCES of them at most.
        invoice_differences: those invoices.
    """

    fees: int
    waiting: int
    invoices: int
    different: int
    differences: tuple[Difference, ...] = ()
    invoice_differences: tuple[InvoiceDifference, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether all is as it should be."""
        return self.different == 0


def say_nothing(_: str, __: int) -> None:
    """No progress is shown."""


async def rebill(
    bus: Bus,
    scratch: Path,
    *,
    subscriber: str | None = None,
    period: Period | None = None,
    progress: Progress = say_nothing,
) -> Report:
    """Compute every fee and every invoice again and compare.

    Args:
        bus: an open bus.
        scratch: an empty folder; what is left in it can be deleted.
        subscriber: only compare this one's.
        period: only compare what was charged in it or for it.
        progress: told how far it has come.

    Raises:
        UndecodableRecord: the log holds contracts or prices that this version does not understand.
    """
    done = await offsets.committed(bus, NAME, BILLABLE)
    book = await History(bus).refresh()
    async with (
        aiosqlite.connect(scratch / "fees.sqlite") as ledger,
        Database(f"sqlite+aiosqlite:///{scratch / 'catalog.sqlite'}", writer=True) as database,
    ):
        for table in ("expected", "found"):
            await ledger.execute(_DDL.format(table))
        progress("catalogs", 0)
        await Projector(bus, database, (AccountProjection(), ImageProjection())).catch_up()
        wanted = _Wanted(subscriber, period)
        await _enter(ledger, "found", _charged(bus, progress), wanted)
        await _enter(ledger, "expected", _computed(bus, book, progress), wanted)
        await _enter(ledger, "expected", _periodic(database, book), wanted)
        await ledger.commit()
        due = _Due(done, {each.event_id for each in await AccountReader(database).pending()})
        waiting, different, differences = 0, 0, list[Difference]()
        async with ledger.execute(_DIFFERENCES) as rows:
            async for row in rows:
                each = _difference(*row)
                if each.what is What.MISSING and not due.billed(each.fee):
                    waiting += 1
                    continue
                different += 1
                if different <= MOST_DIFFERENCES:
                    differences.append(each)
        fees_compared = await _count(ledger) - waiting
        invoices, wrong = await _invoices(database, wanted)
    return Report(
        fees=fees_compared,
        waiting=waiting,
        invoices=invoices,
        different=different + len(wrong),
        differences=tuple(differences),
        invoice_differences=tuple(wrong),
    )


class _Due:
    """What billing has come to: what follows from later events is still to be charged, and not missing."""

    def __init__(self, committed: Mapping[Partition, int], pending: Set[UUID]) -> None:
        self._committed = committed
        self._pending = pending

    def billed(self, fee: FeeCharged) -> bool:
        cause = fee.cause
        if cause.topic == FEES.name:
            return fee.meta.cause_id not in self._pending
        return cause.offset < self._committed.get(Partition(cause.topic, cause.partition), 0)


class _Wanted:
    """Which fees are compared."""

    def __init__(self, subscriber: str | None, period: Period | None) -> None:
        self._subscriber = subscriber
        self._period = period

    def holds(self, subscriber: str, at: datetime) -> bool:
        if self._subscriber is not None and subscriber != self._subscriber:
            return False
        return self._period is None or self._period.start <= at < self._period.end


async def _enter(
    ledger: aiosqlite.Connection, table: str, batches: AsyncIterator[list[FeeCharged]], wanted: _Wanted
) -> None:
    """Enter fees; the first of an id counts."""
    statement = _ENTER.format(table)
    async for batch in batches:
        await ledger.executemany(
            statement,
            [
                (str(fee.meta.event_id), msgspec.json.encode(fee))
                for fee in batch
                if wanted.holds(fee.subscriber, fee.meta.occurred_at)
            ],
        )


async def _charged(bus: Bus, progress: Progress) -> AsyncIterator[list[FeeCharged]]:
    read = 0
    async for batch in bus.replay(FEES):
        read += len(batch)
        progress("fees on the log", read)
        yield [record.event for record in batch if isinstance(record.event, FeeCharged)]


async def _computed(bus: Bus, book: Book, progress: Progress) -> AsyncIterator[list[FeeCharged]]:
    read = 0
    async for batch in bus.replay(*BILLABLE):
        read += len(batch)
        progress("billable events", read)
        yield _all_fees(book, batch)


def _all_fees(book: Book, batch: list[Record]) -> list[FeeCharged]:
    return [fee for record in batch for fee in fees(book, record)]


async def _periodic(database: Database, book: Book) -> AsyncIterator[list[FeeCharged]]:
    images = ImageReader(database)
    for closed in await AccountReader(database).closed():
        segments = book.segments(closed.subscriber, closed.start, closed.end)
        byte_seconds = await periodic.byte_seconds(images, closed.subscriber, segments)
        yield list(periodic.fees(closed, segments, byte_seconds))


async def _count(ledger: aiosqlite.Connection) -> int:
    cursor = await ledger.execute("SELECT count(*) FROM expected")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _difference(expected: bytes | None, found: bytes | None) -> Difference:
    what = What.DIFFERENT
    if expected is None or found is None:
        what = What.SURPLUS if expected is None else What.MISSING
    return Difference(
        what=what,
        expected=None if expected is None else _decoder.decode(expected),
        found=None if found is None else _decoder.decode(found),
    )


async def _invoices(database: Database, wanted: _Wanted) -> tuple[int, list[InvoiceDifference]]:
    """Compare invoices with the fees that are on the log."""
    accounts = AccountReader(database)
    compared, wrong = 0, list[InvoiceDifference]()
    for stored in await accounts.invoices(limit=None):
        found = stored.invoice
        if not wanted.holds(found.subscriber, found.start):
            continue
        compared += 1
        closed = await accounts.closing(stored)
        expected = None if closed is None else await _invoice(accounts, closed, found)
        if expected is None or (expected.lines, expected.total) != (found.lines, found.total):
            wrong.append(InvoiceDifference(number=found.number, expected=expected, found=found))
    return compared, wrong


async def _invoice(
    accounts: AccountReader, closed: ClosedPeriod, found: InvoiceIssued
) -> InvoiceIssued | None:
    again = invoicing.invoices(
        closed, name=found.name, currency=found.total.currency, lines=await accounts.lines(closed)
    )
    return next((each for each in again if each.total.currency == found.total.currency), None)
