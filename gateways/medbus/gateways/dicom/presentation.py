"""Which service a presentation context is about, and the answer to it (PS3.8 7.1.1.13, PS3.7 D.3.3.4)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"


class Operation(StrEnum):
    """What a query/retrieve SOP class does."""

    FIND = "FIND"
    MOVE = "MOVE"
    GET = "GET"


class Root(StrEnum):
    """The information models of query/retrieve (PS3.4 C.6)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    PATIENT_STUDY_ONLY = "PATIENT_STUDY_ONLY"


QUERY_RETRIEVE: dict[str, tuple[Root, Operation]] = {
    f"1.2.840.10008.5.1.4.1.2.{number}.{operation}": (root, name)
    for number, root in ((1, Root.PATIENT), (2, Root.STUDY), (3, Root.PATIENT_STUDY_ONLY))
    for operation, name in ((1, Operation.FIND), (2, Operation.MOVE), (3, Operation.GET))
}

UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Transfer syntaxes of everything but stored images."""


BIG_ENDIAN = str(ExplicitVRBigEndian)


class Service(StrEnum):
    """What an association may be granted."""

    VERIFICATION = "VERIFICATION"
    REGISTRATION = "REGISTRATION"
    QUERY = "QUERY"


class Result(IntEnum):
    """Result of a presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A presentation context that a requester proposes.

    Attributes:
        context_id: odd, 1 to 255.
        abstract_syntax: a SOP class.
        transfer_syntaxes: in the requester's order.
        scu: whether the requester would be the SCU; without role selection it is.
        scp: whether the requester would be the SCP.
        roles_proposed: whether it sent a role selection for the abstract syntax.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    scu: bool = True
    scp: bool = False
    roles_proposed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a proposal. The roles are the requester's; without acceptance there are none."""

    proposal: Proposal
    result: Result
    transfer_syntax: str
    scu: bool = False
    scp: bool = False


def is_storage(abstract_syntax: str) -> bool:
    """Whether a SOP class is one of storage: private and unknown ones are taken to be."""
    uid = UID(abstract_syntax)
    if abstract_syntax == STORAGE_COMMITMENT or abstract_syntax in QUERY_RETRIEVE:
        return False
    if uid.type == "":  # private, or newer than the dictionary
        return True
    if uid.type != "SOP Class":
        return False
    return uid.name == "" or ("Storage" in uid.name and "Commitment" not in uid.name)


def services(proposals: Iterable[Proposal]) -> dict[Service, tuple[str, ...]]:
    """The services that an association needs, each with its SOP classes, sorted.

    Verification is in the answer only if nothing else is: any other grant includes it. Storage with the
    requester as SCU, and storage commitment, are registration; storage with the requester as SCP (for C-GET)
    is part of a query.
    """
    needed: dict[Service, set[str]] = {}
    for each in proposals:
        for service in _services_of(each):
            needed.setdefault(service, set()).add(each.abstract_syntax)
    if len(needed) > 1:
        needed.pop(Service.VERIFICATION, None)
    return {service: tuple(sorted(uids)) for service, uids in sorted(needed.items())}


def negotiate(proposals: Sequence[Proposal], granted: Collection[Service]) -> list[Answer]:
    """The answer to each proposal, in the order of the proposals.

    Storage takes the first transfer syntax that the requester names, whatever it is: senders name first what
    they have, and recipients what they like best. An image that is stored in another one travels as stored
    only under a context of its own, and fails under this one if it can't be converted; into big endian
    nothing is converted, so that is passed over for images to the requester if there is a choice.
    """
    return [_answer(each, granted) for each in proposals]


def _services_of(proposal: Proposal) -> set[Service]:
    uid = proposal.abstract_syntax
    if uid == VERIFICATION:
        return {Service.VERIFICATION}
    if uid == STORAGE_COMMITMENT:
        return {Service.REGISTRATION}
    if uid in QUERY_RETRIEVE:
        return {Service.QUERY}
    if not is_storage(uid):
        return set()
    return ({Service.REGISTRATION} if proposal.scu else set()) | ({Service.QUERY} if proposal.scp else set())


def _answer(proposal: Proposal, granted: Collection[Service]) -> Answer:
    def refused(result: Result) -> Answer:
        first = proposal.transfer_syntaxes[0] if proposal.transfer_syntaxes else UNCOMPRESSED[1]
        return Answer(proposal=proposal, result=result, transfer_syntax=first)

    uid = proposal.abstract_syntax
    wanted = _services_of(proposal)
    if not wanted:
        known = uid == STORAGE_COMMITMENT or uid in QUERY_RETRIEVE or is_storage(uid)
        return refused(Result.USER_REJECTION if known else Result.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    allowed = bool(granted) if uid == VERIFICATION else bool(wanted & set(granted))
    if not allowed:
        return refused(Result.USER_REJECTION)
    uncompressed = [syntax for syntax in proposal.transfer_syntaxes if syntax in UNCOMPRESSED]
    if not is_storage(uid):
        if not uncompressed:
            return refused(Result.TRANSFER_SYNTAXES_NOT_SUPPORTED)
        return Answer(
            proposal=proposal, result=Result.ACCEPTANCE, transfer_syntax=uncompressed[0], scu=proposal.scu
        )
    if not proposal.transfer_syntaxes:
        return refused(Result.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    scu = proposal.scu and Service.REGISTRATION in granted
    scp = proposal.scp and Service.QUERY in granted
    syntax = proposal.transfer_syntaxes[0]
    if not scu:
        syntax = next((each for each in proposal.transfer_syntaxes if each != BIG_ENDIAN), syntax)
    return Answer(proposal=proposal, result=Result.ACCEPTANCE, transfer_syntax=syntax, scu=scu, scp=scp)
