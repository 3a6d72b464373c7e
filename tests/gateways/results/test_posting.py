"""Webhooks: signed, tried again, and given up."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from starlette.responses import Response, StreamingResponse
from tests.gateways.dicom.encoded import ct
from tests.gateways.results.office import Office, until
from tests.gateways.results.receiver import receiver, statuses

from medbus.gateways.http.signature import BadSignature
from medbus.gateways.results.announcement import Counts, received
from medbus.schemas.events import Answer

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


def name() -> str:
    return f"B-{uuid4().hex[:8]}"


async def test_a_receiver_that_fails_first_gets_the_same_announcement_again(working: Office) -> None:
    images = [ct(), ct()]
    async with receiver(statuses(500, 302, 404, 204)) as taken:
        who = await working.contract(name(), webhook=taken.url)
        sender = await working.contract(name())
        request = await working.completed(sender, images, answer=Answer.WEBHOOK, destinations=(who,))
        answered = await working.answered(request, who)

    assert (answered.delivered, answered.failed, answered.attempts, answered.reason) == (1, 0, 4, "")
    assert answered.answer is Answer.WEBHOOK
    assert answered.address == taken.url
    assert taken.headers["content-type"] == "application/json"
    assert len(taken.came) == 4
    assert len({body for _, body in taken.came}) == 1
    now = datetime.now(UTC)
    for header, body in taken.came:
        said = received(header, body, [working.secret(who)], now)
    assert said.id == answered.meta.event_id
    assert said.processing_id == request.request_id
    assert (said.state, said.reason) == ("completed", "")
    assert (said.processing_type, said.parameters) == ("gaussian", {"sigma": "1"})
    assert (said.sender, said.destination) == (sender, who)
    assert said.counts == Counts(items=1, done=1, failed=0, skipped=0, results=2)
    assert said.path == f"/processing/{request.request_id}"
    assert [each.sop_instance_uid for each in said.results] == [str(each.SOPInstanceUID) for each in images]
    assert said.results[0].study_instance_uid == images[0].StudyInstanceUID
    assert said.results[0].series_instance_uid == images[0].SeriesInstanceUID
    assert said.results[0].path == f"{said.path}/results/{images[0].SOPInstanceUID}"
    assert said.left_off == 0


async def test_only_who_knows_the_secret_can_have_signed(working: Office) -> None:
    async with receiver(statuses(204)) as taken:
        who = await working.contract(name(), webhook=taken.url)
        await working.answered(await working.completed(who, [ct()], answer=Answer.WEBHOOK), who)
    [(header, body)] = taken.came
    now, secret = datetime.now(UTC), working.secret(who)
    assert received(header, body, ["an older secret", secret], now).destination == who
    with pytest.raises(BadSignature, match="not that of this body"):
        received(header, body, [working.secret("another")], now)
    with pytest.raises(BadSignature, match="not that of this body"):
        received(header, body.replace(b"completed", b"cancelled"), [secret], now)
    with pytest.raises(BadSignature, match="another time"):
        received(header, body, [secret], now + timedelta(minutes=6))
    with pytest.raises(BadSignature, match="missing"):
        received("", body, [secret], now)


async def test_a_receiver_that_is_gone_is_not_asked_again(working: Office) -> None:
    async with receiver(statuses(410)) as taken:
        who = await working.contract(name(), webhook=taken.url)
        request = await working.completed(who, [ct()], answer=Answer.WEBHOOK)
        answered = await working.answered(request, who)
    assert (answered.delivered, answered.failed, answered.attempts) == (0, 1, 1)
    assert answered.reason == "the receiver answered 410 this is answer 1"
    assert len(taken.came) == 1


async def test_redirects_are_not_followed(working: Office) -> None:
    async with receiver(statuses(204)) as elsewhere:
        moved = statuses(307, 307, 410, headers={"Location": elsewhere.url})
        async with receiver(moved) as taken:
            who = await working.contract(name(), webhook=taken.url)
            request = await working.completed(who, answer=Answer.WEBHOOK)
            answered = await working.answered(request, who)
    assert answered.attempts == 3
    assert elsewhere.came == []


async def test_a_receiver_that_never_answers_or_never_ends_holds_up_no_other(working: Office) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    silence = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    hung = await working.contract(name(), webhook=silence)
    read = 0

    async def endless(number: int) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 65536
                await asyncio.sleep(0)
                yield bytes(65536)

        return StreamingResponse(chunks(), 500) if number == 1 else Response(status_code=204)

    async with receiver(endless) as talking, receiver(statuses(204)) as taken:
        talks = await working.contract(name(), webhook=talking.url)
        who = await working.contract(name(), webhook=taken.url)
        begun = asyncio.get_running_loop().time()
        request = await working.completed(who, answer=Answer.WEBHOOK, destinations=(hung, talks, who))
        assert (await working.answered(request, who)).delivered == 1
        answered = await working.answered(request, talks)
        assert asyncio.get_running_loop().time() - begun < working.settings.webhook_timeout
    assert (answered.delivered, answered.attempts) == (1, 2)
    assert read < 32 * 1024 * 1024, "it was let go of"
    with silent:
        await working.cancel(hung)
        answered = await working.answered(request, hung)
    assert (answered.delivered, answered.failed) == (0, 1)


async def test_it_goes_to_the_address_that_the_contract_has_now(working: Office) -> None:
    async with receiver(statuses(500)) as old, receiver(statuses(204)) as new:
        who = await working.contract(name(), webhook=old.url)
        request = await working.completed(who, answer=Answer.WEBHOOK)
        await until(lambda: bool(old.came), "the first try")
        await working.contract(who, webhook=new.url)
        answered = await working.answered(request, who)
    assert answered.address == new.url
    assert len(new.came) == 1
