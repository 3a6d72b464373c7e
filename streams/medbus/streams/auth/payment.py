"""Whether what a contract demands was paid, and what it is good for. Pure."""

from medbus.projections.accounts import Account, Balance
from medbus.projections.directory.contract import Contract
from medbus.schemas import money
from medbus.schemas.events import (
    AccountRequested,
    ActivationRequested,
    CancellationRequested,
    DeliveryRequested,
    Money,
    PaymentCondition,
    RejectionReason,
    Request,
    ResultRequested,
    VerificationRequested,
)
from medbus.streams.auth.facts import Facts
from medbus.streams.auth.identification import Refusal

WITHOUT_PAYMENT = (
    VerificationRequested,
    ActivationRequested,
    AccountRequested,
    ResultRequested,
    CancellationRequested,
)


def unpaid(contract: Contract, facts: Facts, request: Request) -> Refusal | None:
    """Why a request has to wait for a payment; None if it has not."""
    if contract.terms.payment is None or isinstance(request, WITHOUT_PAYMENT):
        return None
    account = facts.account or Account(subscriber=contract.subscriber)
    balance = _balance(facts)
    match contract.terms.payment:
        case PaymentCondition.PREPAID:
            if balance.paid > balance.charged:
                return None
            what = f"has {_shown(balance.left)} left, and pays in advance"
        case PaymentCondition.CONFIRMED:
            if account.paid_at is None or account.paid_at < contract.contracted_at:
                what = "has not paid yet since the contract was made"
            elif balance.invoiced > balance.paid:
                what = f"has invoices of {_shown(balance.due)} to pay"
            else:
                return None
        case _:
            what = "must pay in a way that this version of the service does not know"
    return Refusal(
        reason=RejectionReason.PAYMENT_REQUIRED,
        detail=f"Payment required: {contract.subscriber} {what}. Pay, and ask again.",
        subscriber=contract.subscriber,
    )


def covered(contract: Contract, facts: Facts, request: Request) -> int | None:
    """How many images what was paid in advance is good for; None for no limit."""
    price = facts.delivery_price
    if (
        contract.terms.payment is not PaymentCondition.PREPAID
        or not isinstance(request, DeliveryRequested)
        or price is None
        or price.minor_units == 0
    ):
        return None
    return max(1, _balance(facts).left.minor_units // price.minor_units)


def _balance(facts: Facts) -> Balance:
    """The sums of the account in the currency of the price list."""
    balances = () if facts.account is None else facts.account.balances
    found = [each for each in balances if each.currency == facts.currency]
    return found[0] if found else Balance(currency=facts.currency or "")


def _shown(amount: Money) -> str:
    return money.text_of(amount) if amount.currency else "nothing"
