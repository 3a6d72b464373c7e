"""Events of accounts: fees, payments, periods and invoices."""

from medbus.schemas.events.base import Event, Instant, Int, Long, Money, Origin, Value
from medbus.schemas.events.tariffs import FeeKind


class FeeCharged(Event):
    """A fee was charged. The same cause never leads to another fee of the kind."""

    subscriber: str
    kind: FeeKind
    item: str = ""
    quantity: Long
    unit: str
    price: str
    per: Long
    amount: Money
    policy: str
    tariff: str
    version: Int
    period: str = ""
    cause: Origin


class PeriodClosed(Event):
    """A period of a subscriber is over, and all that happened in it has been charged."""

    subscriber: str
    period: str
    start: Instant
    end: Instant


class InvoiceLine(Value):
    """Fees of one kind at one price."""

    kind: FeeKind
    item: str = ""
    count: Long
    quantity: Long
    unit: str
    price: str
    per: Long
    amount: Money
    policy: str
    tariff: str
    version: Int
    period: str = ""
    digest: str


class InvoiceIssued(Event):
    """A subscriber was billed for a period."""

    subscriber: str
    number: str
    period: str
    start: Instant
    end: Instant
    name: str
    lines: tuple[InvoiceLine, ...] = ()
    total: Money


class PaymentReceived(Event):
    """A subscriber paid."""

    subscriber: str
    reference: str
    amount: Money
    channel: str
    paid_at: Instant
    note: str = ""


AccountEvent = FeeCharged | PeriodClosed | InvoiceIssued | PaymentReceived
