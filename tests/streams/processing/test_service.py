"""Planning and completing against a real log: requests become work items, and are completed once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from tests.streams.processes import everything, records
from tests.streams.processing.requested import (
    AT,
    SR,
    blob,
    grant,
    of_kind,
    one,
    requested,
    several,
)
from tests.streams.processing.site import Site
from tests.streams.processing.site import site as opened
from tests.synthetic import ct

from medbus.blobs import BlobStore
from medbus.bus import Bus, Partition
from medbus.schemas.events import (
    DeadLettered,
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Meta,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    Scope,
    Selection,
    ServerStarted,
)
from medbus.schemas.topics import DEAD_LETTERS
from medbus.streams.processing.planning.abreast import abreast
from medbus.streams.processor import transient

SERIES = Selection(series_instance_uids=("1.1",))


@pytest.fixture
async def site(bus: Bus, tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(bus, tmp_path) as made:
        yield made


async def done_once(site: Site, request: ProcessingRequested) -> list[ProcessingCompleted]:
    """The completions of a request, after all that may still come has come."""
    await site.abreast()
    await asyncio.sleep(0.3)
    return of_kind(await site.said(request), ProcessingCompleted)


async def test_a_series_is_shared_out_done_and_completed(site: Site) -> None:
    await site.register([*several(40), replace(one("1.1.99"), sop_class_uid=SR)])
    request = requested(images=SERIES)
    async with site.running():
        await site.ask(request)
        begun = await site.begun(request)
        assert isinstance(begun, ProcessingStarted)
        assert (begun.items, begun.images, begun.subscriber) == (40, 40, "A")
        items = await site.work(request)
        assert sorted(item.item for item in items) == list(range(40))
        by_number = {item.item: item for item in items}
        assert [by_number[number].images[0] for number in range(40)] == [
            blob(f"1.1.{number}") for number in range(1, 41)
        ]
        assert set(Counter(item.slot for item in items).values()) == {1, 2}
        assert {item.meta.correlation_id for item in items} == {request.meta.correlation_id}
        await site.do(items[:39], "500-1")
        await site.abreast()
        assert of_kind(await site.said(request), ProcessingCompleted) == []
        await site.do(items[39:], "500-2")
        completed = await site.completed(request)
        assert (completed.sessions, completed.images, completed.bytes) == (2, 40, 4000)
        assert (completed.milliseconds, completed.results) == (400, 40)
        assert (completed.failed, completed.skipped, completed.processing_type) == (0, 0, "gaussian")
        assert completed.meta.event_id == request.meta.caused("completed", source="", occurred_at=AT).event_id
        # What comes twice completes nothing twice.
        await site.do(items)
        assert len(await done_once(site, request)) == 1
    assert await everything(site.bus, DEAD_LETTERS) == []


async def test_a_decision_that_comes_again_plans_nothing_again(site: Site) -> None:
    await site.register(several(5))
    request = requested(images=SERIES)
    async with site.running():
        await site.ask(request)
        await site.begun(request)
        await site.bus.publish(grant(request))
        other = requested(images=SERIES, parameters={"sigma": "3"})
        await site.ask(other)
        await site.begun(other)
    # Of another conversation, and so perhaps in another partition: the same is asked directly as well.
    async with site.planner() as planner:
        assert await planner.events(await site.ask(request)) == ()
    assert len(await site.work(request)) == 5
    assert len(of_kind(await site.said(request), ProcessingStarted)) == 1


@pytest.mark.parametrize("kept", [0, 1, 4, 5])
async def test_what_was_written_of_a_plan_before_the_end_is_completed_and_the_same(
    site: Site, kept: int
) -> None:
    await site.register(several(5))
    request = requested(images=SERIES)
    async with site.planner() as planner:
        first = await planner.events(await site.ask(request))
    # The process died when so many items were in the log, and all else but the start; or the start alone.
    await site.bus.publish_all([*first[:kept], *(() if kept % 2 else first[-1:])])
    # Meanwhile the series grew, and the request was cancelled: what was begun stays what it was.
    await site.register([one("1.1.0", number=0)])
    if kept:
        await site.bus.publish(cancelled(request))
    async with site.running():
        await site.begun(request)
    said = [*await site.work(request), *of_kind(await site.said(request), ProcessingStarted)]
    assert without_slots(said) == without_slots(first)


def without_slots(events: Sequence[Event]) -> list[Event]:
    """Sorted by id."""
    same = [replace(each, slot=0) if isinstance(each, ItemPlanned) else each for each in events]
    return sorted(same, key=lambda each: str(each.meta.event_id))


def cancelled(request: ProcessingRequested) -> ProcessingCancelled:
    return ProcessingCancelled(
        meta=Meta.first(uuid4(), source="test", occurred_at=AT, conversation=request.meta.correlation_id),
        grant_id=request.request_id,
        subscriber="A",
        by="A",
    )


async def test_what_was_cancelled_before_it_was_planned_is_completed_without_work(site: Site) -> None:
    await site.register(several(3))
    request = requested(images=SERIES)
    await site.bus.publish(cancelled(request))
    async with site.running():
        await site.ask(request)
        completed = await site.completed(request)
    assert (completed.images, completed.sessions, completed.failed, completed.skipped) == (0, 0, 0, 0)
    assert await site.work(request) == []
    job = await site.jobs.job(request.request_id)
    assert job is not None


async def test_items_that_are_skipped_or_failed_complete_a_request_as_well(site: Site) -> None:
    await site.register(several(3))
    request = requested(images=SERIES)
    async with site.running():
        await site.ask(request)
        await site.begun(request)
        first, second, third = sorted(await site.work(request), key=lambda item: item.item)
        await site.do([first])
        await site.bus.publish(
            ProcessingFailed(
                meta=second.meta.caused("failed", source="500-1", occurred_at=AT),
                grant_id=request.request_id,
                subscriber="A",
                item=1,
                server="500-1",
                reason="It has no pixels.",
            )
        )
        await site.bus.publish(
            ItemSkipped(
                meta=third.meta.caused("skipped", source="500-1", occurred_at=AT),
                grant_id=request.request_id,
                subscriber="A",
                item=2,
            )
        )
        completed = await site.completed(request)
    assert (completed.failed, completed.skipped, completed.images, completed.results) == (1, 1, 1, 1)


async def test_what_was_done_before_is_delivered_without_processing(site: Site) -> None:
    await site.register(several(3))
    first, again = requested(images=SERIES), requested(images=SERIES, parameters={"sigma": "1.0"})
    longer = requested(images=Selection(study_instance_uids=("1",)))
    async with site.running():
        await site.ask(first)
        await site.begun(first)
        await site.do(await site.work(first))
        await site.completed(first)
        await site.ask(again)
        completed = await site.completed(again)
        assert (completed.sessions, completed.images, completed.bytes, completed.milliseconds) == (0, 0, 0, 0)
        assert (completed.results, completed.failed) == (3, 0)
        assert await site.work(again) == []
        said = await site.said(again)
        assert sorted((each.item, each.blob.digest) for each in of_kind(said, ImageProcessed)) == [
            (number, blob(f"1.1.{number + 1}").digest) for number in range(3)
        ]
        done = of_kind(said, ItemProcessed)
        assert [(each.server, each.findings) for each in done] == [(None, ("uneven spacing",))] * 3
        # Part of a larger request is there already, the rest is not.
        await site.register(several(1, "1.2"))
        await site.ask(longer)
        await site.begun(longer)
        (item,) = await site.work(longer)
        assert (item.item, item.images) == (3, (blob("1.2.1"),))
        await site.do([item])
        assert (await site.completed(longer)).images == 1


async def test_work_goes_past_the_slots_that_are_busy(site: Site) -> None:
    await site.register(several(30))
    busy = [waiting(number, slot=7 if number % 2 else 19) for number in range(4)]
    await site.bus.publish_all(busy)
    request = requested(images=SERIES)
    async with site.running():
        await site.ask(request)
        await site.begun(request)
        taken = Counter(item.slot for item in await site.work(request))
        assert set(taken) == set(range(32)) - {7, 19}
        assert set(taken.values()) == {1}
        # With those 30, every slot but the two busy ones has one: the next two requests fill up the same.
        other = requested(images=SERIES, parameters={"sigma": "2"})
        await site.ask(other)
        await site.begun(other)
        assert Counter(item.slot for item in await site.work(other)) == taken


def waiting(number: int, slot: int) -> ItemPlanned:
    """Work of somebody else."""
    return ItemPlanned(
        meta=Meta.first(uuid4(), source="test", occurred_at=AT),
        grant_id=uuid4(),
        subscriber="B",
        item=number,
        slot=slot,
        identity=f"blake3:{number}",
        processing_type="gaussian",
        version=1,
        parameters={},
        images=(blob(f"b{number}"),),
    )


async def test_a_chosen_server_must_be_there(site: Site) -> None:
    await site.register(several(2))
    unknown, known = requested(images=SERIES, server="500-9"), requested(images=SERIES, server="500-2")
    async with site.running():
        await site.ask(unknown)
        failure = await site.begun(unknown)
        assert isinstance(failure, ProcessingFailed)
        assert failure.reason == "There is no processing server 500-9. None has begun to work yet."
        for name in ("500-1", "500-2"):
            meta = Meta.first(uuid4(), source=name, occurred_at=AT)
            await site.bus.publish(ServerStarted(meta=meta, server=name, cores=2))
        await site.ask(known)
        await site.begun(known)
        assert [item.server for item in await site.work(known)] == ["500-2"] * 2
        another = requested(images=SERIES, server="500-3")
        await site.ask(another)
        failure = await site.begun(another)
        assert isinstance(failure, ProcessingFailed)
        assert failure.reason == "There is no processing server 500-3. There are 500-1, 500-2."


IMPOSSIBLE = (
    (
        requested(images=Selection(sop_instance_uids=("1.1.1", *(f"9.{n}" for n in range(5))))),
        "No image that you may process is registered as 9.0, 9.1, 9.2 and 2 more. Check the UIDs",
    ),
    (
        requested(images=Selection(series_instance_uids=("1.1", "9"))),
        "No series that you may process is registered as 9. Check the UIDs",
    ),
    (
        requested(images=Selection(study_instance_uids=("9",))),
        "No study that you may process is registered as 9. Check the UIDs",
    ),
    # Of a patient who is out of scope.
    (
        requested(images=Selection(sop_instance_uids=("1.7.1",))),
        "No image that you may process is registered as 1.7.1. Check the UIDs",
    ),
    (
        requested(images=Selection(series_instance_uids=("1.7",))),
        "No series that you may process is registered as 1.7. Check the UIDs",
    ),
    (
        requested(images=Selection(enclosed=(blob("nowhere"),))),
        f"The enclosed object {blob('nowhere').digest} is not in the blob store. Send it again.",
    ),
    # Nothing but reports.
    (requested(images=Selection(series_instance_uids=("1.8",))), "No images were chosen that could be"),
    (requested(), "No images were chosen that could be"),
    (requested("sharpen", {}, images=SERIES), "There is no processing type 'sharpen'. There are gaussian"),
    (requested("gaussian", {}, images=SERIES), "gaussian needs sigma."),
    (requested(images=SERIES, masks=SERIES), "gaussian takes no masks."),
)


async def test_what_can_not_be_done_as_a_whole_fails_with_the_reason_and_nothing_is_processed(
    site: Site,
) -> None:
    await site.register(several(2))
    await site.register(several(1, "1.7"), patient="P2")
    await site.register([replace(one("1.8.1", series="1.8"), sop_class_uid=SR)])
    async with site.running():
        for request, _ in IMPOSSIBLE:
            await site.ask(request, Scope(patients=("P1",)))
        for request, reason in IMPOSSIBLE:
            failure = await site.begun(request)
            completed = await site.completed(request)
            assert isinstance(failure, ProcessingFailed)
            assert failure.reason.startswith(reason)
            assert (completed.images, completed.results, completed.failed) == (0, 0, 0)
            assert await site.work(request) == []
            assert [type(each) for each in await site.said(request)] == [
                ProcessingFailed,
                ProcessingCompleted,
            ]


async def test_enclosed_images_are_put_in_order_by_their_headers(site: Site) -> None:
    images = [
        ct(InstanceNumber=number, SeriesInstanceUID="5.1", StudyInstanceUID="5") for number in (3, 1, 2)
    ]
    report = ct(SOPClassUID=SR, SOPInstanceUID="5.2.1", SeriesInstanceUID="5.2", StudyInstanceUID="5")
    async with await BlobStore.open(site.settings.blobs) as blobs:
        stored = []
        for each in (*images, report):
            target = DicomBytesIO()
            target.is_implicit_VR, target.is_little_endian = False, True
            write_dataset(target, each)
            stored.append(await blobs.put(target.getvalue(), "1.2.840.10008.1.2.1"))
    request = requested("mip", {}, images=Selection(enclosed=tuple(stored)))
    async with site.running():
        await site.ask(request)
        begun = await site.begun(request)
        (item,) = await site.work(request)
        (failure,) = of_kind(await site.said(request), ProcessingFailed)
        assert isinstance(begun, ProcessingStarted)
        assert begun.items == 2
        assert item.images == (stored[1], stored[2], stored[0])
        assert failure.item == 1
        assert failure.reason == "5.2.1 has no image to process: it is Basic Text SR Storage. Choose images."
        await site.do([item])
        assert (await site.completed(request)).failed == 1


async def test_images_and_masks_are_paired(site: Site) -> None:
    await site.register([*several(2), *several(2, "1.2")])
    request = requested("subtract", {}, images=SERIES, masks=Selection(series_instance_uids=("1.2",)))
    async with site.running():
        await site.ask(request)
        await site.begun(request)
        items = sorted(await site.work(request), key=lambda item: item.item)
    assert [(each.images, each.masks) for each in items] == [
        ((blob("1.1.1"),), (blob("1.2.1"),)),
        ((blob("1.1.2"),), (blob("1.2.2"),)),
    ]


async def test_two_processes_share_and_one_goes_on_where_another_ended(site: Site) -> None:
    await site.register(several(3))
    requests = [requested(images=SERIES, parameters={"sigma": str(number)}) for number in range(1, 13)]
    async with site.running(), site.running():
        for request in requests[:6]:
            await site.ask(request)
        for request in requests[:6]:
            await site.begun(request)
    # Half of it is done while nobody completes it, and the other half is asked for while nobody plans.
    for request in requests[:6]:
        await site.do(await site.work(request))
    for request in requests[6:]:
        await site.ask(request)
    async with site.running():
        for request in requests[6:]:
            await site.begun(request)
            await site.do(await site.work(request))
        for request in requests:
            completed = await site.completed(request)
            assert (completed.images, completed.sessions) == (3, 1)
        for request in requests:
            said = await done_once(site, request)
            assert len({each.meta.event_id for each in said}) == 1
            assert len({each.meta.event_id for each in await site.work(request)}) == 3
    assert await everything(site.bus, DEAD_LETTERS) == []


async def test_a_request_that_nobody_knows_fails_and_is_kept(site: Site) -> None:
    request = requested(images=SERIES)
    async with site.running():
        await site.bus.publish(grant(request))
        (letter,) = await records(site.bus, DEAD_LETTERS, count=1)
        failure = await site.begun(request)
    assert isinstance(letter.event, DeadLettered)
    assert letter.event.processor == "processing-planner"
    assert letter.event.error.startswith("RequestUnknown: ")
    assert isinstance(failure, ProcessingFailed)
    assert failure.reason.startswith("The service could not plan this request.")


async def test_catalogs_that_lag_behind_are_waited_for_and_then_it_is_tried_again(site: Site) -> None:
    with pytest.raises(TimeoutError, match="The catalogs lag behind the log for") as caught:
        await abreast(site.database, {Partition("work", 0): 1}, 0.05)
    assert transient(caught.value)
