"""From head and grant to event: ids, what is in it, and that it fits."""

from datetime import UTC, datetime
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from tests.dicom_files import part10, wheel_file
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, ct, element, encode, identified

from medbus.gateways.dicom.dataset import HEADER_IN_EVENT, Head, read_head
from medbus.gateways.dicom.registration import conflicted, registered
from medbus.schemas.codec import Codec
from medbus.schemas.errors import InvalidEvent
from medbus.schemas.events import Blob, Meta, RequestAuthorized, Scope
from medbus.schemas.registry import Registry

CODEC = Codec(Registry.of_this_program())
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
BLOB = Blob(digest="blake3:" + "a" * 64, size=1234, transfer_syntax_uid=EXPLICIT)
OTHER = Blob(digest="blake3:" + "b" * 64, size=1235, transfer_syntax_uid=EXPLICIT)


def grant(number: int = 1, *, apparatus_id: str | None = "A_CT#1") -> RequestAuthorized:
    request = Meta.first(UUID(int=number), source="gateway", occurred_at=NOW, actor="A-hospital")
    return RequestAuthorized(
        meta=request.caused("decision", source="auth", occurred_at=NOW),
        request_id=request.event_id,
        subscriber="A-hospital",
        apparatus_id=apparatus_id,
        scope=Scope(),
        expires_at=NOW,
    )


def head(**changes: object) -> Head:
    return read_head(encode(ct(**changes)), EXPLICIT)


def test_the_event_says_what_the_data_set_says_and_under_which_grant() -> None:
    image = head()
    event = registered(image, blob=BLOB, header_blob=None, grant=grant(), occurred_at=NOW, source="g")
    assert (event.patient, event.study, event.series, event.instance) == (
        image.patient,
        image.study,
        image.series,
        image.instance,
    )
    assert event.conditions == {"KVP": "120"}
    assert (event.registrant, event.apparatus_id) == ("A-hospital", "A_CT#1")
    assert event.grant_id == UUID(int=1)
    assert event.blob == BLOB
    assert (event.header.data, event.header.blob) == (image.header, None)
    assert event.header.transfer_syntax_uid == EXPLICIT


def test_it_is_caused_by_the_grant_and_belongs_to_the_request() -> None:
    decision = grant()
    event = registered(head(), blob=BLOB, header_blob=None, grant=decision, occurred_at=NOW, source="g")
    assert event.meta == Meta(
        event_id=event.meta.event_id,
        cause_id=decision.meta.event_id,
        correlation_id=UUID(int=1),
        actor="A-hospital",
        source="g",
        occurred_at=NOW,
    )


def test_the_same_image_gives_the_same_event_id_in_every_conversation() -> None:
    image = head(SOPInstanceUID="1.2.3")
    ids = {
        registered(
            image,
            blob=BLOB,
            header_blob=None,
            grant=grant(number),
            occurred_at=NOW,
            source=f"g-{number}",
        ).meta.event_id
        for number in (1, 2)
    }
    assert ids == {uuid5(uuid5(NAMESPACE_OID, "1.2.3"), BLOB.digest)}


def test_other_contents_are_other_events() -> None:
    image = head(SOPInstanceUID="1.2.3")
    first = registered(image, blob=BLOB, header_blob=None, grant=grant(), occurred_at=NOW, source="g")
    second = registered(image, blob=OTHER, header_blob=None, grant=grant(), occurred_at=NOW, source="g")
    conflict = conflicted(image, registered=BLOB, refused=OTHER, grant=grant(2), occurred_at=NOW, source="g")
    assert conflict.meta.event_id == uuid5(uuid5(NAMESPACE_OID, "1.2.3"), f"conflict:{OTHER.digest}")
    assert len({first.meta.event_id, second.meta.event_id, conflict.meta.event_id}) == 3
    assert (conflict.registered, conflict.refused) == (BLOB, OTHER)
    assert conflict.sop_instance_uid == "1.2.3"
    assert conflict.study_instance_uid == image.study.study_instance_uid
    assert conflict.registrant == "A-hospital"
    assert conflict.meta.cause_id == grant(2).meta.event_id


def test_a_conflict_is_kept_with_the_study_of_what_is_registered() -> None:
    conflict = conflicted(
        head(),
        registered=BLOB,
        refused=OTHER,
        grant=grant(),
        occurred_at=NOW,
        source="g",
        study_instance_uid="1.9",
    )
    assert conflict.study_instance_uid == "1.9"


def test_a_large_header_travels_as_a_blob() -> None:
    image = read_head(identified(element(0x00420010, "UT", b"x" * (HEADER_IN_EVENT + 2))), EXPLICIT)
    assert image.header_is_large
    with pytest.raises(InvalidEvent, match="too large for an event"):
        registered(image, blob=BLOB, header_blob=None, grant=grant(), occurred_at=NOW, source="g")
    event = registered(image, blob=BLOB, header_blob=OTHER, grant=grant(), occurred_at=NOW, source="g")
    assert (event.header.data, event.header.blob) == (None, OTHER)


def test_headers_up_to_64_kib_travel_in_the_event() -> None:
    rest = HEADER_IN_EVENT - len(identified()) - 12
    image = read_head(identified(element(0x00420010, "UT", b"x" * rest)), EXPLICIT)
    assert len(image.header) == HEADER_IN_EVENT
    assert not image.header_is_large


def test_no_data_set_makes_an_event_that_is_too_large() -> None:
    three_bytes = "王".encode() * 20_000
    texts = [0x00080050, 0x00080070, 0x00080080, 0x00080090, 0x00081010, 0x00081030, 0x0008103E, 0x00081090]
    texts += [0x00100010, 0x00100020, 0x00100021, 0x00180015, 0x00181030, 0x00200010, 0x00204000]
    conditions = [0x00180010, 0x00180022, 0x00181160, 0x00181210, 0x00185100, 0x00187050, 0x00189302]
    head_of = [
        element(0x00080005, "CS", b"ISO_IR 192"),
        element(0x00080016, "UI", CT_IMAGE_STORAGE.encode() + b"\0"),
        element(0x00080018, "UI", b"1.2.3.40"),
        element(0x00080060, "CS", b"CT"),
        element(0x0020000D, "UI", b"1.2.3.10"),
        element(0x0020000E, "UI", b"1.2.3.20"),
        *(element(tag, "LO", three_bytes) for tag in texts),
        *(element(tag, "LO", b"x" * 1024) for tag in conditions),
    ]
    image = read_head(b"".join(head_of), EXPLICIT)
    assert image.patient.patient_id == "王" * 1024
    assert len(image.conditions) == len(conditions)
    event = registered(
        image,
        blob=BLOB,
        header_blob=OTHER if image.header_is_large else None,
        grant=grant(),
        occurred_at=NOW,
        source="g",
    )
    assert len(CODEC.encode(event).value) + HEADER_IN_EVENT < 256 * 1024


def test_events_of_real_files_are_encodable() -> None:
    for name in (
        "MR_small.dcm",
        "CT_small.dcm",
        "rtplan.dcm",
        "reportsi.dcm",
        "waveform_ecg.dcm",
        "chrH32.dcm",
    ):
        transfer_syntax_uid, data = part10(wheel_file(name))
        event = registered(
            read_head(data, transfer_syntax_uid),
            blob=BLOB,
            header_blob=None,
            grant=grant(),
            occurred_at=NOW,
            source="g",
        )
        assert CODEC.decode(CODEC.encode(event).value) == event
