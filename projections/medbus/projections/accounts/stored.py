"""From rows of the account catalog to what it tells."""

from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row

from medbus.bus import Partition, Position
from medbus.projections.accounts import tables
from medbus.projections.accounts.account import ClosedPeriod, StoredFee, StoredInvoice, StoredPayment
from medbus.projections.instants import instant
from medbus.schemas.events import FeeKind, InvoiceIssued, Money, Origin, PaymentReceived
from medbus.schemas.topics import FEES

_invoice_decoder = msgspec.json.Decoder(InvoiceIssued)
_payment_decoder = msgspec.json.Decoder(PaymentReceived)


class Rate(NamedTuple):
    """What fees of one subscriber have in common: what they are for, and at which price."""

    rate: int
    subscriber: str
    currency: str
    kind: str
    item: str
    tariff: str
    version: int
    period: str
    unit: str
    price: str
    per: int
    policy: str

    def line(self) -> tuple[Any, ...]:
        """Its place among the lines of an invoice."""
        return self[2:]


RATE_COLUMNS = tuple(tables.rates.c[name] for name in Rate._fields)

_F = tables.fees.c
FEE_COLUMNS = (
    *(_F.event_id, _F.rate, _F.quantity, _F.amount, _F.charged_at, _F.cause_id, _F.correlation_id),
    *(_F.cause_topic, _F.cause_partition, _F.cause_offset, _F.log_partition, _F.log_offset),
)


def stored_fee(rate: Rate, row: Row[Any]) -> StoredFee:
    """A fee.

    Args:
        rate: its rate.
        row: FEE_COLUMNS, and perhaps others.
    """
    return StoredFee(
        fee_id=UUID(row.event_id),
        cause_id=None if row.cause_id is None else UUID(row.cause_id),
        correlation_id=UUID(row.correlation_id),
        subscriber=rate.subscriber,
        kind=FeeKind(rate.kind),
        item=rate.item,
        quantity=row.quantity,
        unit=rate.unit,
        price=rate.price,
        per=rate.per,
        amount=Money(minor_units=row.amount, currency=rate.currency),
        policy=rate.policy,
        tariff=rate.tariff,
        version=rate.version,
        period=rate.period,
        charged_at=instant(row.charged_at),
        cause=Origin(topic=row.cause_topic, partition=row.cause_partition, offset=row.cause_offset),
        position=_position(row),
    )


def closed_period(row: Row[Any]) -> ClosedPeriod:
    """A closed period, from all columns of `closings`."""
    return ClosedPeriod(
        event_id=UUID(row.event_id),
        subscriber=row.subscriber,
        period=row.period,
        start=instant(row.start_at),
        end=instant(row.end_at),
        closed_at=instant(row.recorded_at),
        position=_position(row),
    )


def stored_invoice(row: Row[Any]) -> StoredInvoice:
    """An invoice, from all columns of `invoices`."""
    return StoredInvoice(
        invoice=_invoice_decoder.decode(row.document),
        position=_position(row),
        issued_at=instant(row.recorded_at),
    )


def stored_payment(row: Row[Any]) -> StoredPayment:
    """A payment, from all columns of `payments`."""
    return StoredPayment(payment=_payment_decoder.decode(row.document), position=_position(row))


def _position(row: Row[Any]) -> Position:
    return Position(Partition(FEES.name, row.log_partition), row.log_offset)
