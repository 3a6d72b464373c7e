"""Whether a request is legitimate. Pure and total: every request gets a decision, whatever the facts.

The checks come in this order; the first that fails decides:

1. who it is: UNKNOWN_SUBSCRIBER, CONTRACT_CANCELLED, WRONG_CREDENTIAL, WRONG_NETWORK (see `identification`);
2. WRONG_ROLE: the contract lacks the role that the request needs;
3. UNKNOWN_DESTINATION: images can't go where they are to go;
4. OUT_OF_SCOPE: nothing that is asked for can lie within the contract;
5. PAYMENT_REQUIRED: the contract demands a payment that has not come;
6. NO_CAPACITY_LEFT: the contract's capacity is used up.

| request | role that it needs |
|---|---|
| verification | none |
| registration | image registering |
| query | image receiving or image sending |
| delivery to the requester | image receiving |
| delivery to somebody else | image sending or image receiving; the destination's contract: image receiving |
| processing | image receiving (what goes elsewhere afterwards is a delivery, with a request of its own) |
| print | image sending or image receiving; the device's contract: hard-copy device |
| software release | vendor |
| software | software executing, for an apparatus of the contract |
| activation | none |
| account | none for the subscriber's own; auditor or manager for another's |

Verification, activation and a look at the account need no payment. Other requests do, where the contract says
so: PREPAID, that more was paid than was charged; CONFIRMED, that there was a payment since the contract was
made, and that all invoices are paid. A delivery that is paid in advance is granted for as many images as what
is left is good for; deliveries at the same time each for as many.

The clock is the request's own time. A decision's identity derives from the request's, so that a request that
is delivered twice is decided twice with the same id. Usage is what the catalog knows: registrations that run
at the same time may together go past the capacity, by at most what each was granted.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from medbus.projections.accounts import Account, Balance
from medbus.projections.directory.contract import Contract
from medbus.schemas import money
from medbus.schemas.events import (
    AccountRequested,
    ActivationRequested,
    Decision,
    DeliveryRequested,
    Money,
    PaymentCondition,
    PrintRequested,
    ProcessingRequested,
    QueryRequested,
    RegistrationRequested,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    Role,
    Scope,
    SoftwareReleaseRequested,
    SoftwareRequested,
    VerificationRequested,
)
from medbus.streams.auth.facts import Facts
from medbus.streams.auth.identification import Identity, Refusal, apparatus_called, identify, shown
from medbus.streams.auth.scope import common

NAME = "auth"
KIND = "decision"
"""Of the effect: a request has one decision."""

_EITHER = (Role.IMAGE_RECEIVING, Role.IMAGE_SENDING)
_ROLES: Mapping[type[Request], tuple[Role, ...]] = {
    VerificationRequested: (),
    RegistrationRequested: (Role.IMAGE_REGISTERING,),
    QueryRequested: _EITHER,
    DeliveryRequested: (Role.IMAGE_RECEIVING,),
    ProcessingRequested: (Role.IMAGE_RECEIVING,),
    PrintRequested: _EITHER,
    SoftwareReleaseRequested: (Role.VENDOR,),
    SoftwareRequested: (Role.SOFTWARE_EXECUTING,),
    ActivationRequested: (),
    AccountRequested: (),
}
_WITHOUT_PAYMENT = (VerificationRequested, ActivationRequested, AccountRequested)


def decide(facts: Facts, request: Request) -> Decision:
    """The decision on a request; see the module for the rules."""
    identity = identify(request.evidence, facts, request.meta.occurred_at)
    if isinstance(identity, Refusal):
        return rejected(request, identity)
    contract = identity.contract
    refusal = _wrong_role(contract, request) or _wrong_destination(contract, facts, request)
    if refusal is not None:
        return rejected(request, refusal)
    scope = _scope(contract, facts, request)
    if isinstance(scope, Refusal):
        return rejected(request, scope)
    refusal = _unpaid(contract, facts, request)
    if refusal is not None:
        return rejected(request, refusal)
    max_bytes = None
    if isinstance(request, RegistrationRequested) and contract.terms.capacity_bytes is not None:
        max_bytes = contract.terms.capacity_bytes - facts.used_bytes
        if max_bytes <= 0:
            return rejected(request, _full(contract, facts))
    return RequestAuthorized(
        meta=request.meta.caused(
            KIND, source=NAME, occurred_at=request.meta.occurred_at, actor=contract.subscriber
        ),
        request_id=request.request_id,
        request=type(request).__name__,
        subscriber=contract.subscriber,
        apparatus_id=_apparatus_id(identity, request),
        scope=scope,
        max_bytes=max_bytes,
        used_bytes=None if max_bytes is None else facts.used_bytes,
        max_images=_covered(contract, facts, request),
        expires_at=_expiry(facts, request),
    )


def rejected(request: Request, refusal: Refusal) -> RequestRejected:
    """The rejection of a request."""
    return RequestRejected(
        meta=request.meta.caused(
            KIND, source=NAME, occurred_at=request.meta.occurred_at, actor=refusal.subscriber
        ),
        request_id=request.request_id,
        request=type(request).__name__,
        subscriber=refusal.subscriber,
        reason=refusal.reason,
        detail=refusal.detail,
    )


def _wrong_role(contract: Contract, request: Request) -> Refusal | None:
    needed = _ROLES.get(type(request))
    if needed is None:
        return Refusal(
            reason=RejectionReason.UNDECIDABLE,
            detail=f"The service has no rule for {type(request).__name__}. Update the service.",
            subscriber=contract.subscriber,
        )
    if isinstance(request, DeliveryRequested) and _elsewhere(contract, request):
        needed = _EITHER
    if isinstance(request, AccountRequested) and request.account not in (None, contract.subscriber):
        needed = (Role.AUDITOR, Role.MANAGER)
    if not needed or any(role in contract.terms.roles for role in needed):
        return None
    return Refusal(
        reason=RejectionReason.WRONG_ROLE,
        detail=f"The contract of {contract.subscriber} lacks the role {' or '.join(needed)}. "
        "Let the service's manager change the contract.",
        subscriber=contract.subscriber,
    )


def _wrong_destination(contract: Contract, facts: Facts, request: Request) -> Refusal | None:
    match request:
        case DeliveryRequested(destination=str(destination)):
            where = facts.destination
            if where is None or where.apparatus.host is None or where.apparatus.port is None:
                problem = "is no apparatus of a subscriber with a host and a port"
            elif where.apparatus.ae_title != destination.strip(" "):
                problem = "is not what was looked up"
            elif not where.contract.live:
                problem = "belongs to a contract that was cancelled"
            elif Role.IMAGE_RECEIVING not in where.contract.terms.roles:
                problem = "belongs to a contract without the role IMAGE_RECEIVING"
            else:
                return None
            name = destination
        case PrintRequested(device=name):
            device = facts.device
            if device is not None and device.live and Role.HARD_COPY_DEVICE in device.terms.roles:
                return None
            problem = "is no subscriber with the role HARD_COPY_DEVICE"
        case SoftwareRequested(apparatus_id=apparatus_id):
            if any(each.apparatus_id == apparatus_id for each in contract.terms.apparatuses):
                return None
            return Refusal(
                reason=RejectionReason.OUT_OF_SCOPE,
                detail=f"{shown(apparatus_id)} is no apparatus of {contract.subscriber}. "
                "Let the service's manager add it to the contract.",
                subscriber=contract.subscriber,
            )
        case _:
            return None
    return Refusal(
        reason=RejectionReason.UNKNOWN_DESTINATION,
        detail=f"{shown(name)} {problem}. Check the name, or let the service's manager enter it.",
        subscriber=contract.subscriber,
    )


def _scope(contract: Contract, facts: Facts, request: Request) -> Scope | Refusal:
    if not isinstance(request, DeliveryRequested):
        return contract.terms.scope
    asked = Scope(patients=request.patients, registrants=request.registrants, modalities=request.modalities)
    scope = common(contract.terms.scope, asked)
    whose = contract
    if scope is not None and request.destination is not None and facts.destination is not None:
        # Neither side gets the other more than its own contract says.
        whose = facts.destination.contract
        scope = common(scope, whose.terms.scope)
    if scope is None:
        return Refusal(
            reason=RejectionReason.OUT_OF_SCOPE,
            detail=f"No image that was asked for lies within the contract of {whose.subscriber}, which is "
            "about certain patients, registrants or modalities only. Let the service's manager widen it.",
            subscriber=contract.subscriber,
        )
    return scope


def _unpaid(contract: Contract, facts: Facts, request: Request) -> Refusal | None:
    if contract.terms.payment is None or isinstance(request, _WITHOUT_PAYMENT):
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


def _covered(contract: Contract, facts: Facts, request: Request) -> int | None:
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


def _full(contract: Contract, facts: Facts) -> Refusal:
    return Refusal(
        reason=RejectionReason.NO_CAPACITY_LEFT,
        detail=f"{contract.subscriber} has registered {facts.used_bytes} of {contract.terms.capacity_bytes} "
        "bytes. Let the service's manager raise the capacity.",
        subscriber=contract.subscriber,
    )


def _elsewhere(contract: Contract, request: DeliveryRequested) -> bool:
    return request.destination is not None and apparatus_called(contract.terms, request.destination) is None


def _apparatus_id(identity: Identity, request: Request) -> str | None:
    if isinstance(request, SoftwareRequested):
        return request.apparatus_id
    return None if identity.apparatus is None else identity.apparatus.apparatus_id


def _expiry(facts: Facts, request: Request) -> datetime:
    try:
        return (request.meta.occurred_at + facts.grant_lifetime).astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
