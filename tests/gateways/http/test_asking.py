"""POST /processing: what is asked for is on the log as it was asked for, and enclosed images are durable."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.dicom_files import part10, wheel_file
from tests.gateways.http import jobs
from tests.gateways.http.jobs import SERIES, ask, wanted
from tests.gateways.http.web import Answer, Web, web_beside

from medbus.blobs import address_of
from medbus.gateways.http.upload import Limits
from medbus.schemas.events import Answer as AnswerBy
from medbus.schemas.events import Keep, ProcessingRequested, Role, Selection
from medbus.schemas.topics import DECISIONS, REQUESTS

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

RECEIVER = Role.IMAGE_RECEIVING


async def send(site: Web, token: str, parts: list[tuple[str, Any]], **changes: Any) -> Answer:
    """POST a request with files; parts are names and files."""
    body = json.dumps(wanted(**{"images": {}, **changes})).encode()
    files = [("request", ("request.json", body)), *parts]
    return await site.call("/processing", token=token, files=files)


async def requests(site: Web, token: str) -> int:
    """How many requests for processing are on the log under a token."""
    return sum(isinstance(each, ProcessingRequested) for each in await site.asked(token))


async def test_a_request_is_on_the_log_as_it_was_made(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER, Role.IMAGE_REGISTERING)
    other, _ = await site.subscriber(RECEIVER)
    answer = await site.call(
        "/processing",
        token=token,
        json={
            "type": "subtract",
            "parameters": {"shift-rows": 1.5, "colour": "luminance", "resample": True},
            "images": {"sop_instance_uids": ["1.2.3", "1.2.4", "1.2.3"], "study_instance_uids": ["1.9"]},
            "masks": {"series_instance_uids": ["1.5"]},
            "keep": "after",
            "answer": "fetch",
            "destinations": [other, subscriber],
            "server": "500-1",
        },
    )
    assert (answer.status, answer.body["subscriber"]) == (202, subscriber)
    assert answer.headers["location"] == f"/processing/{answer.body['id']}"
    found = await jobs.event(site, UUID(answer.body["id"]))
    assert (found.processing_type, found.server) == ("subtract", "500-1")
    assert found.parameters == {"shift-rows": "1.5", "colour": "luminance", "resample": "yes"}
    assert found.images == Selection(sop_instance_uids=("1.2.3", "1.2.4"), study_instance_uids=("1.9",))
    assert found.masks == Selection(series_instance_uids=("1.5",))
    assert (found.keep, found.answer) == (Keep.AFTER, AnswerBy.FETCH)
    assert found.destinations == (other, subscriber)


async def test_who_asked_may_look_at_once(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    for _ in range(5):
        answer = await site.call("/processing", token=token, json=wanted())
        shown = await site.call(answer.headers["location"], token=token)
        assert (shown.status, shown.body["state"], shown.body["sender"]) == (200, "ASKED", subscriber)
        assert (shown.body["keep"], shown.body["answer"]) == ("NEITHER", "FETCH")
        assert shown.body["destinations"] == [subscriber]


async def test_enclosed_files_are_kept_as_their_data_sets(site: Web, tmp_path: Path) -> None:
    _, token = await site.subscriber(RECEIVER)
    names = ("CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm")
    paths = [wheel_file(name) for name in names]
    answer = await send(site, token, [("image", (path.name, path.read_bytes())) for path in paths])
    assert answer.status == 202, answer.body
    found = (await jobs.event(site, UUID(answer.body["id"]))).images
    for path, blob in zip(paths, found.enclosed, strict=True):
        syntax, data = part10(path)
        assert (blob.transfer_syntax_uid, blob.size, blob.digest) == (syntax, len(data), address_of(data))
        assert await jobs.kept(site, blob) == data


async def test_masks_are_apart_and_the_request_may_come_last(site: Web, tmp_path: Path) -> None:
    _, token = await site.subscriber(RECEIVER)
    image, mask = jobs.file(tmp_path), jobs.file(tmp_path)
    body = json.dumps(wanted(type="subtract", parameters={}, images={})).encode()
    files = [("mask", mask.open("rb")), ("image", image.open("rb")), ("request", ("", body))]
    answer = await site.call("/processing", token=token, files=files)
    assert answer.status == 202, answer.body
    found = await jobs.event(site, UUID(answer.body["id"]))
    assert [each.digest for each in found.images.enclosed] == [address_of(part10(image).data_set)]
    assert [each.digest for each in found.masks.enclosed] == [address_of(part10(mask).data_set)]


async def test_curl_can_send_it(site: Web, tmp_path: Path) -> None:
    _, token = await site.subscriber(RECEIVER)
    image = jobs.file(tmp_path, 300_000)
    request = tmp_path / "r.json"
    request.write_text(json.dumps(wanted(images={})))
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "20", "-H", f"Authorization: Bearer {token}"),
        *("-F", f"request=@{request}", "-F", f"image=@{image}", f"{site.client.base_url}/processing"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    found = await jobs.event(site, UUID(json.loads(printed)["id"]))
    assert found.images.enclosed[0].digest == address_of(part10(image).data_set)


async def test_memory_is_bounded(site: Web, tmp_path: Path) -> None:
    _, token = await site.subscriber(RECEIVER)
    path = jobs.file(tmp_path, 64 * 1024**2)
    tracemalloc.start()
    try:
        with path.open("rb") as image:
            answer = await send(site, token, [("image", image)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 202, answer.body
    assert peak < 16 * 1024**2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no DICOM"),
        (b"no image" * 100, "no DICOM"),
        (b"\0" * 1000, "no DICOM"),
        (wheel_file("CT_small.dcm").read_bytes()[:20_000], "cut short"),
        (wheel_file("CT_small.dcm").read_bytes()[:200], "no DICOM"),
    ],
    ids=["empty", "text", "zeros", "short", "head"],
)
async def test_what_is_no_whole_dicom_file_is_refused_by_name(site: Web, content: bytes, said: str) -> None:
    _, token = await site.subscriber(RECEIVER)
    good = wheel_file("CT_small.dcm").read_bytes()
    answer = await send(site, token, [("image", ("a.dcm", good)), ("image", ("b.dcm", content))])
    assert answer.status == 422, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["detail"].startswith("The part image 2 ('b.dcm') can't be read as DICOM. ")
    assert said in answer.body["detail"]
    assert await requests(site, token) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "polish"}, "no processing type 'polish'"),
        ({"type": ""}, "type must have 1 to 64"),
        ({"parameters": {"sigma": "-1"}}, "sigma can't be -1"),
        ({"parameters": {"width": "3"}}, "no parameter 'width'"),
        ({"parameters": {"sigma": [1]}}, "parameters"),
        ({"images": {}}, "No image"),
        ({"images": {"series_instance_uids": ["no uid"]}}, "'no uid', which is no UID"),
        ({"images": {"enclosed": []}}, "enclosed"),
        ({"masks": {"series_instance_uids": ["1.2"]}}, "gaussian takes no masks"),
        ({"type": "subtract", "parameters": {}}, "subtract needs masks"),
        ({"keep": "all"}, "one of NEITHER, BEFORE, AFTER, BOTH"),
        ({"keep": "UNSPECIFIED"}, "keep can't be"),
        ({"answer": "pigeon"}, "one of FETCH, C_STORE, WEBHOOK"),
        ({"destinations": ["a\0b"]}, "A destination must have"),
        ({"server": ""}, "server must have"),
        ({"priority": 1}, "priority"),
    ],
)
async def test_what_can_not_be_done_is_refused_before_it_is_asked(
    site: Web, changes: dict[str, Any], said: str
) -> None:
    _, token = await site.subscriber(RECEIVER)
    answer = await site.call("/processing", token=token, json=wanted(**changes))
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.body["detail"]
    assert await requests(site, token) == 0


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"\xff", 400),
        ("application/json", b"[]", 422),
        ("application/json", b" " * 200_000, 413),
        ("text/plain", b"gaussian", 415),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"no boundary at all", 400),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b--\r\n", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 422),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{',
            400,
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="photo"\r\n\r\n{}\r\n--b--\r\n',
            422,
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{\r\n--b--\r\n',
            400,
        ),
    ],
)
async def test_what_is_no_such_body_is_refused(site: Web, kind: str, content: bytes, status: int) -> None:
    _, token = await site.subscriber(RECEIVER)
    answer = await site.call("/processing", token=token, content=content, headers={"Content-Type": kind})
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_request_comes_once(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)
    again = ("request", ("", json.dumps(wanted()).encode()))
    answer = await send(site, token, [again], images={"series_instance_uids": [SERIES]})
    assert (answer.status, "more than one part request" in answer.body["detail"]) == (422, True)


async def test_parts_bodies_and_their_number_have_limits(site: Web, tmp_path: Path) -> None:
    _, token = await site.subscriber(RECEIVER)
    content = jobs.file(tmp_path, 100_000).read_bytes()
    limits = Limits(part_bytes=150_000, body_bytes=400_000, images=2, request_bytes=2000)
    async with web_beside(site, uploads=limits) as small:

        async def status(*contents: bytes, **changes: Any) -> int:
            parts = [("image", ("a", each)) for each in contents]
            return (await send(small, token, parts, **changes)).status

        assert await status(content, content) == 202
        assert await status(content + b"\0" * 60_000) == 413
        assert await status(content[:300], content) == 422, "what is wrong first is told"
        assert await status(*[content] * 3) == 413
        assert await status(content, parameters={"sigma": "2" * 3000}) == 413
    async with web_beside(site, uploads=Limits(body_bytes=150_000)) as small:
        assert await status(content, content) == 413


async def test_a_body_must_go_on_coming(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)

    async def stalling() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await asyncio.sleep(5)

    for limits in (Limits(idle_seconds=0.1), Limits(seconds=0.1)):
        async with web_beside(site, uploads=limits) as hasty:
            response = await hasty.client.post(
                "/processing",
                content=stalling(),
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "multipart/form-data; boundary=b",
                },
            )
            assert response.status_code == 408


async def test_more_than_an_event_holds_is_refused(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)
    async with web_beside(site, uploads=Limits(request_bytes=10**6)) as large:
        uids = [f"1.2.{10**50 + number}" for number in range(6000)]
        answer = await large.call("/processing", token=token, json=wanted(images={"sop_instance_uids": uids}))
    assert (answer.status, "Name whole series" in answer.body["detail"]) == (413, True)


async def test_who_is_not_known_is_told_before_a_body_is_read(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    await site.cancel(subscriber)
    for shown, status, reason in (
        ("", 401, None),
        (uuid4().hex, 401, "WRONG_CREDENTIAL"),
        (token, 403, "CONTRACT_CANCELLED"),
    ):
        lines = [
            *("POST /processing HTTP/1.1", "Host: medbus", "Content-Length: 1000000000"),
            "Content-Type: multipart/form-data; boundary=b",
            *([f"Authorization: Bearer {shown}"] if shown else []),
        ]
        url = site.client.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            body = json.loads(await reader.read(10_000))
        writer.close()
        assert f" {status} ".encode() in head.splitlines()[0]
        assert (body["status"], body.get("reason")) == (status, reason)
        assert await requests(site, shown) == 0


async def test_what_is_decided_against_is_told_with_the_reason(site: Web) -> None:
    _, registering = await site.subscriber(Role.IMAGE_REGISTERING)
    _, receiving = await site.subscriber(RECEIVER)
    for token, changes, expected in (
        (registering, {}, (403, "WRONG_ROLE")),
        (receiving, {"keep": "both"}, (403, "WRONG_ROLE")),
        (receiving, {"destinations": ["nobody"]}, (404, "UNKNOWN_DESTINATION")),
        (receiving, {"answer": "webhook"}, (404, "UNKNOWN_DESTINATION")),
    ):
        answer = await site.call("/processing", token=token, json=wanted(**changes))
        assert (answer.status, answer.body["reason"]) == expected, changes


async def test_what_is_rejected_is_shown_as_such_to_its_requester_alone(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    other, others = await site.subscriber(Role.IMAGE_REGISTERING)
    await site.call("/processing", token=token, json=wanted(destinations=[other]))
    await site.settled(REQUESTS)
    await site.settled(DECISIONS)
    [listed] = (await site.call("/processing", token=token)).body["processing"]
    assert (listed["state"], listed["reason"]) == ("REJECTED", "UNKNOWN_DESTINATION")
    assert listed["detail"].startswith(f"'{other}'")
    assert (await site.call("/processing", token=others)).body["processing"] == []
    assert await ask(site, token)
    assert subscriber == listed["sender"]


async def test_a_file_that_does_not_say_how_it_is_compressed_is_refused(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)
    bare = part10(wheel_file("JPEG2000.dcm")).data_set
    answer = await send(site, token, [("image", ("", bare))])
    assert (answer.status, "image 1 can't" in answer.body["detail"]) == (422, True)
    assert "compressed, and it does not say how" in answer.body["detail"]
