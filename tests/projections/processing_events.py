"""Events of processing to try, with all that they need."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from tests.projections.examples import CT_IMAGE, EXPLICIT, NOON, digest_of

from medbus.schemas.events import (
    Answer,
    Blob,
    Evidence,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Keep,
    Meta,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    RejectionReason,
    RequestAuthorized,
    RequestRejected,
    ResultsAnswered,
    ResultsKept,
    Scope,
    Selection,
    ServerStarted,
)

GAUSSIAN = "gaussian"


def blob(text: str, size: int = 524_288) -> Blob:
    return Blob(digest=digest_of(text), size=size, transfer_syntax_uid=EXPLICIT)


def processing(
    request_id: UUID | None = None,
    *,
    keep: Keep = Keep.NEITHER,
    answer: Answer = Answer.FETCH,
    destinations: Sequence[str] = (),
    processing_type: str = GAUSSIAN,
) -> ProcessingRequested:
    """A request for processing, in a conversation of its own."""
    return ProcessingRequested(
        meta=Meta.first(request_id or uuid4(), source="http", occurred_at=NOON),
        evidence=Evidence(address="10.0.0.9", token="ab"),
        processing_type=processing_type,
        parameters={"width": "2.5", "resample": "yes"},
        images=Selection(series_instance_uids=("1.1.1",), enclosed=(blob("enclosed"),)),
        keep=keep,
        answer=answer,
        destinations=tuple(destinations),
    )


def granted(request: ProcessingRequested, subscriber: str = "A") -> RequestAuthorized:
    return RequestAuthorized(
        meta=_caused(request, "decision"),
        request_id=request.request_id,
        request="ProcessingRequested",
        subscriber=subscriber,
        scope=Scope(modalities=("CT",)),
        expires_at=NOON + timedelta(hours=1),
    )


def refused(request: ProcessingRequested, subscriber: str | None = "A") -> RequestRejected:
    return RequestRejected(
        meta=_caused(request, "decision"),
        request_id=request.request_id,
        request="ProcessingRequested",
        subscriber=subscriber,
        reason=RejectionReason.WRONG_ROLE,
        detail="it may not receive images",
    )


def started(
    request: ProcessingRequested, items: int, images: int | None = None, subscriber: str = "A"
) -> ProcessingStarted:
    return ProcessingStarted(
        meta=_caused(request, "started"),
        grant_id=request.request_id,
        subscriber=subscriber,
        processing_type=request.processing_type,
        version=1,
        items=items,
        images=items if images is None else images,
    )


def planned(
    request: ProcessingRequested,
    item: int,
    *,
    slot: int = 0,
    server: str | None = None,
    identity: str | None = None,
) -> ItemPlanned:
    return ItemPlanned(
        meta=_caused(request, f"item:{item}"),
        grant_id=request.request_id,
        subscriber="A",
        item=item,
        slot=slot,
        server=server,
        identity=identity or identity_of(request, item),
        processing_type=request.processing_type,
        version=1,
        parameters=request.parameters,
        images=(blob(f"image {item}"),),
    )


def identity_of(request: ProcessingRequested, item: int) -> str:
    return digest_of(f"{request.request_id} {item}")


def image_processed(request: ProcessingRequested, item: int, number: int = 0) -> ImageProcessed:
    uid = f"2.25.{request.request_id.int}.{item}.{number}"
    return ImageProcessed(
        meta=_caused(request, f"item:{item}:image:{number}"),
        grant_id=request.request_id,
        subscriber="A",
        item=item,
        number=number,
        processing_type=request.processing_type,
        description="gaussian 2.5 mm",
        study_instance_uid="1.1",
        series_instance_uid=f"2.25.{request.request_id.int}",
        sop_class_uid=CT_IMAGE,
        sop_instance_uid=uid,
        blob=blob(uid),
    )


def item_processed(
    request: ProcessingRequested,
    item: int,
    *,
    server: str | None = "500-1",
    identity: str | None = None,
    images: int = 1,
    results: int = 1,
    findings: Sequence[str] = (),
) -> ItemProcessed:
    return ItemProcessed(
        meta=_caused(request, f"item:{item}:processed"),
        grant_id=request.request_id,
        subscriber="A",
        item=item,
        identity=identity or identity_of(request, item),
        server=server,
        images=images,
        bytes=1000 * images,
        milliseconds=10 * images,
        results=results,
        findings=tuple(findings),
    )


def failed(
    request: ProcessingRequested,
    item: int | None = None,
    reason: str = "no pixels",
    server: str | None = "500-1",
) -> ProcessingFailed:
    return ProcessingFailed(
        meta=_caused(request, f"item:{item}:failed"),
        grant_id=request.request_id,
        subscriber="A",
        item=item,
        server=server,
        reason=reason,
    )


def skipped(request: ProcessingRequested, item: int) -> ItemSkipped:
    meta = _caused(request, f"item:{item}:skipped")
    return ItemSkipped(meta=meta, grant_id=request.request_id, subscriber="A", item=item)


def cancelled(request: ProcessingRequested) -> ProcessingCancelled:
    meta = _caused(request, "cancelled")
    return ProcessingCancelled(meta=meta, grant_id=request.request_id, subscriber="A", by="A")


def completed(request: ProcessingRequested) -> ProcessingCompleted:
    return ProcessingCompleted(
        meta=_caused(request, "completed"),
        grant_id=request.request_id,
        subscriber="A",
        processing_type=request.processing_type,
        sessions=1,
        images=1,
        bytes=1000,
        milliseconds=10,
    )


def kept(request: ProcessingRequested) -> ResultsKept:
    meta = _caused(request, "kept")
    return ResultsKept(meta=meta, grant_id=request.request_id, subscriber="A", registered=1)


def answered(request: ProcessingRequested, destination: str = "A", *, delivered: int = 1) -> ResultsAnswered:
    return ResultsAnswered(
        meta=_caused(request, f"answered:{destination}"),
        grant_id=request.request_id,
        subscriber="A",
        destination=destination,
        answer=Answer.C_STORE,
        address="10.0.0.7:104",
        delivered=delivered,
        failed=0,
        attempts=1,
    )


def server_started(server: str, cores: int = 4, *, minutes: float = 0) -> ServerStarted:
    at = NOON + timedelta(minutes=minutes)
    return ServerStarted(
        meta=Meta.first(uuid4(), source="processing", occurred_at=at), server=server, cores=cores
    )


def _caused(request: ProcessingRequested, kind: str) -> Meta:
    return request.meta.caused(kind, source="processing", occurred_at=NOON, actor="A")
