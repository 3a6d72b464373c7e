"""From association requests to proposals, and from answers to responses (PS3.8 7.1.1, PS3.7 D.3.3). Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from medbus.gateways.dicom.network import MAXIMUM_PDU, WINDOW
from medbus.gateways.dicom.network.association import Context
from medbus.gateways.dicom.outgoing import Contexts
from medbus.gateways.dicom.presentation import Answer, Proposal, Result
from medbus.gateways.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from medbus.gateways.dicom.upper.pdu import (
    AssociateAccept,
    AssociateRequest,
    ProposedContext,
    ResultContext,
    RoleSelection,
    UserInformation,
)

_NO_SYNTAX: Final = "1.2.840.10008.1.2"
"""What stands in a refusal; it says nothing (PS3.8 9.3.3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What both sides agreed on.

    Attributes:
        accept: the A-ASSOCIATE-AC.
        contexts: those accepted.
        maximum: the longest P-DATA-TF that the peer takes, in bytes; 0: any.
        window_in: operations that the peer may have under way here at once.
        window_out: operations that this side may have under way there at once.
    """

    accept: AssociateAccept
    contexts: tuple[Context, ...]
    maximum: int
    window_in: int
    window_out: int


def proposals(request: AssociateRequest) -> list[Proposal]:
    """What a peer proposes; a context without an abstract syntax is none."""
    roles = {each.sop_class_uid: (each.scu, each.scp) for each in request.user.roles}
    found: list[Proposal] = []
    for context in request.contexts:
        uid = context.abstract_syntax
        if not uid:
            continue
        scu, scp = roles.get(uid, (True, False))
        found.append(
            Proposal(
                context_id=context.context_id,
                abstract_syntax=uid,
                transfer_syntaxes=context.transfer_syntaxes,
                scu=scu,
                scp=scp,
                roles_proposed=uid in roles,
            )
        )
    return found


def agree(request: AssociateRequest, answers: Sequence[Answer]) -> Agreed:
    """The response to a request, of which the service has answered the proposals."""
    answered = {answer.proposal.context_id: answer for answer in answers}
    results: list[ResultContext] = []
    for each in request.contexts:
        answer = answered.get(each.context_id)
        result = Result.ABSTRACT_SYNTAX_NOT_SUPPORTED if answer is None else answer.result
        syntax = _NO_SYNTAX if answer is None else answer.transfer_syntax
        results.append(ResultContext(context_id=each.context_id, result=int(result), transfer_syntax=syntax))
    accepted = [answer for answer in answers if answer.result is Result.ACCEPTANCE]
    roles = {
        answer.proposal.abstract_syntax: RoleSelection(
            sop_class_uid=answer.proposal.abstract_syntax, scu=answer.scu, scp=answer.scp
        )
        for answer in accepted
        if answer.proposal.roles_proposed
    }
    window = None if request.user.window is None else _within(request.user.window)
    accept = AssociateAccept(
        called_ae_title=_plain(request.called_ae_title),
        calling_ae_title=_plain(request.calling_ae_title),
        contexts=tuple(results),
        user=_ourselves(tuple(roles.values()), window),
    )
    window_in, window_out = window or (1, 1)
    return Agreed(
        accept=accept,
        contexts=tuple(
            Context(
                context_id=answer.proposal.context_id,
                abstract_syntax=answer.proposal.abstract_syntax,
                transfer_syntax=answer.transfer_syntax,
                scu=answer.scp,
                scp=answer.scu,
            )
            for answer in accepted
        ),
        maximum=request.user.maximum_length,
        window_in=window_in,
        window_out=window_out,
    )


def request(
    calling: str, called: str, contexts: Contexts, *, receiving: Collection[str] = ()
) -> AssociateRequest:
    """What this side proposes.

    Args:
        calling: this side's AE title.
        called: the peer's.
        contexts: at most 128.
        receiving: SOP classes for which this side takes the SCP role, and only that.
    """
    return AssociateRequest(
        called_ae_title=_plain(called),
        calling_ae_title=_plain(calling),
        contexts=tuple(
            ProposedContext(context_id=2 * index + 1, abstract_syntax=uid, transfer_syntaxes=tuple(syntaxes))
            for index, (uid, syntaxes) in enumerate(contexts)
        ),
        user=_ourselves(
            tuple(RoleSelection(sop_class_uid=uid, scu=False, scp=True) for uid in receiving), (WINDOW, 1)
        ),
    )


def outcome(proposed: AssociateRequest, answer: AssociateAccept) -> Agreed:
    """What is agreed once the peer has accepted. Answers that fit no proposal are left out."""
    asked = {each.context_id: each for each in proposed.contexts}
    wanted = {each.sop_class_uid for each in proposed.user.roles}
    roles = {each.sop_class_uid: each for each in answer.user.roles}
    contexts: list[Context] = []
    for result in answer.contexts:
        proposal = asked.get(result.context_id)
        if (
            proposal is None
            or result.result != Result.ACCEPTANCE
            or result.transfer_syntax not in proposal.transfer_syntaxes
        ):
            continue
        uid = proposal.abstract_syntax
        role = roles.get(uid)
        turned = role is not None and uid in wanted
        contexts.append(
            Context(
                context_id=result.context_id,
                abstract_syntax=uid,
                transfer_syntax=result.transfer_syntax,
                scu=not turned,
                scp=turned and role is not None and role.scp,
            )
        )
    window = answer.user.window
    return Agreed(
        accept=answer,
        contexts=tuple(contexts),
        maximum=answer.user.maximum_length,
        window_in=1,
        window_out=1 if window is None else _within(window)[0],
    )


def _within(window: tuple[int, int]) -> tuple[int, int]:
    """The window that the peer wants, as far as this side goes; 0 is any number."""
    invoked, performed = window
    return min(invoked or WINDOW, WINDOW), min(performed or WINDOW, WINDOW)


def _ourselves(roles: tuple[RoleSelection, ...], window: tuple[int, int] | None) -> UserInformation:
    return UserInformation(
        maximum_length=MAXIMUM_PDU,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        window=window,
        roles=roles,
    )


def _plain(ae_title: str) -> str:
    return ae_title.encode("ascii", "replace").decode()[:16]
