"""What a contract may still register. Pure."""

from medbus.projections.directory.contract import Contract
from medbus.schemas.events import Keep, ProcessingRequested, RegistrationRequested, RejectionReason, Request
from medbus.streams.auth.facts import Facts
from medbus.streams.auth.identification import Refusal

KEPT = (Keep.BEFORE, Keep.AFTER, Keep.BOTH)


def keeps(request: Request) -> bool:
    """Whether it is a processing request of which images are registered."""
    return isinstance(request, ProcessingRequested) and request.keep in KEPT


def registers(request: Request) -> bool:
    """Whether images are registered under its grant."""
    return isinstance(request, RegistrationRequested) or keeps(request)


def left(contract: Contract, facts: Facts, request: Request) -> int | Refusal | None:
    """How many bytes may still be registered; None where there is no limit, or nothing is registered."""
    allocated = contract.terms.capacity_bytes
    if allocated is None or not registers(request):
        return None
    if facts.used_bytes < allocated:
        return allocated - facts.used_bytes
    return Refusal(
        reason=RejectionReason.NO_CAPACITY_LEFT,
        detail=f"{contract.subscriber} has registered {facts.used_bytes} of {allocated} bytes. "
        "Let the service's manager raise the capacity.",
        subscriber=contract.subscriber,
    )
