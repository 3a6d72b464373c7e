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
| processing | image receiving, and image registering to keep images; each destination: image receiving |
| result, cancellation | image receiving; whose processing it is, the gateway checks |
| print | image sending or image receiving; the device's contract: hard-copy device |
| software release | vendor |
| software | software executing, for an apparatus of the contract |
| activation | none |
| account | none for the subscriber's own; auditor or manager for another's |

A processing request must say what is kept and how it is answered, else it is UNDECIDABLE, and name or enclose
images, else it is OUT_OF_SCOPE. Its destinations are the subscribers that it names, or the requester. Each
must be able to take the answer, else it is an UNKNOWN_DESTINATION: C_STORE needs an apparatus with host and
port, WEBHOOK a webhook. The grant is about what lies within the contracts of the requester and of all
destinations; where images are kept it is limited to the capacity that is left.

Verification, activation, result, cancellation and a look at the account need no payment. Other requests do,
where the contract says so: PREPAID, that more was paid than was charged; CONFIRMED, that there was a payment
since the contract was made, and that all invoices are paid. A delivery that is paid in advance is granted for
as many images as what is left is good for; deliveries at the same time each for as many.

The clock is the request's own time. A decision's identity derives from the request's, so that a request that
is delivered twice is decided twice with the same id. Usage is what the catalog knows: registrations that run
at the same time may together go past the capacity, by at most what each was granted.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from medbus.projections.directory.contract import Contract
from medbus.schemas.events import (
    AccountRequested,
    ActivationRequested,
    Answer,
    CancellationRequested,
    Decision,
    DeliveryRequested,
    Keep,
    PrintRequested,
    ProcessingRequested,
    QueryRequested,
    RegistrationRequested,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    ResultRequested,
    Role,
    Scope,
    SoftwareReleaseRequested,
    SoftwareRequested,
    VerificationRequested,
)
from medbus.streams.auth import capacity, payment
from medbus.streams.auth.destinations import elsewhere, recipients, wrong_destination
from medbus.streams.auth.facts import Facts
from medbus.streams.auth.identification import Identity, Refusal, identify
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
    ResultRequested: (Role.IMAGE_RECEIVING,),
    CancellationRequested: (Role.IMAGE_RECEIVING,),
    PrintRequested: _EITHER,
    SoftwareReleaseRequested: (Role.VENDOR,),
    SoftwareRequested: (Role.SOFTWARE_EXECUTING,),
    ActivationRequested: (),
    AccountRequested: (),
}


def decide(facts: Facts, request: Request) -> Decision:
    """The decision on a request; see the module for the rules."""
    identity = identify(request.evidence, facts, request.meta.occurred_at)
    if isinstance(identity, Refusal):
        return rejected(request, identity)
    contract = identity.contract
    refusal = _wrong_role(contract, request) or wrong_destination(contract, facts, request)
    if refusal is not None:
        return rejected(request, refusal)
    scope = _scope(contract, facts, request)
    if isinstance(scope, Refusal):
        return rejected(request, scope)
    refusal = payment.unpaid(contract, facts, request)
    if refusal is not None:
        return rejected(request, refusal)
    max_bytes = capacity.left(contract, facts, request)
    if isinstance(max_bytes, Refusal):
        return rejected(request, max_bytes)
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
        max_images=payment.covered(contract, facts, request),
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
        return _without_rule(contract, type(request).__name__)
    if isinstance(request, ProcessingRequested):
        if request.keep is Keep.UNSPECIFIED:
            return _without_rule(contract, "what is to be kept (keep) of this processing request")
        if request.answer is Answer.UNSPECIFIED:
            return _without_rule(contract, "how the results are to reach their destinations (answer)")
    if isinstance(request, DeliveryRequested) and elsewhere(contract, request):
        needed = _EITHER
    if isinstance(request, AccountRequested) and request.account not in (None, contract.subscriber):
        needed = (Role.AUDITOR, Role.MANAGER)
    if needed and not any(role in contract.terms.roles for role in needed):
        return _lacking(contract, " or ".join(needed))
    if capacity.keeps(request) and Role.IMAGE_REGISTERING not in contract.terms.roles:
        return _lacking(contract, f"{Role.IMAGE_REGISTERING}, without which no image can be kept")
    return None


def _without_rule(contract: Contract, what: str) -> Refusal:
    return Refusal(
        reason=RejectionReason.UNDECIDABLE,
        detail=f"The service has no rule for {what}. Update the service.",
        subscriber=contract.subscriber,
    )


def _lacking(contract: Contract, role: str) -> Refusal:
    return Refusal(
        reason=RejectionReason.WRONG_ROLE,
        detail=f"The contract of {contract.subscriber} lacks the role {role}. "
        "Let the service's manager change the contract.",
        subscriber=contract.subscriber,
    )


def _scope(contract: Contract, facts: Facts, request: Request) -> Scope | Refusal:
    """What both the requester and those who get the images may have, of what is asked for: neither side gets
    the other more than its own contract says."""
    scope: Scope | None = contract.terms.scope
    others: Sequence[Contract] = ()
    if isinstance(request, ProcessingRequested):
        if request.images.empty:
            return Refusal(
                reason=RejectionReason.OUT_OF_SCOPE,
                detail="The request names no image, series or study, and encloses none. "
                "Say which images are to be processed.",
                subscriber=contract.subscriber,
            )
        others = recipients(contract, facts, request)
    if isinstance(request, DeliveryRequested):
        asked = Scope(
            patients=request.patients, registrants=request.registrants, modalities=request.modalities
        )
        scope = common(contract.terms.scope, asked)
        if request.destination is not None and facts.destination is not None:
            others = (facts.destination.contract,)
    whose = contract
    for each in others:
        if scope is not None:
            whose = each
            scope = common(scope, each.terms.scope)
    if scope is None:
        return Refusal(
            reason=RejectionReason.OUT_OF_SCOPE,
            detail=f"No image that was asked for lies within the contract of {whose.subscriber}, which is "
            "about certain patients, registrants or modalities only. Let the service's manager widen it.",
            subscriber=contract.subscriber,
        )
    return scope


def _apparatus_id(identity: Identity, request: Request) -> str | None:
    if isinstance(request, SoftwareRequested):
        return request.apparatus_id
    return None if identity.apparatus is None else identity.apparatus.apparatus_id


def _expiry(facts: Facts, request: Request) -> datetime:
    try:
        return (request.meta.occurred_at + facts.grant_lifetime).astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
