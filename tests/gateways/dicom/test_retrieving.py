"""C-GET and C-MOVE over the network: what goes out, what is counted, what is on the log."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import uuid5

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import CTImageStorage, generate_uid
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import (
    BIG_ENDIAN,
    CT_IMAGE_STORAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ct,
    encode,
)
from tests.gateways.images import outgoing
from tests.gateways.recipient import recipient
from tests.gateways.segments import damage, root_of
from tests.gateways.site import Site

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.client import fetch
from medbus.gateways.dicom.command import Command, Field
from medbus.gateways.dicom.presentation import QUERY_RETRIEVE, Operation, Root
from medbus.gateways.dicom.status import SUCCESS, is_pending
from medbus.schemas.events import (
    Apparatus,
    Channel,
    DeliveryFailed,
    DeliveryRequested,
    ImageDelivered,
    RejectionReason,
    RequestAuthorized,
    Role,
    Scope,
)
from medbus.schemas.topics import DECISIONS, DELIVERIES

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

GET = next(uid for uid, kind in QUERY_RETRIEVE.items() if kind == (Root.STUDY, Operation.GET))
MOVE = next(uid for uid, kind in QUERY_RETRIEVE.items() if kind == (Root.STUDY, Operation.MOVE))


async def study(site: Site, images: int = 3, **changes: object) -> tuple[str, list[Dataset]]:
    """Register a study of so many images."""
    uid = str(generate_uid())
    made = [ct(StudyInstanceUID=uid, InstanceNumber=number + 1, **changes) for number in range(images)]
    assert await site.store(*map(outgoing, made)) == [SUCCESS] * images
    await site.settled()
    return uid, made


def keys(level: str = "STUDY", **values: str) -> bytes:
    """An encoded identifier."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return identifier.encode(dataset, IMPLICIT)


async def move(site: Site, destination: str, identifier_: bytes) -> tuple[Command, Dataset, list[Command]]:
    """C-MOVE: the final response, its identifier, and the pending ones."""

    def work() -> tuple[Command, Dataset, list[Command]]:
        with site.peer().requester([(MOVE, [IMPLICIT])]) as requester:
            *pending, final = [
                (message.command, message.identifier())
                for message in requester.move(MOVE, destination, identifier_)
            ]
        failed = read_dataset(BytesIO(final[1]), is_implicit_VR=True, is_little_endian=True)
        return final[0], failed, [command for command, _ in pending]

    return await asyncio.wait_for(asyncio.to_thread(work), 30)


async def get(
    site: Site, identifier_: bytes, syntaxes: Sequence[str] = (EXPLICIT, IMPLICIT), cancel_after: int = 0
) -> tuple[Command, dict[str, tuple[bytes, str]]]:
    """C-GET: the final response, and what came."""
    contexts = [(GET, [IMPLICIT]), *((CT_IMAGE_STORAGE, [syntax]) for syntax in syntaxes)]

    def work() -> tuple[Command, dict[str, tuple[bytes, str]]]:
        came: dict[str, tuple[bytes, str]] = {}
        with site.peer().requester(contexts, receiving=[CT_IMAGE_STORAGE]) as requester:
            for message in requester.get(GET, identifier_):
                command = message.command
                if command.field == Field.C_STORE:
                    syntax = requester.transfer_syntax(message.context_id)
                    came[command.affected_instance] = (message.identifier(), syntax)
                    if len(came) == cancel_after:
                        requester.cancel(GET)
                    requester.answer(message, SUCCESS)
                elif not is_pending(command.status):
                    return command, came
        raise AssertionError("there was no final response")

    return await asyncio.wait_for(asyncio.to_thread(work), 30)


async def delivered(site: Site, study_uid: str) -> list[ImageDelivered]:
    """Deliveries of a study."""
    return [e for e in await site.events(DELIVERIES, ImageDelivered) if e.study_instance_uid == study_uid]


