"""/processing/ID/results: what came out, as a list and as DICOM files."""

import asyncio
from io import BytesIO
from uuid import UUID, uuid4

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from tests.gateways.http import jobs
from tests.gateways.http.jobs import data_set, stored
from tests.gateways.http.web import Web

from medbus.schemas.events import Apparatus, Channel, ImageDelivered, Role
from medbus.schemas.topics import DELIVERIES

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

RECEIVER = Role.IMAGE_RECEIVING


def title() -> str:
    """An AE title that nobody has."""
    return f"AE{uuid4().hex[:8]}"


async def deliveries(site: Web, sop_instance_uid: str) -> list[ImageDelivered]:
    """Deliveries of an image that are on the log."""
    found = await site.events(DELIVERIES, ImageDelivered)
    return [each for each in found if each.sop_instance_uid == sop_instance_uid]


async def test_headers_name_destination_sender_and_processing(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    other, others = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token, destinations=[other, subscriber])
    path = f"/processing/{processing_id}/results"
    assert (await site.call(path, token=token)).body == {
        "id": str(processing_id),
        "results": [],
        "next": None,
    }
    await job.started(items=1)
    blob = await stored(site, data_set())
    uid = await job.processed(0, blob)
    expected = {
        "sender": subscriber,
        "type": "gaussian",
        "description": "Gaussian smoothing: sigma 2 mm",
        "item": 0,
        "number": 1,
        "study_instance_uid": "1.2.3.4",
        "series_instance_uid": "1.2.3.5",
        "sop_class_uid": CTImageStorage,
        "sop_instance_uid": uid,
        "digest": blob.digest,
        "size": blob.size,
        "transfer_syntax_uid": ExplicitVRLittleEndian,
    }
    for who, destinations in ((token, [other, subscriber]), (others, [other])):
        [found] = (await site.call(path, token=who)).body["results"]
        assert found == {"destinations": destinations, **expected}


async def test_they_are_listed_page_by_page(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=5)
    blob = await stored(site, b"1")
    made = [await job.processed(item, blob) for item in range(5)]
    found: list[str] = []
    query = "?limit=2"
    for _ in range(5):
        page = (await site.call(f"/processing/{processing_id}/results{query}", token=token)).body
        assert len(page["results"]) <= 2
        found += [each["sop_instance_uid"] for each in page["results"]]
        if page["next"] is None:
            break
        query = f"?limit=2&after={page['next']}"
    assert found == made
    for wrong in ("limit=0", "limit=1001", "limit=x", "after=1", "after=x.y", "after="):
        answer = await site.call(f"/processing/{processing_id}/results?{wrong}", token=token)
        assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("pixels", [0, 5_000_000], ids=["small", "large"])
async def test_a_result_is_a_dicom_file_and_its_delivery_is_on_the_log(site: Web, pixels: int) -> None:
    sending, receiving = title(), title()
    subscriber, token = await site.subscriber(
        RECEIVER, apparatuses=(Apparatus(apparatus_id="A#1", ae_title=sending),)
    )
    other, others = await site.subscriber(
        RECEIVER,
        apparatuses=(
            Apparatus(apparatus_id="B#1", ae_title=title()),
            Apparatus(apparatus_id="B#2", ae_title=receiving, host="b", port=104),
        ),
    )
    processing_id, job = await jobs.job(site, subscriber, token, destinations=[other])
    await job.started(items=1)
    data = data_set(pixels)
    blob = await stored(site, data)
    uid = await job.processed(0, blob, uid=str(dcmread(BytesIO(data), force=True).SOPInstanceUID))
    answer = await site.call(f"/processing/{processing_id}/results/{uid}", token=others)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom")
    assert answer.headers["content-disposition"] == f'attachment; filename="{uid}.dcm"'
    assert answer.body.endswith(data)
    meta = dcmread(BytesIO(answer.body)).file_meta
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == (sending, receiving)
    assert (meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == (uid, ExplicitVRLittleEndian)
    [event] = await deliveries(site, uid)
    assert (event.channel, event.subscriber, event.destination) == (Channel.HTTP, other, other)
    assert (event.digest, event.size) == (blob.digest, len(data))
    assert (event.study_instance_uid, event.meta.correlation_id) == ("1.2.3.4", processing_id)


async def test_fetched_again_under_one_grant_it_is_the_same_delivery(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=1)
    uid = await job.processed(0, await stored(site, data_set()))
    for _ in range(3):
        answer = await site.call(f"/processing/{processing_id}/results/{uid}", token=token)
        assert answer.status == 200
    meta = dcmread(BytesIO(answer.body)).file_meta
    assert "SendingApplicationEntityTitle" not in meta, "the contract has no apparatus"
    assert len({each.meta.event_id for each in await deliveries(site, uid)}) == 1


async def test_looking_at_its_size_delivers_nothing(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=1)
    data = data_set()
    uid = await job.processed(0, await stored(site, data))
    answer = await site.call(f"/processing/{processing_id}/results/{uid}", token=token, method="HEAD")
    assert answer.status == 200
    assert int(answer.headers["content-length"]) > len(data) + 132
    assert await deliveries(site, uid) == []


async def test_who_goes_away_in_the_middle_got_nothing(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=1)
    uid = await job.processed(0, await stored(site, data_set(40_000_000)))
    path, headers = f"/processing/{processing_id}/results/{uid}", {"Authorization": f"Bearer {token}"}
    async with site.client.stream("GET", path, headers=headers) as response:
        async for _ in response.aiter_raw(1000):
            break
    await asyncio.sleep(0.5)
    assert await deliveries(site, uid) == []
    assert (await site.call(path, token=token)).status == 200
    assert len(await deliveries(site, uid)) == 1


async def test_what_is_not_there_is_not_found(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    _, strangers = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=1)
    uid = await job.processed(0, await stored(site, data_set()))

    async def status(processing_id: UUID, uid: str, token: str) -> int:
        answer = await site.call(f"/processing/{processing_id}/results/{uid}", token=token)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status

    assert await status(processing_id, generate_uid(), token) == 404
    assert await status(processing_id, "no-uid", token) == 404
    assert await status(uuid4(), uid, token) == 404
    assert await status(processing_id, uid, strangers) == 404
    assert await deliveries(site, uid) == []
