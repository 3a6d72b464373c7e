"""The answer to a request that could not be decided, so that no requester waits in vain."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from medbus.bus import Record, Undecodable
from medbus.schemas.events import Event, Meta, RejectionReason, Request, RequestRejected
from medbus.streams.auth.decider import KIND, NAME, rejected
from medbus.streams.auth.identification import Refusal

_DETAIL = (
    "The service could not decide about this request. Try again later; the service's manager finds what went "
    "wrong in the dead letters."
)


def refuse(record: Record, error: str) -> Sequence[Event]:
    """The rejection of a request that could not be handled; none where the record does not even tell its
    id."""
    if isinstance(record.event, Request):
        return (rejected(record.event, Refusal(reason=RejectionReason.UNDECIDABLE, detail=_DETAIL)),)
    if not isinstance(record.event, Undecodable):
        return ()
    try:
        request_id = UUID((record.event.key or b"").decode())
    except ValueError:
        return ()
    return (
        RequestRejected(
            meta=Meta(
                event_id=uuid5(request_id, KIND),
                cause_id=request_id,
                correlation_id=request_id,
                source=NAME,
                occurred_at=record.timestamp,
            ),
            request_id=request_id,
            reason=RejectionReason.UNDECIDABLE,
            detail=_DETAIL,
        ),
    )