async def test_get_sends_the_stored_bytes_and_puts_each_delivery_on_the_log(served: Site) -> None:
    uid, images = await study(served)
    final, came = await get(served, keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, final.failed, final.warning) == (0x0000, 3, 0, 0)
    assert final.remaining is None
    assert came == {str(each.SOPInstanceUID): (encode(each), EXPLICIT) for each in images}

    [request] = [each for each in served.auth.asked if isinstance(each, DeliveryRequested)]
    assert request.destination is None
    assert request.study_instance_uid == uid
    assert set(request.sop_instance_uids) == set(came)
    assert (request.patients, request.registrants, request.modalities) == (
        ("4711",),
        ("A-hospital",),
        ("CT",),
    )
    decisions = await served.events(DECISIONS, RequestAuthorized)
    [decision] = [each for each in decisions if each.request_id == request.request_id]
    events = await delivered(served, uid)
    assert {each.sop_instance_uid for each in events} == set(came)
    for event in events:
        assert event.channel is Channel.C_GET
        assert event.subscriber == "A-hospital"
        assert event.destination == "MODALITY"
        assert event.grant_id == request.request_id
        assert event.size == len(came[event.sop_instance_uid][0])
        assert event.transfer_syntax_uid == EXPLICIT
        assert event.meta.event_id == uuid5(decision.meta.event_id, event.sop_instance_uid)
        assert event.meta.cause_id == decision.meta.event_id


async def test_levels_and_lists_select_what_goes_out(served: Site) -> None:
    uid, images = await study(served, 4, PatientID="G1")
    two = [str(each.SOPInstanceUID) for each in images[:2]]
    _, came = await get(served, keys("IMAGE", StudyInstanceUID=uid, SOPInstanceUID="\\".join(two)))
    assert sorted(came) == sorted(two)
    _, came = await get(served, keys("SERIES", SeriesInstanceUID=str(images[3].SeriesInstanceUID)))
    assert list(came) == [str(images[3].SOPInstanceUID)]
    final, came = await get(served, keys(StudyInstanceUID="1.2.3.4"))
    assert (final.status, final.completed, came) == (0x0000, 0, {})


@pytest.mark.parametrize(
    ("bad", "comment"),
    [
        (keys("STUDY"), "StudyInstanceUID is missing"),
        (keys("STUDY", StudyInstanceUID="1.2.*"), "StudyInstanceUID must not have a wildcard"),
        (keys("PATIENT", PatientID="X"), "PATIENT is no level of the study root model"),
        (b"", "Query/Retrieve Level is missing"),
    ],
)
async def test_an_identifier_that_names_nothing_is_refused(served: Site, bad: bytes, comment: str) -> None:
    final, _ = await get(served, bad)
    assert (final.status, final.error_comment) == (0xA900, comment)


@pytest.mark.parametrize("stored", [IMPLICIT, BIG_ENDIAN, DEFLATED])
async def test_what_the_peer_does_not_take_is_converted(served: Site, stored: str) -> None:
    image = ct(PatientName="M\u00fcller^Ren\u00e9", SpecificCharacterSet="ISO_IR 100")
    assert await served.store(outgoing(image, transfer_syntax_uid=stored)) == [SUCCESS]
    await served.settled()
    uid = str(image.StudyInstanceUID)
    final, came = await get(served, keys(StudyInstanceUID=uid), [EXPLICIT])
    assert final.status == 0x0000
    [(data, syntax)] = came.values()
    assert syntax == EXPLICIT
    if stored == BIG_ENDIAN:  # what was written there as words is read as words
        image.PixelData = b"".join(image.PixelData[i : i + 2][::-1] for i in range(0, 32, 2))
    assert read_dataset(BytesIO(data), is_implicit_VR=False, is_little_endian=True) == image
    [event] = await delivered(served, uid)
    assert event.transfer_syntax_uid == EXPLICIT
    assert event.size == len(data)


async def test_what_can_not_be_converted_fails_alone(served: Site) -> None:
    uid = str(generate_uid())
    private = "1.2.826.0.1.3680043.10.999.9"
    plain, odd = ct(StudyInstanceUID=uid), ct(StudyInstanceUID=uid)
    await served.store(outgoing(plain), outgoing(odd, encode(odd), transfer_syntax_uid=private))
    await served.settled()
    final, came = await get(served, keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, final.failed) == (0xB000, 1, 1)
    assert list(came) == [str(plain.SOPInstanceUID)]
    [failure] = [e for e in await served.events(DELIVERIES, DeliveryFailed) if e.study_instance_uid == uid]
    assert failure.sop_instance_uid == odd.SOPInstanceUID
    assert failure.status is None
    assert private in failure.reason


