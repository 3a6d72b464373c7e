"""The DIMSE messages that this side sends (PS3.7 9.1, 9.3, 10.3), whatever carries them. Pure."""

from typing import Final

from medbus.gateways.dicom.command import MEDIUM_PRIORITY, Command, Field
from medbus.gateways.dicom.outgoing import Counts, Outgoing
from medbus.gateways.dicom.presentation import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from medbus.gateways.dicom.status import Code, Outcome

_PDV_HEADER: Final = 6
"""Length, context id and control header of a PDV, counted in the maximum length (PS3.8 D.1)."""


def response(
    request: Command,
    outcome: Outcome,
    *,
    has_data: bool = False,
    counts: Counts | None = None,
    remaining: bool = False,
) -> Command:
    """The response to a request.

    Args:
        request: it.
        outcome: status and Error Comment.
        has_data: whether an identifier follows.
        counts: of sub-operations, where there are some.
        remaining: whether the remaining sub-operations are told.
    """
    return Command(
        field=request.field,
        response=True,
        has_data=has_data,
        responds_to=request.message_id or 0,
        affected_class=request.affected_class or request.requested_class,
        affected_instance=request.affected_instance or request.requested_instance,
        action_type=request.action_type,
        status=outcome.code,
        error_comment=outcome.comment,
        remaining=counts.remaining if counts is not None and remaining else None,
        completed=counts.completed if counts is not None else None,
        failed=counts.failed if counts is not None else None,
        warning=counts.warning if counts is not None else None,
    )


def store_request(image: Outgoing, message_id: int) -> Command:
    """The C-STORE of an image."""
    originator, originator_message_id = image.originator or ("", None)
    return Command(
        field=Field.C_STORE,
        has_data=True,
        message_id=message_id,
        priority=MEDIUM_PRIORITY,
        affected_class=image.sop_class_uid,
        affected_instance=image.sop_instance_uid,
        originator=originator,
        originator_message_id=originator_message_id,
    )


def commitment_report(event_type: int, message_id: int | None = None) -> Command:
    """The N-EVENT-REPORT of storage commitment (PS3.4 J.3.3)."""
    return Command(
        field=Field.N_EVENT_REPORT,
        has_data=True,
        message_id=message_id,
        affected_class=STORAGE_COMMITMENT,
        affected_instance=STORAGE_COMMITMENT_INSTANCE,
        event_type=event_type,
    )


def outcome_of(answer: Command) -> Outcome:
    """Status and Error Comment of a response."""
    status = Code.PROCESSING_FAILURE if answer.status is None else answer.status
    return Outcome(status, answer.error_comment)


def next_message_id(previous: int) -> int:
    """Message ids are US and run round."""
    return previous % 65535 + 1


def fragment_length(maximum: int, ours: int) -> int:
    """Bytes of a message that go into one P-DATA-TF.

    Args:
        maximum: the longest that the peer takes, in bytes; 0: any.
        ours: the longest that this side sends.
    """
    return max(min(maximum or ours, ours) - _PDV_HEADER, 1)
