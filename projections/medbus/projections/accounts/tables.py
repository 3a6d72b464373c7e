"""The account catalog's tables.

Amounts are in the minor unit of their currency, times in microseconds since 1970. What fees have in common
stands once, in `rates`: a fee refers to it by number, and an invoice has one line for each.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table

from medbus.projections.rows import text_type

metadata = MetaData()


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, text_type, primary_key=key, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _counter(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, info={"counter": True})


def _head() -> tuple[Column[str] | Column[int], ...]:
    """What every event of an account has: of several records with one id the first counts."""
    return (
        _text("event_id", key=True),
        _text("subscriber"),
        _number("recorded_at"),
        Column("log_partition", Integer, nullable=False),
        _number("log_offset"),
    )


rates = Table(
    "rates",
    metadata,
    Column("rate", BigInteger, primary_key=True, autoincrement=False),
    _text("subscriber"),
    _text("currency"),
    _text("kind"),
    _text("item"),
    _text("tariff"),
    Column("version", Integer, nullable=False),
    _text("period"),
    _text("unit"),
    _text("price"),
    _number("per"),
    _text("policy"),
    _counter("fees"),
    Index("rates_by_subscriber", "subscriber"),
)
"""What fees of one subscriber are for, and at which price; with their number."""

fees = Table(
    "fees",
    metadata,
    *_head(),
    _text("currency"),
    _number("amount"),
    _number("rate"),
    _number("quantity"),
    _number("charged_at"),
    Column("cause_id", text_type),
    _text("correlation_id"),
    _text("cause_topic"),
    Column("cause_partition", Integer, nullable=False),
    _number("cause_offset"),
    Index("fees_by_subscriber", "subscriber", "charged_at", "log_offset"),
    Index("fees_by_time", "charged_at", "log_offset"),
    Index("fees_by_rate", "rate", "log_offset"),
    Index("fees_by_cause", "cause_id"),
)

closings = Table(
    "closings",
    metadata,
    *_head(),
    _text("period"),
    _number("start_at"),
    _number("end_at"),
    Index("closings_by_subscriber", "subscriber", "recorded_at", "log_offset"),
    Index("closings_by_time", "recorded_at", "log_offset"),
)
"""Periods that are closed."""

invoices = Table(
    "invoices",
    metadata,
    *_head(),
    _text("currency"),
    _number("amount"),
    _text("number"),
    _text("period"),
    Column("cause_id", text_type),
    _text("document"),
    Index("invoices_by_subscriber", "subscriber", "recorded_at", "log_offset"),
    Index("invoices_by_time", "recorded_at", "log_offset"),
    Index("invoices_by_number", "number"),
    Index("invoices_by_period", "period", "recorded_at", "log_offset"),
    Index("invoices_by_cause", "cause_id"),
)

payments = Table(
    "payments",
    metadata,
    *_head(),
    _text("currency"),
    _number("amount"),
    _number("paid_at"),
    _text("document"),
    Index("payments_by_subscriber", "subscriber", "paid_at", "log_offset"),
    Index("payments_by_time", "paid_at", "log_offset"),
)

balances = Table(
    "balances",
    metadata,
    _text("subscriber", key=True),
    _text("currency", key=True),
    _counter("charged"),
    _counter("paid"),
    _counter("invoiced"),
    _counter("events"),
)
"""The sums of all fees, payments and invoices, and how many they are."""

tariffs = Table(
    "tariffs",
    metadata,
    _text("tariff", key=True),
    Column("version", Integer, primary_key=True, nullable=False),
    _text("currency"),
    _text("document"),
)
"""Price lists. A version never changes: of several events of one the first counts."""
