"""Events of accounts and requests to try, with all that they need."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from tests.projections.examples import NOON

from medbus.schemas import money, period
from medbus.schemas.events import (
    Evidence,
    FeeCharged,
    FeeKind,
    InvoiceIssued,
    InvoiceLine,
    Meta,
    Money,
    Origin,
    PaymentReceived,
    PeriodClosed,
    Price,
    QueryRequested,
    RegistrationRequested,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    Scope,
    TariffSet,
)
from medbus.schemas.payment import MANUAL, payment_id

MARCH = period.named("2026-03")
APRIL = period.named("2026-04")
CONVERSATION = UUID(int=12)
ORIGIN = Origin(topic="deliveries", partition=2, offset=17)


def euros(minor_units: int, currency: str = "EUR") -> Money:
    return Money(minor_units=minor_units, currency=currency)


def fee(
    subscriber: str = "A",
    *,
    fee_id: UUID | None = None,
    cause_id: UUID | None = None,
    at: datetime = NOON,
    kind: FeeKind = FeeKind.DELIVERY,
    item: str = "",
    quantity: int = 1,
    price: str = "0.25",
    currency: str = "EUR",
    version: int = 1,
    of_period: str = "",
    cause: Origin = ORIGIN,
) -> FeeCharged:
    """A fee for something that happened then."""
    policy = money.policy(currency)
    return FeeCharged(
        meta=Meta(
            event_id=fee_id or uuid4(),
            cause_id=cause_id or UUID(int=99),
            correlation_id=CONVERSATION,
            actor=subscriber,
            source="billing",
            occurred_at=at,
        ),
        subscriber=subscriber,
        kind=kind,
        item=item,
        quantity=quantity,
        unit="images",
        price=price,
        per=1,
        amount=money.rounded(quantity, price, 1, policy, currency),
        policy=policy,
        tariff="basic",
        version=version,
        period=of_period,
        cause=cause,
    )


def period_id(subscriber: str, name: str) -> UUID:
    return uuid5(NAMESPACE_OID, f"medbus/period/{subscriber}/{name}")


def closing(subscriber: str = "A", of: period.Period = MARCH) -> PeriodClosed:
    """The end of a period."""
    return PeriodClosed(
        meta=Meta.first(period_id(subscriber, of.name), source="billing", occurred_at=of.end),
        subscriber=subscriber,
        period=of.name,
        start=of.start,
        end=of.end,
    )


def periodic(closed: PeriodClosed, kind: FeeKind = FeeKind.MANAGEMENT, price: str = "30") -> FeeCharged:
    """A fee for a period, which the end of the period caused."""
    return fee(
        closed.subscriber,
        fee_id=uuid5(closed.meta.event_id, kind.value),
        cause_id=closed.meta.event_id,
        at=closed.end + timedelta(hours=2),
        kind=kind,
        price=price,
        of_period=closed.period,
        cause=Origin(topic="fees", partition=0, offset=3),
    )


def invoice(
    closed: PeriodClosed,
    total: Money,
    *,
    number: str = "",
    lines: Sequence[InvoiceLine] = (),
) -> InvoiceIssued:
    """An invoice for a period that was closed."""
    return InvoiceIssued(
        meta=closed.meta.caused(
            f"invoice/{total.currency}", source="billing", occurred_at=closed.end + timedelta(hours=3)
        ),
        subscriber=closed.subscriber,
        number=number or f"{closed.subscriber}/{closed.period}/{total.currency}",
        period=closed.period,
        start=closed.start,
        end=closed.end,
        name=f"{closed.subscriber} hospital",
        lines=tuple(lines),
        total=total,
    )


def payment(
    subscriber: str = "A", amount: Money | None = None, *, reference: str = "", at: datetime = NOON
) -> PaymentReceived:
    """A payment; the same reference is the same payment."""
    reference = reference or uuid4().hex
    return PaymentReceived(
        meta=Meta.first(payment_id(MANUAL, reference), source="test", occurred_at=at),
        subscriber=subscriber,
        reference=reference,
        amount=amount or euros(1000),
        channel=MANUAL,
        paid_at=at,
        note="by hand",
    )


def tariff(name: str = "basic", version: int = 1, *, currency: str = "EUR", price: str = "0.25") -> TariffSet:
    """A version of a price list."""
    return TariffSet(
        meta=Meta.first(uuid4(), source="test", occurred_at=NOON),
        tariff=name,
        version=version,
        valid_from=datetime(2026, version, 1, tzinfo=UTC),
        currency=currency,
        policy=money.policy(currency),
        prices=(Price(kind=FeeKind.DELIVERY, price=price, per=1),),
    )


def asked(
    request_id: UUID | None = None,
    *,
    conversation: UUID = CONVERSATION,
    kind: type[Request] = QueryRequested,
    calling: str | None = "A_WS1",
) -> QueryRequested | RegistrationRequested:
    """A request."""
    assert kind in {QueryRequested, RegistrationRequested}
    made = QueryRequested if kind is QueryRequested else RegistrationRequested
    return made(
        meta=Meta.first(request_id or uuid4(), source="dicom", occurred_at=NOON, conversation=conversation),
        evidence=Evidence(calling_ae_title=calling, called_ae_title="MEDBUS", address="10.0.0.9"),
    )


def authorized(request: Request, subscriber: str = "A", *, max_bytes: int | None = None) -> RequestAuthorized:
    """A grant."""
    return RequestAuthorized(
        meta=request.meta.caused("decision", source="auth", occurred_at=NOON, actor=subscriber),
        request_id=request.request_id,
        subscriber=subscriber,
        scope=Scope(),
        max_bytes=max_bytes,
        used_bytes=None if max_bytes is None else 400,
        expires_at=NOON + timedelta(hours=1),
    )


def rejected(
    request: Request,
    subscriber: str | None = None,
    reason: RejectionReason = RejectionReason.UNKNOWN_SUBSCRIBER,
) -> RequestRejected:
    """A refusal."""
    return RequestRejected(
        meta=request.meta.caused("decision", source="auth", occurred_at=NOON),
        request_id=request.request_id,
        subscriber=subscriber,
        reason=reason,
        detail="nobody is known by that name",
    )
