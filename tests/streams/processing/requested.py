"""Requests for processing, and objects to process, that tests make themselves."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from medbus.blobs import address_of
from medbus.schemas.events import (
    Answer,
    Blob,
    Evidence,
    Header,
    ImageRegistered,
    Instance,
    Keep,
    Meta,
    Patient,
    ProcessingRequested,
    RequestAuthorized,
    Scope,
    Selection,
    Series,
    Study,
)
from medbus.streams.processing.planning.inputs import Input
from medbus.streams.processing.planning.plan import Origin

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT = "1.2.840.10008.1.2.1"


def blob(name: str, size: int = 100) -> Blob:
    """The blob of an object that is called so."""
    return Blob(digest=address_of(name.encode()), size=size, transfer_syntax_uid=EXPLICIT)


def one(name: str, *, series: str = "1.1", number: int | None = None, reason: str = "") -> Input:
    """An object; its name is its UID and decides its digest."""
    return Input(
        study_instance_uid="1",
        series_instance_uid=series,
        sop_instance_uid=name,
        sop_class_uid=CT,
        instance_number=number,
        blob=blob(name),
        reason=reason,
    )


def several(count: int, series: str = "1.1") -> list[Input]:
    """The objects 1, 2, … of a series."""
    return [one(f"{series}.{number}", series=series, number=number) for number in range(1, count + 1)]


def requested(
    processing_type: str = "gaussian",
    parameters: dict[str, str] | None = None,
    *,
    images: Selection = Selection(),  # noqa: B008
    masks: Selection = Selection(),  # noqa: B008
    server: str | None = None,
    at: datetime = AT,
) -> ProcessingRequested:
    """A request to smooth images."""
    return ProcessingRequested(
        meta=Meta.first(uuid4(), source="test", occurred_at=at),
        evidence=Evidence(calling_ae_title="A_WS1", address="127.0.0.1"),
        processing_type=processing_type,
        parameters={"sigma": "1"} if parameters is None else parameters,
        images=images,
        masks=masks,
        keep=Keep.NEITHER,
        answer=Answer.FETCH,
        server=server,
    )


def grant(request: ProcessingRequested, scope: Scope = Scope()) -> RequestAuthorized:  # noqa: B008
    """The decision that a request is legitimate."""
    at = request.meta.occurred_at
    return RequestAuthorized(
        meta=request.meta.caused("decision", source="auth", occurred_at=at, actor="A"),
        request_id=request.request_id,
        request=ProcessingRequested.__name__,
        subscriber="A",
        scope=scope,
        expires_at=at + timedelta(hours=1),
    )


def origin() -> Origin:
    """A decision on a request that is always the same."""
    request_id = UUID(int=1)
    meta = Meta.first(request_id, source="test", occurred_at=AT)
    return Origin(
        RequestAuthorized(
            meta=meta.caused("decision", source="auth", occurred_at=AT, actor="A"),
            request_id=request_id,
            request=ProcessingRequested.__name__,
            subscriber="A",
            scope=Scope(),
            expires_at=AT + timedelta(hours=1),
        ),
        AT,
    )


def registered(each: Input, *, patient: str = "P1") -> ImageRegistered:
    """An object that the image catalog will have."""
    return ImageRegistered(
        meta=Meta.first(uuid4(), source="test", occurred_at=AT),
        grant_id=uuid4(),
        registrant="A",
        patient=Patient(patient_id=patient),
        study=Study(study_instance_uid=each.study_instance_uid),
        series=Series(series_instance_uid=each.series_instance_uid, modality="CT"),
        instance=Instance(
            sop_instance_uid=each.sop_instance_uid,
            sop_class_uid=each.sop_class_uid,
            instance_number=each.instance_number,
        ),
        conditions={},
        header=Header(transfer_syntax_uid=EXPLICIT, data=b""),
        blob=each.blob,
    )


def of_kind(events: Sequence[Any], kind: type[Any]) -> list[Any]:
    """The events of a class, in their order."""
    return [each for each in events if isinstance(each, kind)]
