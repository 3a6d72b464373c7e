"""Results by C-STORE: what arrives, what is on the log, what is tried again."""

import asyncio
from collections import Counter
from uuid import uuid4, uuid5

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from tests.gateways.dcmtk import free_port
from tests.gateways.dicom.encoded import EXPLICIT, IMPLICIT, ct, encode
from tests.gateways.recipient import recipient
from tests.gateways.results.office import Office
from tests.gateways.segments import damage, root_of

from medbus.projections.processing import ProcessingReader
from medbus.schemas.events import Answer, Apparatus, Channel

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

CT = {str(CTImageStorage): [EXPLICIT]}


@pytest.fixture
def choosy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipients take what they say that they take, and nothing else."""
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)


def uids(images: list[Dataset]) -> list[str]:
    return [str(each.SOPInstanceUID) for each in images]


def title() -> str:
    return f"D{uuid4().hex[:8].upper()}"


def apparatus(ae_title: str, port: int | None) -> Apparatus:
    host = None if port is None else "127.0.0.1"
    return Apparatus(apparatus_id=f"{ae_title}#1", ae_title=ae_title, host=host, port=port)


async def test_results_arrive_as_they_are_and_the_log_has_it(working: Office) -> None:
    ae_title, images = title(), [ct(), ct(), ct()]
    async with recipient(ae_title, CT) as taken:
        # The first with an address counts, not the first.
        who = await working.contract(
            f"B-{ae_title}", apparatus("OTHER", None), apparatus(ae_title, taken.port)
        )
        request = await working.completed(who, images)
        answered = await working.answered(request, who)

    assert taken.received == {str(each.SOPInstanceUID): (encode(each), EXPLICIT) for each in images}
    assert (answered.delivered, answered.failed, answered.attempts, answered.reason) == (3, 0, 1, "")
    assert answered.answer is Answer.C_STORE
    assert answered.address == f"{ae_title}@127.0.0.1:{taken.port}"
    assert answered.meta.correlation_id == request.meta.event_id
    grant = await ProcessingReader(working.database).grant(request.request_id)
    assert grant is not None
    assert answered.meta.event_id == uuid5(grant.meta.event_id, f"answered:{who}")
    events = await working.delivered(request)
    assert sorted(each.sop_instance_uid for each in events) == sorted(uids(images))
    for event in events:
        assert event.channel is Channel.C_STORE
        assert (event.grant_id, event.subscriber) == (request.request_id, who)
        assert event.destination == ae_title
        assert event.size == len(taken.received[event.sop_instance_uid][0])
        assert event.transfer_syntax_uid == EXPLICIT
        assert event.meta.event_id == uuid5(grant.meta.event_id, f"delivered:{who}:{event.sop_instance_uid}")
        assert event.meta.correlation_id == request.meta.event_id


@pytest.mark.usefixtures("choosy")
async def test_what_the_destination_does_not_take_as_it_is_is_converted(working: Office) -> None:
    ae_title, image = title(), ct()
    async with recipient(ae_title, {str(CTImageStorage): [IMPLICIT]}) as taken:
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        request = await working.completed(who, [image])
        await working.answered(request, who)
    assert taken.received == {str(image.SOPInstanceUID): (encode(image, IMPLICIT), IMPLICIT)}
    [event] = await working.delivered(request)
    assert event.transfer_syntax_uid == IMPLICIT
    assert event.size == len(encode(image, IMPLICIT))


async def test_a_destination_that_is_away_holds_up_no_other_and_gets_its_own_later(working: Office) -> None:
    away, there, images = title(), title(), [ct(), ct()]
    port = free_port()
    who = await working.contract(f"B-{away}", apparatus(away, port))
    async with recipient(there, CT) as taken:
        other = await working.contract(f"B-{there}", apparatus(there, taken.port))
        held_up = [await working.completed(who, [ct()]) for _ in range(5)]
        request = await working.completed(who, images, destinations=(who, other))
        assert (await working.answered(request, other)).delivered == 2
        assert sorted(taken.received) == sorted(uids(images))
    await asyncio.sleep(0.3)  # it is tried a few times
    assert await working.delivered(held_up[0]) == []
    async with recipient(away, CT, port) as back:
        answered = await working.answered(request, who)
        for each in held_up:
            assert (await working.answered(each, who)).delivered == 1
    assert len(back.received) == 7
    assert (answered.delivered, answered.failed) == (2, 0)
    assert answered.attempts >= 2
    assert await working.failed(request) == []
    destinations = Counter(each.destination for each in await working.delivered(request))
    assert destinations == {away: 2, there: 2}


async def test_an_image_that_is_refused_fails_alone_and_is_not_tried_again(working: Office) -> None:
    ae_title, images = title(), [ct(), ct(), ct()]
    bad, asked = uids(images)[1], Counter[str]()

    def status(uid: str) -> int:
        asked[uid] += 1
        return 0xC000 if uid == bad else 0x0000

    async with recipient(ae_title, CT) as taken:
        taken.status = status
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        request = await working.completed(who, images)
        answered = await working.answered(request, who)
    assert (answered.delivered, answered.failed, answered.attempts) == (2, 1, 1)
    assert answered.reason == "the recipient answered C000H"
    [failure] = await working.failed(request)
    assert (failure.sop_instance_uid, failure.status, failure.destination) == (bad, 0xC000, ae_title)
    assert failure.channel is Channel.C_STORE
    assert asked == dict.fromkeys(uids(images), 1)


async def test_an_image_for_which_the_destination_has_no_room_is_sent_again(working: Office) -> None:
    ae_title, images = title(), [ct(), ct(), ct()]
    full, asked = uids(images)[0], Counter[str]()

    def status(uid: str) -> int:
        asked[uid] += 1
        return 0xA700 if uid == full and asked[uid] < 3 else 0x0000

    async with recipient(ae_title, CT) as taken:
        taken.status = status
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        request = await working.completed(who, images)
        answered = await working.answered(request, who)
    assert (answered.delivered, answered.failed, answered.attempts) == (3, 0, 3)
    assert asked == {full: 3, **dict.fromkeys(uids(images)[1:], 1)}, "only what is missing is sent"
    assert len(await working.delivered(request)) == 3
    assert await working.failed(request) == []


async def test_an_image_at_which_the_association_breaks_comes_last_the_next_time(working: Office) -> None:
    ae_title, images = title(), [ct(), ct(), ct()]
    first, came = uids(images)[0], list[str]()

    def take(event: Event) -> int:
        came.append(str(event.request.AffectedSOPInstanceUID))  # type: ignore[union-attr]
        if came == [first]:
            event.assoc.abort()
        return 0x0000

    ae = AE(ae_title)
    ae.add_supported_context(CTImageStorage, EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    assert server is not None
    try:
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, server.server_address[1]))
        request = await working.completed(who, images)
        answered = await working.answered(request, who)
    finally:
        await asyncio.to_thread(server.shutdown)
    assert came == [first, *uids(images)[1:], first]
    assert (answered.delivered, answered.failed, answered.attempts) == (3, 0, 2)


@pytest.mark.usefixtures("choosy")
async def test_a_class_that_the_destination_does_not_take_fails_alone(working: Office) -> None:
    ae_title = title()
    taken_class, other_class = ct(), ct(SOPClassUID=MRImageStorage, Modality="MR")
    async with recipient(ae_title, CT) as taken:
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        both = await working.completed(who, [taken_class, other_class])
        answered = await working.answered(both, who)
        assert (answered.delivered, answered.failed) == (1, 1)
        nothing = await working.completed(who, [ct(SOPClassUID=MRImageStorage)])
        answered = await working.answered(nothing, who)
    assert (answered.delivered, answered.failed, answered.attempts) == (0, 1, 1)
    assert [each.status for each in await working.failed(nothing)] == [0x0122]
    assert answered.reason == "the recipient accepted none of the presentation contexts"


async def test_a_result_that_is_damaged_fails_alone(working: Office) -> None:
    ae_title, images = title(), [ct(), ct()]
    async with recipient(ae_title, CT) as taken:
        port = free_port()
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, port))
        request = await working.completed(who, images)
        contents = bytes([*encode(images[0])[:-1], 99])
        damage(root_of(working.settings.blobs), (await working.put(images[0])).digest, contents)
        await working.contract(who, apparatus(ae_title, taken.port))
        answered = await working.answered(request, who)
    assert (answered.delivered, answered.failed) == (1, 1)
    assert answered.reason == "the stored image can't be read"
    assert list(taken.received) == [str(images[1].SOPInstanceUID)]


@pytest.mark.parametrize("where", ["no apparatus", "no address", "nowhere"])
async def test_a_destination_without_an_address_is_given_up(working: Office, where: str) -> None:
    ae_title = title()
    apparatuses = () if where == "no apparatus" else (apparatus(ae_title, None),)
    who = f"B-{ae_title}"
    if where != "nowhere":
        await working.contract(who, *apparatuses)
    requester = await working.contract(f"A-{ae_title}")
    request = await working.completed(requester, [ct(), ct()], destinations=(who,))
    answered = await working.answered(request, who)
    assert (answered.delivered, answered.failed) == (0, 2)
    assert answered.reason == (
        "the contract was cancelled"
        if where == "nowhere"
        else "the contract names no apparatus with host and port"
    )
    failures = await working.failed(request)
    assert [(each.reason, each.status, each.subscriber) for each in failures] == [
        (answered.reason, None, requester)
    ] * 2


@pytest.mark.parametrize("whose", ["destination", "requester"])
async def test_nothing_goes_out_under_a_contract_that_was_cancelled(working: Office, whose: str) -> None:
    ae_title = title()
    async with recipient(ae_title, CT) as taken:
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        requester = await working.contract(f"A-{ae_title}")
        await working.cancel(who if whose == "destination" else requester)
        request = await working.completed(requester, [ct()], destinations=(who,))
        answered = await working.answered(request, who)
    assert (answered.delivered, answered.failed) == (0, 1)
    of = "" if whose == "destination" else f" of {requester}, who asked"
    assert answered.reason == f"the contract was cancelled{of}"
    assert taken.received == {}


async def test_a_contract_that_ends_on_the_way_ends_the_sending(working: Office) -> None:
    ae_title, images, loop = title(), [ct() for _ in range(6)], asyncio.get_running_loop()
    came = list[str]()

    async with recipient(ae_title, CT) as taken:
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))

        def status(uid: str) -> int:
            came.append(uid)
            if len(came) == 2:
                asyncio.run_coroutine_threadsafe(working.cancel(who), loop).result(10)
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop).result(10)  # it is heard
            return 0x0000

        taken.status = status
        request = await working.completed(who, images)
        answered = await working.answered(request, who)
    assert came == uids(images)[:2]
    assert (answered.delivered, answered.failed) == (2, 4)
    assert answered.reason == "the contract was cancelled"


async def test_a_request_without_results_is_answered(working: Office) -> None:
    ae_title = title()
    async with recipient(ae_title, CT) as taken:
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        answered = await working.answered(await working.completed(who), who)
    assert (answered.delivered, answered.failed, answered.reason) == (0, 0, "")


async def test_many_results_go_out_in_order_and_once(working: Office) -> None:
    ae_title, study = title(), generate_uid()
    images = [ct(StudyInstanceUID=study) for _ in range(120)]
    came = list[str]()

    def status(uid: str) -> int:
        came.append(uid)
        return 0x0000

    async with recipient(ae_title, CT) as taken:
        taken.status = status
        who = await working.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        request = await working.completed(who, images)
        assert (await working.answered(request, who)).delivered == 120
    assert came == uids(images)
    assert len(await working.delivered(request)) == 120
