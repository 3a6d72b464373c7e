"""What the account catalog tells: balances, fees, closed periods, invoices and payments."""

from datetime import datetime
from uuid import UUID

from medbus.bus import Position
from medbus.schemas.events import FeeKind, InvoiceIssued, Money, Origin, PaymentReceived, Value


class Balance(Value):
    """The sums of an account in one currency, in its minor unit.

    Attributes:
        currency: ISO 4217.
        charged: all fees.
        paid: all payments; those that were paid back are taken off.
        invoiced: all invoices.
    """

    currency: str
    charged: int = 0
    paid: int = 0
    invoiced: int = 0

    @property
    def left(self) -> Money:
        """What was paid and is not used up; less than nothing where more was charged."""
        return Money(minor_units=self.paid - self.charged, currency=self.currency)

    @property
    def due(self) -> Money:
        """What was invoiced and is not paid; less than nothing where more was paid."""
        return Money(minor_units=self.invoiced - self.paid, currency=self.currency)


class Account(Value):
    """An account of a subscriber.

    Attributes:
        subscriber: whose it is.
        balances: by currency.
        paid_at: when the log had the latest payment, whatever day it says; what was paid back is no payment.
    """

    subscriber: str
    balances: tuple[Balance, ...] = ()
    paid_at: datetime | None = None


class StoredFee(Value):
    """A fee, with what it was charged for and where its event stands in the log.

    Attributes:
        charged_at: when its cause arrived in the log.
        cause: where its cause stands in the log.
    """

    fee_id: UUID
    cause_id: UUID | None
    correlation_id: UUID
    subscriber: str
    kind: FeeKind
    item: str
    quantity: int
    unit: str
    price: str
    per: int
    amount: Money
    policy: str
    tariff: str
    version: int
    period: str
    charged_at: datetime
    cause: Origin
    position: Position


class ClosedPeriod(Value):
    """A period of a subscriber that is over; it was closed when its event arrived in the log."""

    event_id: UUID
    subscriber: str
    period: str
    start: datetime
    end: datetime
    closed_at: datetime
    position: Position


class StoredInvoice(Value):
    """An invoice; it was issued when its event arrived in the log."""

    invoice: InvoiceIssued
    position: Position
    issued_at: datetime


class StoredPayment(Value):
    """A payment."""

    payment: PaymentReceived
    position: Position
