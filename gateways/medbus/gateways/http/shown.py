"""What the catalogs hold of an account, as JSON shows it. Amounts are texts, sizes and counts numbers."""

from typing import Any

from medbus.gateways.http.answer import amount, moment, place
from medbus.projections.accounts import Balance, StoredFee, StoredInvoice, StoredPayment
from medbus.projections.directory import Contract
from medbus.projections.images import Usage
from medbus.projections.requests import LoggedRequest
from medbus.schemas import money
from medbus.schemas.events import InvoiceLine, Money


def contract(made: Contract) -> dict[str, Any]:
    """A contract: its state, what it entitles to, how it is paid, where results are announced, and from where
    images are collected."""
    terms = made.terms
    return {
        "name": terms.name,
        "state": "IN_FORCE" if made.live else "CANCELLED",
        "contracted_at": moment(made.contracted_at),
        "cancelled_at": moment(made.cancelled_at),
        "activated_at": moment(made.activated_at),
        "roles": list(terms.roles),
        "tariff": terms.tariff,
        "payment": terms.payment,
        "webhook": terms.webhook,
        "collections": [
            {
                "apparatus_id": each.apparatus_id,
                "retrieval": each.retrieval,
                "address": each.address,
                "every_seconds": each.every_seconds,
            }
            for each in terms.collections
        ],
    }


def capacity(made: Contract, usage: Usage) -> dict[str, int | None]:
    """What a contract allocates, None without limit, and what is in use of it."""
    return {
        "allocated_bytes": made.terms.capacity_bytes,
        "used_bytes": usage.bytes,
        "images": usage.images,
    }


def balance(sums: Balance) -> dict[str, str]:
    """The sums of an account in a currency. `left`: paid and not charged; `due`: invoiced and not paid."""

    def number(minor_units: int) -> str:
        return money.number_of(Money(minor_units=minor_units, currency=sums.currency))

    return {
        "currency": sums.currency,
        "charged": number(sums.charged),
        "paid": number(sums.paid),
        "invoiced": number(sums.invoiced),
        "left": money.number_of(sums.left),
        "due": money.number_of(sums.due),
    }


def fee(stored: StoredFee) -> dict[str, Any]:
    """A fee, its price, and the places in the log of what it is for and of itself."""
    return {
        "fee_id": stored.fee_id,
        "kind": stored.kind,
        "item": stored.item,
        "quantity": stored.quantity,
        "unit": stored.unit,
        "price": stored.price,
        "per": stored.per,
        "amount": amount(stored.amount),
        "policy": stored.policy,
        "tariff": stored.tariff,
        "version": stored.version,
        "period": stored.period,
        "charged_at": moment(stored.charged_at),
        "cause_id": stored.cause_id,
        "cause": place(stored.cause),
        "conversation": stored.correlation_id,
        "position": place(stored.position),
    }


def invoice(stored: StoredInvoice) -> dict[str, Any]:
    """An invoice without its lines."""
    issued = stored.invoice
    return {
        "number": issued.number,
        "period": issued.period,
        "start": moment(issued.start),
        "end": moment(issued.end),
        "name": issued.name,
        "total": amount(issued.total),
        "issued_at": moment(stored.issued_at),
        "invoice_id": issued.meta.event_id,
        "position": place(stored.position),
    }


def line(billed: InvoiceLine) -> dict[str, Any]:
    """A line of an invoice."""
    return {
        "kind": billed.kind,
        "item": billed.item,
        "count": billed.count,
        "quantity": billed.quantity,
        "unit": billed.unit,
        "price": billed.price,
        "per": billed.per,
        "amount": amount(billed.amount),
        "policy": billed.policy,
        "tariff": billed.tariff,
        "version": billed.version,
        "period": billed.period,
        "digest": billed.digest,
    }


def payment(stored: StoredPayment) -> dict[str, Any]:
    """A payment."""
    paid = stored.payment
    return {
        "payment_id": paid.meta.event_id,
        "reference": paid.reference,
        "channel": paid.channel,
        "amount": amount(paid.amount),
        "paid_at": moment(paid.paid_at),
        "note": paid.note,
        "position": place(stored.position),
    }


def request(logged: LoggedRequest) -> dict[str, Any]:
    """A request with the decision on it."""
    decided = logged.decision_position
    return {
        "request_id": logged.request_id,
        "kind": logged.kind,
        "conversation": logged.conversation,
        "asked_at": moment(logged.asked_at),
        "calling_ae_title": logged.calling_ae_title,
        "address": logged.address,
        "outcome": logged.outcome,
        "reason": logged.reason,
        "detail": logged.detail,
        "decided_at": moment(logged.decided_at),
        "expires_at": moment(logged.expires_at),
        "max_bytes": logged.max_bytes,
        "used_bytes": logged.used_bytes,
        "position": place(logged.position),
        "decision_position": None if decided is None else place(decided),
    }
