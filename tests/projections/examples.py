"""Events to try, with all that they need."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from msgspec.structs import replace

from medbus.schemas.events import (
    Apparatus,
    Blob,
    ContractCancelled,
    ContractChanged,
    CredentialIssued,
    CredentialKind,
    CredentialRevoked,
    Header,
    ImageConflicted,
    ImageErased,
    ImageRegistered,
    Instance,
    Meta,
    Patient,
    Role,
    Scope,
    Series,
    Study,
    SubscriberActivated,
    SubscriberContracted,
    Terms,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPLICIT = "1.2.840.10008.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
GRANT = UUID(int=7)


def meta(event_id: UUID | None = None, *, minutes: float = 0) -> Meta:
    """The head of an event that happened some minutes after noon."""
    return Meta.first(event_id or uuid4(), source="test", occurred_at=NOON + timedelta(minutes=minutes))


def digest_of(text: str) -> str:
    """A digest that is another one for every text."""
    return "blake3:" + hashlib.sha256(text.encode()).hexdigest()


def image(
    uid: str,
    *,
    study: str = "1.1",
    series: str | None = None,
    patient: str = "P1",
    name: str = "DOE^JANE",
    birth_date: str = "19700101",
    sex: str = "F",
    registrant: str = "A-hospital",
    apparatus: str | None = "A_CT#1",
    modality: str = "CT",
    sop_class: str = CT_IMAGE,
    number: int | None = 1,
    contents: str = "first",
    size: int = 1000,
    imaging_date: str = "20240102",
    conditions: Mapping[str, str] | None = None,
    of_study: Mapping[str, str] | None = None,
    of_series: Mapping[str, str | int | None] | None = None,
    of_instance: Mapping[str, str | int | None] | None = None,
) -> ImageRegistered:
    """An image that was registered. The same UID and contents always give the same event id."""
    digest = digest_of(f"{uid} {contents}")
    return ImageRegistered(
        meta=meta(uuid5(uuid5(NAMESPACE_OID, uid), digest)),
        grant_id=GRANT,
        registrant=registrant,
        apparatus_id=apparatus,
        patient=Patient(
            patient_id=patient, patient_name=name, patient_birth_date=birth_date, patient_sex=sex
        ),
        study=replace(
            Study(
                study_instance_uid=study,
                study_date="20240102",
                study_time="101112",
                accession_number="ACC1",
                study_description="Thorax",
                referring_physician_name="Smith^Anna",
            ),
            **(of_study or {}),
        ),
        series=replace(
            Series(
                series_instance_uid=series or f"{study}.1",
                modality=modality,
                series_number=1,
                series_description="axial",
                body_part_examined="CHEST",
            ),
            **(of_series or {}),
        ),
        instance=replace(
            Instance(
                sop_instance_uid=uid,
                sop_class_uid=sop_class,
                instance_number=number,
                image_type="ORIGINAL\\PRIMARY\\AXIAL",
                imaging_date=imaging_date,
                imaging_time="101500",
                rows=512,
                columns=512,
            ),
            **(of_instance or {}),
        ),
        conditions=dict({"KVP": "120", "ConvolutionKernel": contents} if conditions is None else conditions),
        header=Header(transfer_syntax_uid=EXPLICIT, data=b"\x08\x00\x05\x00"),
        blob=Blob(digest=digest, size=size, transfer_syntax_uid=EXPLICIT),
    )


def erased(event: ImageRegistered) -> ImageErased:
    """The erasure of what an event registered."""
    return ImageErased(
        meta=meta(event.meta.event_id),
        study_instance_uid=event.study.study_instance_uid,
        sop_instance_uid=event.instance.sop_instance_uid,
        digest=event.blob.digest,
        reason="by order",
    )


def conflicted(event: ImageRegistered, contents: str = "other") -> ImageConflicted:
    """Other contents came for an image and were refused by a gateway."""
    uid = event.instance.sop_instance_uid
    refused = Blob(digest=digest_of(f"{uid} {contents}"), size=900, transfer_syntax_uid=EXPLICIT)
    return ImageConflicted(
        meta=meta(uuid5(uuid5(NAMESPACE_OID, uid), f"conflict:{refused.digest}")),
        grant_id=GRANT,
        registrant="B-hospital",
        study_instance_uid=event.study.study_instance_uid,
        sop_instance_uid=uid,
        registered=event.blob,
        refused=refused,
    )


def terms(
    *ae_titles: str, name: str = "A hospital", host: str | None = "10.0.0.7", roles: tuple[Role, ...] = ()
) -> Terms:
    """Terms with an apparatus for each AE title."""
    return Terms(
        name=name,
        roles=roles or (Role.IMAGE_REGISTERING,),
        apparatuses=tuple(
            Apparatus(
                apparatus_id=f"{title}#1", ae_title=title, host=host, port=None if host is None else 104
            )
            for title in ae_titles
        ),
        networks=("10.0.0.0/8",),
        scope=Scope(modalities=("CT",)),
        capacity_bytes=10**12,
    )


def contracted(subscriber: str, made: Terms | None = None, *, minutes: float = 0) -> SubscriberContracted:
    return SubscriberContracted(
        meta=meta(minutes=minutes), subscriber=subscriber, terms=made or terms(subscriber)
    )


def activated(subscriber: str, *, minutes: float = 1) -> SubscriberActivated:
    return SubscriberActivated(meta=meta(minutes=minutes), subscriber=subscriber, program="storescu")


def changed(subscriber: str, made: Terms, *, minutes: float = 2) -> ContractChanged:
    return ContractChanged(meta=meta(minutes=minutes), subscriber=subscriber, terms=made)


def cancelled(subscriber: str, *, minutes: float = 3) -> ContractCancelled:
    return ContractCancelled(meta=meta(minutes=minutes), subscriber=subscriber, reason="moved away")


def issued(
    subscriber: str,
    digest: str,
    *,
    credential_id: UUID | None = None,
    kind: CredentialKind = CredentialKind.BEARER_TOKEN,
    minutes: float = 4,
) -> CredentialIssued:
    return CredentialIssued(
        meta=meta(minutes=minutes),
        subscriber=subscriber,
        credential_id=credential_id or uuid4(),
        kind=kind,
        digest=digest,
        label="terminal",
        expires_at=NOON + timedelta(days=30),
    )


def revoked(subscriber: str, credential_id: UUID, *, minutes: float = 5) -> CredentialRevoked:
    return CredentialRevoked(
        meta=meta(minutes=minutes), subscriber=subscriber, credential_id=credential_id, reason="lost"
    )