async def test_a_class_that_the_peer_does_not_take_fails(served: Site) -> None:
    mr = "1.2.840.10008.5.1.4.1.1.4"
    image = ct(SOPClassUID=mr, Modality="MR")
    await served.store(outgoing(image))
    await served.settled()
    final, _ = await get(served, keys(StudyInstanceUID=str(image.StudyInstanceUID)))
    assert (final.status, final.completed, final.failed) == (0xA702, 0, 1)
    assert final.error_comment == "the recipient does not take this SOP class"


async def test_get_can_be_cancelled(served: Site) -> None:
    uid, _ = await study(served, 30)
    final, came = await get(served, keys(StudyInstanceUID=uid), cancel_after=2)
    assert final.status == 0xFE00
    assert final.remaining is not None
    assert final.completed is not None
    assert final.remaining + final.completed == 30
    assert 2 <= final.completed == len(came) < 30
    assert len(await delivered(served, uid)) == len(came), "what went out is on the log"


async def test_a_rejected_delivery_sends_nothing(served: Site) -> None:
    uid, _ = await study(served)
    decide = served.auth.decide

    def no_delivery(request: object) -> object:
        if isinstance(request, DeliveryRequested):
            return served.auth.reject(request, RejectionReason.WRONG_ROLE)
        return decide(request)  # type: ignore[arg-type]

    served.auth.answer = no_delivery  # type: ignore[assignment]
    final, came = await get(served, keys(StudyInstanceUID=uid))
    assert (final.status, final.error_comment) == (0x0124, "WRONG_ROLE: scripted")
    assert came == {}


async def test_one_study_of_two_may_be_rejected(served: Site) -> None:
    patient = str(generate_uid())[-20:]
    first, _ = await study(served, 2, PatientID=patient)
    second, _ = await study(served, 1, PatientID=patient)
    decide = served.auth.decide

    def not_the_second(request: object) -> object:
        if isinstance(request, DeliveryRequested) and request.study_instance_uid == second:
            return served.auth.reject(request, RejectionReason.OUT_OF_SCOPE)
        return decide(request)  # type: ignore[arg-type]

    served.auth.answer = not_the_second  # type: ignore[assignment]
    final, came = await get(served, keys(StudyInstanceUID=f"{first}\\{second}"))
    assert (final.status, final.completed, final.failed) == (0xB000, 2, 1)
    assert len(came) == 2
    assert await delivered(served, second) == []


async def test_what_lies_outside_the_scope_is_not_there(served: Site) -> None:
    uid, _ = await study(served, 2)
    served.auth.scope = Scope(patients=("somebody else",))
    final, came = await get(served, keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, came) == (0x0000, 0, {})


async def test_grants_that_expire_on_the_way_are_renewed(served: Site) -> None:
    uid, _ = await study(served, 2)
    served.auth.lifetime = timedelta(0)
    final, came = await get(served, keys(StudyInstanceUID=uid))
    assert (final.status, len(came)) == (0x0000, 2)
    assert served.auth.kinds().count("DeliveryRequested") == 3


async def test_move_of_three_instances_as_the_destination_answers(served: Site) -> None:
    """Of the small inputs, number 7."""
    uid, images = await study(served)
    second = sorted(str(each.SOPInstanceUID) for each in images)[1]
    uids = {str(each.SOPInstanceUID) for each in images}
    async with recipient("D_WS7", {CTImageStorage: [EXPLICIT, IMPLICIT]}) as taken:
        await served.contract(
            "D-hospital-7",
            Apparatus(apparatus_id="D_WS#7", ae_title="D_WS7", host="127.0.0.1", port=taken.port),
            roles=(Role.IMAGE_RECEIVING,),
        )
        taken.status = lambda each: 0xA700 if each == second else 0x0000
        final, identifier_, pending = await move(served, "D_WS7", keys(StudyInstanceUID=uid))
        assert (final.status, final.completed, final.failed, final.warning) == (0xB000, 2, 1, 0)
        assert identifier_.FailedSOPInstanceUIDList == second
        assert set(taken.received) == uids - {second}
        assert [each.remaining for each in pending] == [2, 1, 0]
        assert all(title == "MODALITY" and number for title, number in taken.originators)
        [request] = [each for each in served.auth.asked if isinstance(each, DeliveryRequested)]
        assert request.destination == "D_WS7"
        events = await delivered(served, uid)
        assert {each.sop_instance_uid for each in events} == uids - {second}
        assert {(each.channel, each.destination, each.subscriber) for each in events} == {
            (Channel.C_MOVE, "D_WS7", "D-hospital-7")
        }
        failures = [e for e in await served.events(DELIVERIES, DeliveryFailed) if e.study_instance_uid == uid]
        assert [(each.sop_instance_uid, each.status) for each in failures] == [(second, 0xA700)]

        taken.status = lambda _: 0xA700
        final, identifier_, _ = await move(served, "D_WS7", keys(StudyInstanceUID=uid))
        assert (final.status, final.completed, final.failed) == (0xA702, 0, 3)
        assert set(identifier_.FailedSOPInstanceUIDList) == uids

        final, identifier_, _ = await move(served, "NOWHERE", keys(StudyInstanceUID=uid))
        assert final.status == 0xA801
        assert final.error_comment == "no live contract has AE title 'NOWHERE'"
        assert "FailedSOPInstanceUIDList" not in identifier_


