"""From the head of a data set and a grant to the event that registers it. Pure: time and blobs are given."""

from datetime import datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from medbus.gateways.dicom.dataset import Head
from medbus.schemas.errors import InvalidEvent
from medbus.schemas.events.base import Blob, Meta
from medbus.schemas.events.decisions import RequestAuthorized
from medbus.schemas.events.images import Header, ImageConflicted, ImageRegistered


def registered(
    head: Head,
    *,
    blob: Blob,
    header_blob: Blob | None,
    grant: RequestAuthorized,
    occurred_at: datetime,
    source: str,
) -> ImageRegistered:
    """The event that registers an image.

    Its id comes from the SOP Instance UID and the contents, so that the same image sent twice, in whatever
    conversation and by whatever gateway, gives the same event.

    Args:
        head: of the data set.
        blob: where the whole data set is durable.
        header_blob: where `head.header` is durable; needed if `head.header_is_large`, else None.
        grant: under which it came; registrant and apparatus are the grant's.
        occurred_at: now, UTC.
        source: the gateway.

    Raises:
        InvalidEvent: the header is large and was not stored.
    """
    if head.header_is_large and header_blob is None:
        raise InvalidEvent(
            f"The header of {head.instance.sop_instance_uid} is too large for an event.",
            "Store it as a blob first.",
        )
    return ImageRegistered(
        meta=_meta(
            head.instance.sop_instance_uid, blob.digest, grant, occurred_at=occurred_at, source=source
        ),
        grant_id=grant.request_id,
        registrant=grant.subscriber,
        apparatus_id=grant.apparatus_id,
        patient=head.patient,
        study=head.study,
        series=head.series,
        instance=head.instance,
        conditions=head.conditions,
        header=Header(
            transfer_syntax_uid=head.header_transfer_syntax_uid,
            data=head.header if header_blob is None else None,
            blob=header_blob,
        ),
        blob=blob,
    )


def conflicted(
    head: Head,
    *,
    registered: Blob,
    refused: Blob,
    grant: RequestAuthorized,
    occurred_at: datetime,
    source: str,
    study_instance_uid: str | None = None,
) -> ImageConflicted:
    """The event that says that other contents came under a SOP Instance UID that is registered.

    Args:
        head: of the data set that came.
        registered: what is registered and stays served.
        refused: what came, durable too.
        grant, occurred_at, source: as for `registered`.
        study_instance_uid: of the study that the registered image is in; by default the one that came.
    """
    return ImageConflicted(
        meta=_meta(
            head.instance.sop_instance_uid,
            f"conflict:{refused.digest}",
            grant,
            occurred_at=occurred_at,
            source=source,
        ),
        grant_id=grant.request_id,
        registrant=grant.subscriber,
        study_instance_uid=study_instance_uid or head.study.study_instance_uid,
        sop_instance_uid=head.instance.sop_instance_uid,
        registered=registered,
        refused=refused,
    )


def event_id(sop_instance_uid: str, kind: str) -> UUID:
    """The id of an event about an instance.

    Args:
        sop_instance_uid: the instance.
        kind: the digest of what is registered, or `conflict:` and the digest of what is refused.
    """
    return uuid5(uuid5(NAMESPACE_OID, sop_instance_uid), kind)


def _meta(
    sop_instance_uid: str, kind: str, grant: RequestAuthorized, *, occurred_at: datetime, source: str
) -> Meta:
    return Meta(
        event_id=event_id(sop_instance_uid, kind),
        cause_id=grant.meta.event_id,
        correlation_id=grant.meta.correlation_id,
        actor=grant.subscriber,
        source=source,
        occurred_at=occurred_at,
    )
