"""C-STORE: what is answered, what is on the log, what is kept."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.uid import MRImageStorage, generate_uid
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, ct, encode
from tests.gateways.images import outgoing
from tests.gateways.site import Site

from medbus.gateways.dicom.status import SUCCESS, Outcome
from medbus.schemas.events import (
    ImageConflicted,
    ImageErased,
    ImageRegistered,
    RegistrationRequested,
    RejectionReason,
    RequestAuthorized,
    Scope,
)
from medbus.schemas.topics import DECISIONS, IMAGES

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


async def registered(site: Site, uid: str) -> list[ImageRegistered]:
    """Events of one image."""
    events = await site.events(IMAGES, ImageRegistered)
    return [each for each in events if each.instance.sop_instance_uid == uid]


async def conflicted(site: Site, uid: str) -> list[ImageConflicted]:
    """Conflicts of one image."""
    return [each for each in await site.events(IMAGES, ImageConflicted) if each.sop_instance_uid == uid]


async def test_an_image_is_durable_and_on_the_log_before_it_is_answered(served: Site) -> None:
    image = ct()
    assert await served.store(outgoing(image)) == [SUCCESS]

    [event] = await registered(served, image.SOPInstanceUID)
    assert event.registrant == "A-hospital"
    assert event.apparatus_id == "A_CT#1"
    assert event.patient.patient_name == "DOE^JANE"
    assert event.blob.transfer_syntax_uid == EXPLICIT
    assert await served.blobs.read(event.blob.digest) == encode(image)

    [request] = served.auth.asked
    assert isinstance(request, RegistrationRequested)
    assert request.sop_class_uids == (CT_IMAGE_STORAGE,)
    assert request.evidence.calling_ae_title == "MODALITY"
    assert request.evidence.called_ae_title == "MEDBUS"
    assert request.evidence.address == "127.0.0.1"
    decisions = await served.events(DECISIONS, RequestAuthorized)
    [decision] = [each for each in decisions if each.request_id == request.request_id]
    assert event.grant_id == request.request_id
    assert event.meta.cause_id == decision.meta.event_id
    assert event.meta.correlation_id == request.meta.event_id


async def test_the_same_image_twice_and_then_with_one_pixel_changed(served: Site) -> None:
    """Of the small inputs, number 1."""
    image = ct()
    assert await served.store(outgoing(image), outgoing(image)) == [SUCCESS, SUCCESS]
    changed = ct(
        SOPInstanceUID=image.SOPInstanceUID,
        StudyInstanceUID=image.StudyInstanceUID,
        SeriesInstanceUID=image.SeriesInstanceUID,
        PixelData=bytes([255, *range(1, 32)]),
    )
    [outcome] = await served.store(outgoing(changed))

    assert outcome == Outcome(0x0111, "other contents are registered under this UID")
    [event] = await registered(served, image.SOPInstanceUID)
    [conflict] = await conflicted(served, image.SOPInstanceUID)
    assert conflict.registered == event.blob
    assert conflict.registrant == "A-hospital"
    assert await served.blobs.read(conflict.registered.digest) == encode(image)
    assert await served.blobs.read(conflict.refused.digest) == encode(changed)
    await served.settled()
    stored = await served.images.image(image.SOPInstanceUID)
    assert stored is not None
    assert stored.blob == event.blob, "the first stays served"


async def test_a_duplicate_is_seen_through_the_catalog_too(served: Site) -> None:
    image = ct()
    await served.store(outgoing(image))
    await served.settled()
    changed = ct(SOPInstanceUID=image.SOPInstanceUID, PatientID="OTHER")
    assert [each.code for each in await served.store(outgoing(image), outgoing(changed))] == [0x0000, 0x0111]
    assert len(await registered(served, image.SOPInstanceUID)) == 1
    [conflict] = await conflicted(served, image.SOPInstanceUID)
    assert changed.StudyInstanceUID != image.StudyInstanceUID
    assert conflict.study_instance_uid == image.StudyInstanceUID, "the registered image's study"


async def test_the_same_image_in_another_transfer_syntax_is_no_conflict(served: Site) -> None:
    image = ct()
    again = outgoing(image, transfer_syntax_uid=IMPLICIT)
    assert await served.store(outgoing(image), again) == [SUCCESS, SUCCESS]
    [event] = await registered(served, image.SOPInstanceUID)
    assert event.blob.transfer_syntax_uid == EXPLICIT
    assert await conflicted(served, image.SOPInstanceUID) == []


async def test_associations_that_send_one_image_at_once_register_it_once(served: Site) -> None:
    image = ct()
    answers = await asyncio.gather(*(served.store(outgoing(image)) for _ in range(4)))
    assert answers == [[SUCCESS]] * 4
    assert len(await registered(served, image.SOPInstanceUID)) == 1


async def test_contents_that_were_erased_are_not_taken_again(served: Site) -> None:
    image = ct()
    await served.store(outgoing(image))
    [event] = await registered(served, image.SOPInstanceUID)
    await served.bus.publish(
        ImageErased(
            meta=event.meta.caused("erased", source="test", occurred_at=datetime.now(UTC)),
            study_instance_uid=event.study.study_instance_uid,
            sop_instance_uid=event.instance.sop_instance_uid,
            digest=event.blob.digest,
            reason="the patient wants it",
        )
    )
    await served.settled()
    corrected = ct(SOPInstanceUID=image.SOPInstanceUID, PatientID="CORRECTED")
    assert [each.code for each in await served.store(outgoing(image), outgoing(corrected))] == [
        0x0124,
        0x0000,
    ]
    assert len(await registered(served, image.SOPInstanceUID)) == 2


async def test_the_record_is_dated_by_arrival_not_by_the_study(served: Site) -> None:
    """Of the small inputs, number 10."""
    image = ct(StudyDate="19990101")
    await served.store(outgoing(image))
    now = datetime.now(UTC)
    [record] = [
        each
        for each in await served.records(IMAGES)
        if isinstance(each.event, ImageRegistered)
        and each.event.instance.sop_instance_uid == image.SOPInstanceUID
    ]
    assert abs(record.timestamp - now) < timedelta(seconds=5)
    assert isinstance(record.event, ImageRegistered)
    assert record.event.study.study_date == "19990101"


@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"]
)
async def test_a_data_set_without_an_identifier_is_refused(served: Site, keyword: str) -> None:
    image = ct()
    uid = str(image.SOPInstanceUID)
    delattr(image, keyword)
    [outcome] = await served.store(outgoing(image, sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid=uid))
    assert outcome == Outcome(0xC000, f"missing or invalid {keyword}")
    assert await registered(served, uid) == []


async def test_a_data_set_that_is_cut_short_is_refused(served: Site) -> None:
    image = ct()
    [outcome] = await served.store(outgoing(image, encode(image)[:-7]))
    assert outcome == Outcome(0xC000, "the data set is cut short")
    assert await registered(served, image.SOPInstanceUID) == []


async def test_garbage_instead_of_a_data_set_is_refused(served: Site) -> None:
    image = ct()
    [outcome] = await served.store(outgoing(image, b"\xff" * 1000))
    assert outcome.code == 0xC000
    assert outcome.comment
    assert len(outcome.comment) <= 64


async def test_a_command_that_names_another_image_is_refused(served: Site) -> None:
    image = ct()
    other = generate_uid()
    outcomes = await served.store(
        outgoing(image, sop_instance_uid=other), outgoing(image, sop_class_uid=str(MRImageStorage))
    )
    assert outcomes == [
        Outcome(0xA900, "SOP Instance UID is not that of the command"),
        Outcome(0xA900, "SOP Class UID is not that of the command"),
    ]


async def test_a_command_without_an_instance_is_refused(served: Site) -> None:
    image = ct()
    [outcome] = await served.store(outgoing(image, sop_instance_uid=""))
    assert outcome.code == 0xA900


async def test_an_image_outside_the_scope_is_refused(served: Site) -> None:
    served.auth.scope = Scope(patients=("4711",), modalities=("CT",))
    inside, patient, modality = ct(), ct(PatientID="4712"), ct(Modality="MR")
    outcomes = await served.store(outgoing(inside), outgoing(patient), outgoing(modality))
    refused = Outcome(0x0124, "patient or modality lie outside the contract")
    assert outcomes == [SUCCESS, refused, refused]
    assert await registered(served, patient.SOPInstanceUID) == []


async def test_no_more_is_taken_than_the_grant_allows(served: Site) -> None:
    served.auth.max_images = 2
    images = [ct() for _ in range(3)]
    outcomes = await served.store(*map(outgoing, images))
    assert outcomes == [SUCCESS, SUCCESS, Outcome(0xA700, "The grant's 2 images are used up.")]
    served.auth.max_images, served.auth.max_bytes = None, len(encode(ct())) + 10
    outcomes = await served.store(*map(outgoing, [ct(), ct()]))
    assert [each.code for each in outcomes] == [0x0000, 0xA700]


async def test_what_was_sent_before_is_not_counted_again(served: Site) -> None:
    served.auth.max_images = 1
    image = ct()
    assert await served.store(outgoing(image), outgoing(image), outgoing(image)) == [SUCCESS] * 3


async def test_a_grant_that_expires_in_a_long_association_is_renewed(served: Site) -> None:
    served.auth.lifetime = timedelta(0)
    assert await served.store(outgoing(ct()), outgoing(ct())) == [SUCCESS, SUCCESS]
    assert served.auth.kinds() == ["RegistrationRequested"] * 3
    assert len({each.request_id for each in served.auth.asked}) == 3


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (RejectionReason.CONTRACT_CANCELLED, 0x0124),
        (RejectionReason.PAYMENT_REQUIRED, 0x0124),
        (RejectionReason.NO_CAPACITY_LEFT, 0xA700),
    ],
)
async def test_a_grant_that_is_not_renewed_ends_the_storing(
    served: Site, reason: RejectionReason, code: int
) -> None:
    served.auth.lifetime = timedelta(0)

    def once(request: object) -> object:
        if len(served.auth.asked) == 1:
            return served.auth.decide(request)  # type: ignore[arg-type]
        return served.auth.reject(request, reason)  # type: ignore[arg-type]

    served.auth.answer = once  # type: ignore[assignment]
    [outcome] = await served.store(outgoing(ct()))
    assert outcome == Outcome(code, f"grant expired: {reason.value}")


async def test_private_and_unknown_classes_and_syntaxes_are_stored(served: Site) -> None:
    private_class, private_syntax = "1.2.826.0.1.3680043.10.999.1", "1.2.826.0.1.3680043.10.999.2"
    image = ct(SOPClassUID=private_class)
    assert await served.store(outgoing(image, encode(image), transfer_syntax_uid=private_syntax)) == [SUCCESS]
    [event] = await registered(served, image.SOPInstanceUID)
    assert event.instance.sop_class_uid == private_class
    assert event.blob.transfer_syntax_uid == private_syntax
    assert await served.blobs.read(event.blob.digest) == encode(image)


async def test_a_header_too_long_for_an_event_is_a_blob_of_its_own(served: Site) -> None:
    image = ct(ImageComments="x" * 10_000)
    for number in range(20):
        image.private_block(0x0009, f"BLOCK{number}", create=True).add_new(1, "UT", "y" * 9_000)
    assert await served.store(outgoing(image)) == [SUCCESS]
    [event] = await registered(served, image.SOPInstanceUID)
    assert event.header.data is None
    assert event.header.blob is not None
    assert b"y" * 9_000 in await served.blobs.read(event.header.blob.digest)


async def test_an_image_larger_than_the_window_arrives_whole(served: Site) -> None:
    rows = columns = 2048
    image = ct(
        Rows=rows, Columns=columns, NumberOfFrames="4", PixelData=bytes(range(256)) * (rows * columns // 32)
    )
    assert await served.store(outgoing(image)) == [SUCCESS]
    [event] = await registered(served, image.SOPInstanceUID)
    assert await served.blobs.read(event.blob.digest) == encode(image)
