"""Images that are registered because a request for processing says so."""

from typing import Any
from uuid import uuid4

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from tests.gateways.dicom.encoded import EXPLICIT, ct, encode
from tests.gateways.recipient import recipient
from tests.gateways.results.office import Office, eventually

from medbus.projections.images import StoredImage
from medbus.schemas.events import (
    Answer,
    Apparatus,
    Blob,
    ImageConflicted,
    ImageRegistered,
    Keep,
    ProcessingRequested,
    ResultsKept,
    Role,
    Scope,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


async def requester(office: Office) -> str:
    return await office.contract(f"A-{uuid4().hex[:8]}", role=Role.IMAGE_REGISTERING)


async def found(office: Office, image: Dataset) -> StoredImage:
    """An image in the catalog; waits for it."""
    return await eventually(
        lambda: office.images.image(str(image.SOPInstanceUID)), f"{image.SOPInstanceUID} to be found"
    )


async def done(
    office: Office, who: str, *images: Dataset, **options: Any
) -> tuple[ProcessingRequested, ResultsKept]:
    """A request of which something was kept."""
    request = await office.completed(who, images, **({"answer": Answer.FETCH, "keep": Keep.AFTER} | options))
    return request, await office.kept(request)


async def registered(office: Office, request: ProcessingRequested) -> list[str]:
    events = await office.events(ImageRegistered, request.request_id)
    return sorted(each.instance.sop_instance_uid for each in events)


async def test_results_that_are_kept_can_be_found(working: Office) -> None:
    who, images = await requester(working), [ct(), ct()]
    request, kept = await done(working, who, *images)
    assert (kept.registered, kept.refused, kept.subscriber) == (2, (), who)
    assert kept.meta.correlation_id == request.meta.event_id
    for image in images:
        stored = await found(working, image)
        assert stored.registrant == who
        assert stored.study_instance_uid == image.StudyInstanceUID
        assert await working.blobs.read(stored.blob.digest) == encode(image)
    for event in await working.events(ImageRegistered, request.request_id):
        assert event.meta.correlation_id == request.meta.event_id
        assert event.patient.patient_id == "4711"


@pytest.mark.parametrize(
    ("keep", "expected"), [(Keep.BEFORE, "before"), (Keep.AFTER, "after"), (Keep.BOTH, "both")]
)
async def test_what_is_kept_is_what_was_asked_for(working: Office, keep: Keep, expected: str) -> None:
    who, before, after = await requester(working), ct(), ct()
    enclosed = await working.put(before)
    request, kept = await done(working, who, after, keep=keep, enclosed=(enclosed, enclosed))
    wanted = {"before": [before], "after": [after], "both": [before, after]}[expected]
    assert await registered(working, request) == sorted(str(each.SOPInstanceUID) for each in wanted)
    assert (kept.registered, kept.refused) == (len(wanted), ())


async def test_nothing_is_registered_unless_asked(working: Office) -> None:
    ae_title = f"D{uuid4().hex[:8].upper()}"
    async with recipient(ae_title, {str(CTImageStorage): [EXPLICIT]}) as taken:
        unit = Apparatus(apparatus_id="x", ae_title=ae_title, host="127.0.0.1", port=taken.port)
        who = await working.contract(f"A-{ae_title}", unit)
        neither = await working.completed(who, [ct()])
        await working.answered(neither, who)
        assert await registered(working, neither) == []
        assert await working.events(ResultsKept, neither.request_id) == []
        # What is kept is kept before it is sent.
        after = await working.completed(who, [ct()], keep=Keep.AFTER)
        await working.answered(after, who)
        assert len(await working.events(ResultsKept, after.request_id)) == 1
        assert len(taken.received) == 2


async def test_other_contents_under_a_uid_are_a_conflict_and_the_first_stay(working: Office) -> None:
    who, first = await requester(working), ct()
    await done(working, who, first)
    other = ct(SOPInstanceUID=first.SOPInstanceUID, PatientID="4712")
    good = ct()
    request, kept = await done(working, who, other, good)
    assert kept.registered == 1
    assert kept.refused == (f"{first.SOPInstanceUID} other contents are registered under this UID",)
    assert await registered(working, request) == [str(good.SOPInstanceUID)]
    [conflict] = await working.events(ImageConflicted, request.request_id)
    assert await working.blobs.read(conflict.refused.digest) == encode(other)
    assert await working.blobs.read((await found(working, first)).blob.digest) == encode(first)


async def test_the_same_contents_again_are_kept_and_no_second_event(working: Office) -> None:
    who, image = await requester(working), ct()
    await done(working, who, image)
    request, kept = await done(working, who, image)
    assert (kept.registered, kept.refused) == (1, ())
    assert await registered(working, request) == []


async def test_no_more_is_kept_than_the_contract_has_room_for(working: Office) -> None:
    who, images = await requester(working), [ct() for _ in range(4)]
    room = 2 * len(encode(images[0])) + 50
    request, kept = await done(working, who, *images, max_bytes=room, used_bytes=0)
    assert kept.registered == 2
    assert len(kept.refused) == 2
    assert all(each.endswith(f"The grant's {room} bytes are used up.") for each in kept.refused)
    # Another request under a grant that says the same: what is registered by now counts.
    request, kept = await done(working, who, ct(), max_bytes=room, used_bytes=0)
    assert (kept.registered, await registered(working, request)) == (0, [])
    assert kept.refused[0].endswith(f"The contract's {room} bytes are used up.")


async def test_what_lies_outside_the_contract_or_is_no_image_is_refused(working: Office) -> None:
    who = await requester(working)
    outside, inside = ct(PatientID="4713"), ct()
    garbage = await working.blobs.put(b"\xff" * 100, EXPLICIT)
    nothing = Blob(digest=f"blake3:{'00' * 32}", size=10, transfer_syntax_uid=EXPLICIT)
    request, kept = await done(
        working,
        who,
        keep=Keep.BEFORE,
        enclosed=(await working.put(outside), garbage, nothing, await working.put(inside)),
        scope=Scope(patients=("4711",)),
    )
    assert kept.registered == 1
    assert kept.refused[0] == f"{outside.SOPInstanceUID} patient or modality lie outside the contract"
    assert kept.refused[1].startswith(f"{garbage.digest} The data set can't be read")
    assert kept.refused[2] == f"{nothing.digest} the stored image can't be read"
    assert await registered(working, request) == [str(inside.SOPInstanceUID)]


async def test_nothing_is_kept_under_a_contract_that_was_cancelled(working: Office) -> None:
    who, image = await requester(working), ct()
    await working.cancel(who)
    request, kept = await done(working, who, image)
    assert kept.registered == 0
    assert kept.refused == (f"{image.SOPInstanceUID} the contract was cancelled",)
    assert await registered(working, request) == []
