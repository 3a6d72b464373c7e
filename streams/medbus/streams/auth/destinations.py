"""Where images may go. Pure."""

from medbus.projections.directory.contract import Contract
from medbus.schemas.events import (
    Answer,
    DeliveryRequested,
    PrintRequested,
    ProcessingRequested,
    RejectionReason,
    Request,
    Role,
    SoftwareRequested,
)
from medbus.streams.auth.facts import Destination, Facts
from medbus.streams.auth.identification import Refusal, apparatus_called, shown

MOST_RECIPIENTS = 64
"""To how many subscribers the results of one processing request may go."""

_CHECK = "Check the name, or let the service's manager enter it."


def wrong_destination(contract: Contract, facts: Facts, request: Request) -> Refusal | None:
    """Why images can't go where they are to go; None if they can."""
    problem: str | None = None
    match request:
        case DeliveryRequested(destination=str(destination)):
            problem = _wrong_apparatus(destination, facts.destination)
        case PrintRequested(device=name):
            device = facts.device
            if device is None or not device.live or Role.HARD_COPY_DEVICE not in device.terms.roles:
                problem = f"{shown(name)} is no subscriber with the role HARD_COPY_DEVICE. {_CHECK}"
        case SoftwareRequested(apparatus_id=apparatus_id):
            return _wrong_executor(contract, apparatus_id)
        case ProcessingRequested():
            problem = _wrong_recipient(contract, facts, request)
    if problem is None:
        return None
    return Refusal(reason=RejectionReason.UNKNOWN_DESTINATION, detail=problem, subscriber=contract.subscriber)


def elsewhere(contract: Contract, request: DeliveryRequested) -> bool:
    """Whether a delivery is to somebody other than the requester."""
    return request.destination is not None and apparatus_called(contract.terms, request.destination) is None


def recipients(contract: Contract, facts: Facts, request: ProcessingRequested) -> list[Contract]:
    """The contracts of those who get results, as far as they are known; the requester's if none is named."""
    names = dict.fromkeys(request.destinations or (contract.subscriber,))
    found = (_recipient(contract, facts, name) for name in names)
    return [each for each in found if each is not None]


def _recipient(contract: Contract, facts: Facts, name: str) -> Contract | None:
    if name == contract.subscriber:
        return contract
    found = facts.recipients.get(name)
    return found if found is not None and found.subscriber == name else None


def _wrong_apparatus(title: str, where: Destination | None) -> str | None:
    if where is None or where.apparatus.host is None or where.apparatus.port is None:
        problem = "is no apparatus of a subscriber with a host and a port"
    elif where.apparatus.ae_title != title.strip(" "):
        problem = "is not what was looked up"
    elif not where.contract.live:
        problem = "belongs to a contract that was cancelled"
    elif Role.IMAGE_RECEIVING not in where.contract.terms.roles:
        problem = "belongs to a contract without the role IMAGE_RECEIVING"
    else:
        return None
    return f"{shown(title)} {problem}. {_CHECK}"


def _wrong_executor(contract: Contract, apparatus_id: str) -> Refusal | None:
    if any(each.apparatus_id == apparatus_id for each in contract.terms.apparatuses):
        return None
    return Refusal(
        reason=RejectionReason.OUT_OF_SCOPE,
        detail=f"{shown(apparatus_id)} is no apparatus of {contract.subscriber}. "
        "Let the service's manager add it to the contract.",
        subscriber=contract.subscriber,
    )


def _wrong_recipient(contract: Contract, facts: Facts, request: ProcessingRequested) -> str | None:
    if len(request.destinations) > MOST_RECIPIENTS:
        return (
            f"Results can go to {MOST_RECIPIENTS} destinations at most, not to {len(request.destinations)}. "
            "Name fewer, or ask several times."
        )
    for name in request.destinations or (contract.subscriber,):
        problem = _unreachable(_recipient(contract, facts, name), request.answer)
        if problem is not None:
            return f"{shown(name)} {problem}"
    return None


def _unreachable(recipient: Contract | None, answer: Answer) -> str | None:
    """Why a subscriber can't be given results, and what to do; None if it can."""
    if recipient is None:
        return "is no subscriber. Check the name, or let the service's manager make a contract with it."
    terms = recipient.terms
    if not recipient.live:
        return "has a contract that was cancelled. Leave it out, or let the service's manager make a new one."
    if Role.IMAGE_RECEIVING not in terms.roles:
        return "has a contract without the role IMAGE_RECEIVING. Let the service's manager change it."
    if answer is Answer.C_STORE and not any(
        each.host is not None and each.port is not None for each in terms.apparatuses
    ):
        return (
            "has no apparatus with a host and a port, to which results could be sent by C_STORE. "
            "Let the service's manager add one to its contract, or fetch the results."
        )
    if answer is Answer.WEBHOOK and terms.webhook is None:
        return (
            "has no webhook to which results could be announced. "
            "Let the service's manager enter one in its contract, or fetch the results."
        )
    return None
