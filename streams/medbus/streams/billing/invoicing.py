"""Invoices: the lines of a closed period, put together. Pure."""

from collections.abc import Sequence
from uuid import uuid5

from medbus.projections.accounts import ClosedPeriod
from medbus.schemas import money
from medbus.schemas.events import InvoiceIssued, InvoiceLine, Meta
from medbus.streams.billing.fee import NAME


def invoices(
    closed: ClosedPeriod, *, name: str, currency: str, lines: Sequence[InvoiceLine]
) -> tuple[InvoiceIssued, ...]:
    """The invoices for a period: one for each currency in which something was charged.

    Args:
        closed: the period.
        name: the subscriber's.
        currency: in which an invoice is issued where nothing was charged.
        lines: all that was charged.
    """
    currencies = sorted({each.amount.currency for each in lines}) or [currency]
    number = f"{closed.subscriber}-{closed.period}"
    return tuple(
        _invoice(
            closed,
            name=name,
            number=number if len(currencies) == 1 else f"{number}-{each}",
            currency=each,
            lines=tuple(line for line in lines if line.amount.currency == each),
        )
        for each in currencies
    )


def _invoice(
    closed: ClosedPeriod, *, name: str, number: str, currency: str, lines: tuple[InvoiceLine, ...]
) -> InvoiceIssued:
    return InvoiceIssued(
        meta=Meta(
            event_id=uuid5(closed.event_id, f"invoice/{currency}"),
            cause_id=closed.event_id,
            correlation_id=closed.event_id,
            actor=closed.subscriber,
            source=NAME,
            occurred_at=closed.closed_at,
        ),
        subscriber=closed.subscriber,
        number=number,
        period=closed.period,
        start=closed.start,
        end=closed.end,
        name=name,
        lines=lines,
        total=money.total([line.amount for line in lines], currency),
    )
