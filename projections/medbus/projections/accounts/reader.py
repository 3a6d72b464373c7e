"""Looks up accounts."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, exists, func, select

from medbus.projections.accounts import tables
from medbus.projections.accounts.account import (
    Account,
    Balance,
    ClosedPeriod,
    StoredFee,
    StoredInvoice,
    StoredPayment,
)
from medbus.projections.accounts.billed import billed
from medbus.projections.accounts.digest import FeesDigest
from medbus.projections.accounts.stored import (
    FEE_COLUMNS,
    RATE_COLUMNS,
    Rate,
    closed_period,
    stored_fee,
    stored_invoice,
    stored_payment,
)
from medbus.projections.database import Database
from medbus.projections.instants import instant, microseconds
from medbus.schemas.events import FeeKind, InvoiceLine, Money, TariffSet

T = TypeVar("T")

_F, _R = tables.fees.c, tables.rates.c
_B, _P, _T = tables.balances.c, tables.payments.c, tables.tariffs.c
_C, _I = tables.closings.c, tables.invoices.c

_BALANCES = (
    select(_B.currency, _B.charged, _B.paid, _B.invoiced)
    .where(_B.subscriber == bindparam("subscriber"))
    .order_by(_B.currency)
)
_BALANCE = _BALANCES.where(_B.currency == bindparam("currency"))
_PAID_AT = select(func.max(_P.recorded_at)).where(_P.subscriber == bindparam("subscriber"), _P.amount > 0)
_CURRENCY = select(_T.currency).where(_T.tariff == bindparam("tariff")).order_by(_T.version.desc())
_FEES = select(*FEE_COLUMNS, *RATE_COLUMNS).join_from(tables.fees, tables.rates, _F.rate == _R.rate)

_tariff_decoder = msgspec.json.Decoder(TariffSet)


class AccountReader:
    """Accounts as the catalog has them.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(self, subscriber: str) -> Account:
        """The account of a subscriber, whatever is known of it."""

        def work(connection: Connection) -> Account:
            parameters = {"subscriber": subscriber}
            paid_at = connection.scalar(_PAID_AT, parameters)
            return Account(
                subscriber=subscriber,
                balances=tuple(_balance(row) for row in connection.execute(_BALANCES, parameters)),
                paid_at=None if paid_at is None else instant(paid_at),
            )

        return await self._database.read(work)

    async def balance(self, subscriber: str, currency: str) -> Balance:
        """The balance of a subscriber in a currency."""
        row = await self._database.look(_BALANCE, {"subscriber": subscriber, "currency": currency})
        return Balance(currency=currency) if row is None else _balance(row)

    async def currency(self, tariff: str) -> str | None:
        """The currency of the newest version of a price list; None if there is none."""
        row = await self._database.look(_CURRENCY, {"tariff": tariff})
        return None if row is None else str(row[0])

    async def tariffs(self, tariff: str | None = None) -> list[TariffSet]:
        """All versions of all price lists, or of one, by name and version."""
        statement = select(_T.document).order_by(_T.tariff, _T.version)
        if tariff is not None:
            statement = statement.where(_T.tariff == tariff)
        return await self._all(statement, lambda row: _tariff_decoder.decode(row.document))

    async def fees(
        self,
        subscriber: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kind: FeeKind | None = None,
        limit: int | None = 1000,
    ) -> list[StoredFee]:
        """Fees, those charged last first.

        Args:
            subscriber: only of this one.
            since: only what was charged then or later.
            until: only what was charged before.
            kind: only of this kind.
            limit: at most so many; None for all.
        """
        wanted: list[ColumnElement[bool]] = []
        if subscriber is not None:
            wanted.append(_F.subscriber == subscriber)
        if since is not None:
            wanted.append(_F.charged_at >= microseconds(since))
        if until is not None:
            wanted.append(_F.charged_at < microseconds(until))
        if kind is not None:
            wanted.append(_R.kind == kind.value)
        newest = _F.charged_at.desc(), _F.log_offset.desc(), _F.log_partition.desc()
        statement = _FEES.where(*wanted).order_by(*newest).limit(limit)
        fields = len(FEE_COLUMNS)
        return await self._all(statement, lambda row: stored_fee(Rate(*row[fields:]), row))

    async def closed(self, subscriber: str | None = None, *, limit: int | None = None) -> list[ClosedPeriod]:
        """Closed periods, those closed last first."""
        statement = _newest(tables.closings, _C.recorded_at, subscriber).limit(limit)
        return await self._all(statement, closed_period)

    async def last_closed(self, subscriber: str) -> ClosedPeriod | None:
        """The period of a subscriber that was closed last."""
        found = await self.closed(subscriber, limit=1)
        return found[0] if found else None

    async def pending(self) -> list[ClosedPeriod]:
        """Closed periods for which no invoice was issued yet, those closed first first."""
        statement = (
            select(tables.closings)
            .where(~exists().where(_I.cause_id == _C.event_id))
            .order_by(_C.recorded_at, _C.log_offset, _C.log_partition)
        )
        return await self._all(statement, closed_period)

    async def lines(self, closed: ClosedPeriod) -> list[InvoiceLine]:
        """The fees of a closed period as lines of invoices, by currency, kind, item, tariff and version.

        Fees that the closing itself caused are in as far as the catalog has them.
        """
        lines: list[_Line] = []
        async with aclosing(billed(self._database, closed)) as pieces:
            async for rate, found in pieces:
                if not lines or lines[-1].rate is not rate:
                    lines.append(_Line(rate))
                lines[-1].add(found)
        return [line.shown() for line in lines if line.count]

    async def fees_of(self, closed: ClosedPeriod, currency: str) -> AsyncIterator[StoredFee]:
        """The fees of a closed period in a currency, in the order of its lines, and by their places in the
        log.

        They are read in pieces, so there may be many.
        """
        async with aclosing(billed(self._database, closed, currency)) as pieces:
            async for rate, found in pieces:
                for row in found:
                    yield stored_fee(rate, row)

    async def invoices(
        self, subscriber: str | None = None, *, period: str | None = None, limit: int | None = 1000
    ) -> list[StoredInvoice]:
        """Invoices, those issued last first.

        Args:
            subscriber: only of this one.
            period: only for this period, by its name.
            limit: at most so many; None for all.
        """
        statement = _newest(tables.invoices, _I.recorded_at, subscriber).limit(limit)
        if period is not None:
            statement = statement.where(_I.period == period)
        return await self._all(statement, stored_invoice)

    async def invoice(self, number: str) -> StoredInvoice | None:
        """The invoice with a number; of several the one that was issued first."""
        oldest = _I.recorded_at, _I.log_offset, _I.log_partition
        statement = select(tables.invoices).where(_I.number == number).order_by(*oldest).limit(1)
        return await self._one(statement, stored_invoice)

    async def closing(self, invoice: StoredInvoice) -> ClosedPeriod | None:
        """The closed period that an invoice is for."""
        statement = select(tables.closings).where(_C.event_id == str(invoice.invoice.meta.cause_id))
        return await self._one(statement, closed_period)

    async def payments(
        self, subscriber: str | None = None, *, limit: int | None = 1000
    ) -> list[StoredPayment]:
        """Payments, those made last first.

        Args:
            subscriber: only of this one.
            limit: at most so many; None for all.
        """
        return await self._all(_newest(tables.payments, _P.paid_at, subscriber).limit(limit), stored_payment)

    async def payment(self, payment_id: UUID) -> StoredPayment | None:
        """The payment with an id."""
        return await self._one(select(tables.payments).where(_P.event_id == str(payment_id)), stored_payment)

    async def _one(self, statement: Select[Any], made: Callable[[Row[Any]], T]) -> T | None:
        found = await self._all(statement, made)
        return found[0] if found else None

    async def _all(self, statement: Select[Any], made: Callable[[Row[Any]], T]) -> list[T]:
        return await self._database.read(
            lambda connection: [made(row) for row in connection.execute(statement)]
        )