async def test_a_warning_of_the_destination_is_a_delivery(served: Site) -> None:
    uid, _ = await study(served, 2)
    async with recipient("D_WARN", {CTImageStorage: [EXPLICIT]}) as taken:
        await served.contract(
            "D-warn", Apparatus(apparatus_id="D#1", ae_title="D_WARN", host="127.0.0.1", port=taken.port)
        )
        taken.status = lambda _: 0xB007
        final, _, _ = await move(served, "D_WARN", keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, final.failed, final.warning) == (0xB000, 0, 0, 2)
    assert len(await delivered(served, uid)) == 2


async def test_a_destination_that_does_not_answer_fails_every_image(served: Site) -> None:
    uid, images = await study(served, 2)
    port = dcmtk.free_port()
    await served.contract(
        "D-silent", Apparatus(apparatus_id="D#1", ae_title="D_SILENT", host="127.0.0.1", port=port)
    )
    final, identifier_, _ = await move(served, "D_SILENT", keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, final.failed) == (0xA702, 0, 2)
    assert set(identifier_.FailedSOPInstanceUIDList) == {str(each.SOPInstanceUID) for each in images}
    assert f"127.0.0.1:{port}" in final.error_comment


async def test_images_go_as_stored_where_the_destination_takes_that(served: Site, tmp_path: Path) -> None:
    uid = str(generate_uid())
    images = {syntax: ct(StudyInstanceUID=uid) for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)}
    await served.store(*(outgoing(each, transfer_syntax_uid=syntax) for syntax, each in images.items()))
    await served.settled()
    async with recipient("D_ALL", {CTImageStorage: list(images)}) as taken:
        await served.contract(
            "D-all", Apparatus(apparatus_id="D#1", ae_title="D_ALL", host="127.0.0.1", port=taken.port)
        )
        final, _, _ = await move(served, "D_ALL", keys(StudyInstanceUID=uid))
    assert (final.status, final.completed) == (0x0000, 4)
    assert taken.received == {
        str(each.SOPInstanceUID): (encode(each, syntax), syntax) for syntax, each in images.items()
    }


async def test_a_damaged_blob_is_never_delivered(served: Site) -> None:
    uid, images = await study(served, 2)
    [first] = await served.images.images([str(images[0].SOPInstanceUID)])
    contents = bytearray(await served.blobs.read(first.blob.digest))
    contents[-1] ^= 1
    damage(root_of(served.settings.blobs), first.blob.digest, contents)
    final, came = await get(served, keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, final.failed) == (0xB000, 1, 1)
    assert list(came) == [str(images[1].SOPInstanceUID)]


async def test_the_client_fetches_files(served: Site, tmp_path: Path) -> None:
    uid, images = await study(served, 3)
    seen: list[str] = []
    fetched = await fetch(
        served.peer(),
        tmp_path,
        study_instance_uid=uid,
        progress=lambda each: seen.append(each.sop_instance_uid),
    )
    assert sorted(seen) == sorted(str(each.SOPInstanceUID) for each in images)
    assert {each.total for each in fetched} == {3}
    for each in fetched:
        assert each.path == tmp_path / f"{each.sop_instance_uid}.dcm"
        assert each.error == ""
    assert await fetch(served.peer(), tmp_path, study_instance_uid="1.2.3.4") == []
