"""Builds the account catalog from fees, closed periods, invoices, payments and price lists.

An event's id is its identity: of several records with one id the first in the log counts, and the others are
nothing. Nearly always they are all in one partition. Where they are not (a payment that was reported of two
subscribers), the first is the one that arrived first, so a record that was taken up may have to give way.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, Table, delete, select

from medbus.bus import Record
from medbus.projections import rows
from medbus.projections.accounts import tables
from medbus.projections.instants import microseconds
from medbus.projections.projection import Projection
from medbus.schemas.events import (
    Event,
    FeeCharged,
    InvoiceIssued,
    Money,
    PaymentReceived,
    PeriodClosed,
    TariffSet,
)
from medbus.schemas.topics import FEES, TARIFFS

Order = tuple[int, int, int]
"""Arrival in microseconds, partition and offset: an order among all records that everybody agrees on."""

Firsts = Mapping[str, tuple[Order, Any]]
"""Events by their ids, with their places."""

RateKey = tuple[str, str, str, str, str, int, str, str, str, int, str]
BalanceKey = tuple[str, str]
"""Subscriber and currency."""


_ORDER = ("recorded_at", "log_partition", "log_offset")
_CHARGED, _PAID, _INVOICED = range(3)


class AccountProjection(Projection):
    """Accounts of all subscribers, and the price lists."""

    name = "accounts"
    topics = (FEES, TARIFFS)
    metadata = tables.metadata

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        rows.add(
            connection, tables.tariffs, [_tariff(r.event) for r in records if isinstance(r.event, TariffSet)]
        )
        sums = _Sums()
        _charge(connection, _firsts(records, FeeCharged), sums)
        _close(connection, _firsts(records, PeriodClosed))
        _invoice(connection, _firsts(records, InvoiceIssued), sums)
        _pay(connection, _firsts(records, PaymentReceived), sums)
        sums.save(connection)


class _Sums:
    """What is to be added to balances."""

    def __init__(self) -> None:
        self._changes: dict[BalanceKey, list[int]] = {}
        self._undone: set[str] = set()

    def add(self, subscriber: str, money: Money, column: int, sign: int = 1) -> None:
        """Count an amount as _CHARGED, _PAID or _INVOICED."""
        change = self._changes.setdefault((subscriber, money.currency), [0, 0, 0, 0])
        change[column] += sign * money.minor_units
        change[3] += sign

    def undo(self, old: Row[Any], column: int) -> None:
        """Count no longer what a row says."""
        self.add(old.subscriber, Money(minor_units=old.amount, currency=old.currency), column, -1)
        self._undone.add(old.subscriber)

    def save(self, connection: Connection) -> None:
        rows.count(connection, tables.balances, [(*key, *change) for key, change in self._changes.items()])
        if self._undone:
            table = tables.balances
            undone = rows.among(connection, table.c.subscriber, sorted(self._undone))
            connection.execute(delete(table).where(undone, table.c.events == 0))


def _firsts(records: Sequence[Record], kind: type[Event]) -> Firsts:
    """The events of a class by id, each once."""
    firsts: dict[str, tuple[Order, Any]] = {}
    for record in records:
        event = record.event
        if isinstance(event, kind):
            (_, partition), offset = record.position
            order = microseconds(record.timestamp), partition, offset
            event_id = str(event.meta.event_id)
            if event_id not in firsts or order < firsts[event_id][0]:
                firsts[event_id] = order, event
    return firsts


def _new(connection: Connection, table: Table, firsts: Firsts) -> tuple[Firsts, list[Row[Any]]]:
    """Those events that the table has not, or has from a later record; and its rows of the latter."""
    if not firsts:
        return {}, []
    new = dict(firsts)
    late = []
    for row in connection.execute(_known(table, connection.dialect.name), rows.given(list(firsts))):
        if firsts[row.event_id][0] < (row.recorded_at, row.log_partition, row.log_offset):
            late.append(row)
        else:
            del new[row.event_id]
    return new, late


@cache
def _known(table: Table, dialect: str) -> Select[Any]:
    names = (*_ORDER, "event_id", "subscriber", "currency", "amount", "rate")
    columns = [table.c[name] for name in names if name in table.c]
    return select(*columns).where(rows.among_given(dialect, table.c.event_id))


def _charge(connection: Connection, firsts: Firsts, sums: _Sums) -> None:
    new, late = _new(connection, tables.fees, firsts)
    numbers: dict[RateKey, int] = {}
    counts: Counter[RateKey] = Counter()
    charged = []
    for event_id, (order, fee) in new.items():
        key = (
            *(fee.subscriber, fee.amount.currency, fee.kind.value, fee.item, fee.tariff, fee.version),
            *(fee.period, fee.unit, fee.price, fee.per, fee.policy),
        )
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = number_of(key)
        counts[key] += 1
        sums.add(fee.subscriber, fee.amount, _CHARGED)
        cause_id = fee.meta.cause_id
        charged.append(
            (
                *(event_id, fee.subscriber, *order, fee.amount.currency, fee.amount.minor_units, number),
                *(fee.quantity, microseconds(fee.meta.occurred_at)),
                *(None if cause_id is None else str(cause_id), str(fee.meta.correlation_id)),
                *(fee.cause.topic, fee.cause.partition, fee.cause.offset),
            )
        )
    rows.replace(connection, tables.fees, charged)
    rows.count(connection, tables.rates, [(numbers[key], *key, count) for key, count in counts.items()])
    for old in late:
        sums.undo(old, _CHARGED)
    _forget(connection, Counter(old.rate for old in late))


def _forget(connection: Connection, fees: Mapping[int, int]) -> None:
    """Count fees no longer with their rates."""
    for rate, count in fees.items():
        table = tables.rates
        connection.execute(table.update().where(table.c.rate == rate).values(fees=table.c.fees - count))
        connection.execute(delete(table).where(table.c.rate == rate, table.c.fees == 0))


def _close(connection: Connection, firsts: Firsts) -> None:
    new, _ = _new(connection, tables.closings, firsts)
    rows.replace(
        connection,
        tables.closings,
        [
            (
                *(event_id, closed.subscriber, *order),
                *(closed.period, microseconds(closed.start), microseconds(closed.end)),
            )
            for event_id, (order, closed) in new.items()
        ],
    )


def _invoice(connection: Connection, firsts: Firsts, sums: _Sums) -> None:
    new, late = _new(connection, tables.invoices, firsts)
    issued = []
    for event_id, (order, invoice) in new.items():
        sums.add(invoice.subscriber, invoice.total, _INVOICED)
        cause_id = invoice.meta.cause_id
        issued.append(
            (
                *(event_id, invoice.subscriber, *order, invoice.total.currency, invoice.total.minor_units),
                *(invoice.number, invoice.period, None if cause_id is None else str(cause_id)),
                msgspec.json.encode(invoice).decode(),
            )
        )
    rows.replace(connection, tables.invoices, issued)
    for old in late:
        sums.undo(old, _INVOICED)


def _pay(connection: Connection, firsts: Firsts, sums: _Sums) -> None:
    new, late = _new(connection, tables.payments, firsts)
    paid = []
    for event_id, (order, payment) in new.items():
        sums.add(payment.subscriber, payment.amount, _PAID)
        paid.append(
            (
                *(event_id, payment.subscriber, *order),
                *(payment.amount.currency, payment.amount.minor_units, microseconds(payment.paid_at)),
                msgspec.json.encode(payment).decode(),
            )
        )
    rows.replace(connection, tables.payments, paid)
    for old in late:
        sums.undo(old, _PAID)


def number_of(key: RateKey) -> int:
    """A number for a rate that is the same in every catalog: 63 bits of a digest."""
    return int.from_bytes(blake2b(msgspec.json.encode(key), digest_size=8).digest()) >> 1


def _tariff(event: TariffSet) -> rows.Row:
    return event.tariff, event.version, event.currency, msgspec.json.encode(event).decode()