class _Line:
    """A line of an invoice while its fees are added up."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.count = 0
        self._quantity = 0
        self._amount = 0
        self._digest = FeesDigest()

    def add(self, fees: Sequence[Row[Any]]) -> None:
        self.count += len(fees)
        self._quantity += sum(fee.quantity for fee in fees)
        self._amount += sum(fee.amount for fee in fees)
        self._digest.add(UUID(fee.event_id).bytes for fee in fees)

    def shown(self) -> InvoiceLine:
        rate = self.rate
        return InvoiceLine(
            kind=FeeKind(rate.kind),
            item=rate.item,
            count=self.count,
            quantity=self._quantity,
            unit=rate.unit,
            price=rate.price,
            per=rate.per,
            amount=Money(minor_units=self._amount, currency=rate.currency),
            policy=rate.policy,
            tariff=rate.tariff,
            version=rate.version,
            period=rate.period,
            digest=self._digest.hexdigest(),
        )


def _balance(row: Sequence[Any]) -> Balance:
    currency, charged, paid, invoiced = row
    return Balance(currency=currency, charged=charged, paid=paid, invoiced=invoiced)


def _newest(table: Table, time: ColumnElement[int], subscriber: str | None) -> Select[Any]:
    """Rows of a table, of one subscriber or of all, the newest first."""
    statement = select(table).order_by(time.desc(), table.c.log_offset.desc(), table.c.log_partition.desc())
    return statement if subscriber is None else statement.where(table.c.subscriber == subscriber)
