"""What a webhook says, for whoever posts it and whoever receives it. Pure.

A webhook is a POST of JSON (`Announcement`) with the header `Medbus-Signature: t=SECONDS,v1=HEX`. A receiver
takes it like this, in any language:

1. Read the body as bytes, before anything decodes it.
2. Compute HMAC-SHA256 over `SECONDS`, a full stop and the body, with the secret of the contract as it is
   printed (its characters, not what they are in hexadecimal), and compare it with HEX in constant time.
3. Refuse it if SECONDS (since 1970) is more than five minutes from the clock: it was sent before.
4. Answer 2xx at once, and work afterwards. `id` is the same whenever the announcement comes again, which it
   does until the answer is 2xx: whoever has seen it answers 2xx and does nothing. 410 ends it for good.

`received` is these steps in Python.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from medbus.gateways.http import signature
from medbus.projections.processing import Job, StoredResult
from medbus.schemas.errors import MedbusError

MOST_RESULTS = 1000
"""Results that are listed in an announcement; all of them are listed by the service."""


class Malformed(MedbusError):
    """A body that is signed, but is no announcement."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of work items, and of results."""

    items: int
    done: int
    failed: int
    skipped: int
    results: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An image that can be fetched: `path` is what follows the address of the service."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    description: str
    size: int
    path: str


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook.

    Attributes:
        id: the same whenever this announcement comes.
        processing_id: of the request.
        state: completed, cancelled or failed.
        reason: why it failed as a whole.
        processing_type: what was done.
        parameters: as asked for.
        sender: the subscriber that asked.
        destination: the subscriber that this is for.
        requested_at, completed_at: when.
        counts: of items and results.
        path: where all that is known of the request can be fetched.
        results: the first of them.
        left_off: how many more there are.
    """

    id: UUID
    processing_id: UUID
    state: str
    reason: str
    processing_type: str
    parameters: dict[str, str]
    sender: str
    destination: str
    requested_at: datetime
    completed_at: datetime | None
    counts: Counts
    path: str
    results: tuple[Result, ...]
    left_off: int = 0


_decoder = msgspec.json.Decoder(Announcement)


def announcement(
    job: Job,
    results: Sequence[StoredResult],
    *,
    answer_id: UUID,
    sender: str,
    destination: str,
) -> bytes:
    """The body for a destination.

    Args:
        job: the request.
        results: of it, the first ones.
        answer_id: of the event that will say how it ended.
        sender: who asked.
        destination: whom it is for.
    """
    path = f"/processing/{job.request_id}"
    listed = tuple(
        Result(
            study_instance_uid=each.study_instance_uid,
            series_instance_uid=each.series_instance_uid,
            sop_class_uid=each.sop_class_uid,
            sop_instance_uid=each.sop_instance_uid,
            description=each.description,
            size=each.blob.size,
            path=f"{path}/results/{each.sop_instance_uid}",
        )
        for each in results[:MOST_RESULTS]
    )
    return msgspec.json.encode(
        Announcement(
            id=answer_id,
            processing_id=job.request_id,
            state=job.state.value.lower(),
            reason=job.reason,
            processing_type=job.processing_type,
            parameters=job.parameters,
            sender=sender,
            destination=destination,
            requested_at=job.requested_at,
            completed_at=job.completed_at,
            counts=Counts(
                items=job.items, done=job.done, failed=job.failed, skipped=job.skipped, results=job.results
            ),
            path=path,
            results=listed,
            left_off=max(0, job.results - len(listed)),
        )
    )


def received(header: str, body: bytes, secrets: Sequence[str], now: datetime) -> Announcement:
    """Check a webhook that came, and read it.

    Args:
        header: the value of Medbus-Signature; empty if there is none.
        body: as it came.
        secrets: of the contract; several while it changes.
        now: the time.

    Raises:
        BadSignature: it does not come from the service, or it is old: answer 401 and forget it.
        Malformed: it says something else.
    """
    signature.verify(header, body, secrets, now)
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise Malformed(f"The webhook is no announcement: {error}.") from error
