"""GET and DELETE /processing: how far a request has come, for those whom it concerns, and its end."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from tests.gateways.http import jobs
from tests.gateways.http.jobs import ask, stored
from tests.gateways.http.web import Web

from medbus.schemas.events import (
    AccountRequested,
    Answer,
    CancellationRequested,
    ProcessingCancelled,
    ResultRequested,
    ResultsAnswered,
    Role,
)
from medbus.schemas.topics import PROCESSING

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

RECEIVER = Role.IMAGE_RECEIVING


async def test_it_shows_how_far_it_has_come(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    path = f"/processing/{processing_id}"
    await job.started(items=3)
    blob = await stored(site, b"1")
    await job.processed(0, blob, finding="gaps between slices")
    shown = (await site.call(path, token=token)).body
    counts = ("items", "done", "failed", "skipped", "images", "results")
    assert [shown[each] for each in counts] == [3, 1, 0, 0, 3, 1]
    assert (shown["state"], shown["completed_at"], shown["findings"]) == ("PLANNED", None, [])
    await job.processed(1, blob, finding="gaps between slices")
    await job.failed(2, "no pixel data")
    await job.completed()
    shown = (await site.call(path, token=token)).body
    assert [shown[each] for each in counts] == [3, 2, 1, 0, 3, 2]
    times = [datetime.fromisoformat(shown[f"{each}_at"]) for each in ("requested", "started", "completed")]
    assert times == sorted(times)
    assert {each: shown[each] for each in ("id", "type", "parameters", "state", "sender")} == {
        "id": str(processing_id),
        "type": "gaussian",
        "parameters": {"sigma": "2"},
        "state": "COMPLETED",
        "sender": subscriber,
    }
    assert shown["failures"] == [{"item": 2, "server": "500-1", "reason": "no pixel data"}]
    assert shown["findings"] == [{"finding": "gaps between slices", "items": 2}]
    assert shown["cancelled_at"] is None


async def test_only_those_whom_it_concerns_see_it(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    (first, firsts), (second, seconds) = [await site.subscriber(RECEIVER) for _ in range(2)]
    _, strangers = await site.subscriber(RECEIVER, Role.MANAGER, Role.AUDITOR)
    processing_id = await ask(site, token, destinations=[first, second])
    paths = [f"/processing/{processing_id}{each}" for each in ("", "/results")]
    for path in paths:
        for each in (token, firsts, seconds):
            assert (await site.call(path, token=each)).status == 200
        hidden = await site.call(path, token=strangers)
        assert (hidden.status, hidden.headers["content-type"]) == (404, "application/problem+json")
        nothing = await site.call(path.replace(str(processing_id), str(uuid4())), token=strangers)
        assert nothing.body == hidden.body, "nobody learns what there is"
        assert (await site.call(path)).status == 401
    for each, destinations in ((token, [first, second]), (firsts, [first]), (seconds, [second])):
        [listed] = (await site.call("/processing", token=each)).body["processing"]
        assert (listed["id"], listed["sender"]) == (str(processing_id), subscriber)
        assert listed["destinations"] == destinations
    assert (await site.call("/processing", token=strangers)).body["processing"] == []
    assert (await site.call("/processing/no-id", token=token)).status == 404


async def test_it_shows_how_destinations_were_answered(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    other, others = await site.subscriber(RECEIVER)
    processing_id = await ask(site, token, destinations=[subscriber, other])
    asked = await jobs.event(site, processing_id)
    for destination in (subscriber, other):
        await site.publish(
            ResultsAnswered(
                meta=asked.meta.caused(destination, source="test", occurred_at=asked.meta.occurred_at),
                grant_id=processing_id,
                subscriber=subscriber,
                destination=destination,
                answer=Answer.C_STORE,
                address=f"AE@{destination}:104",
                delivered=1,
                failed=0,
                attempts=2,
            )
        )

    async def answered(token: str) -> list[tuple[str, str]]:
        shown = (await site.call(f"/processing/{processing_id}", token=token)).body["answers"]
        assert all(
            (each["answer"], each["delivered"], each["attempts"]) == ("C_STORE", 1, 2) for each in shown
        )
        return sorted((each["destination"], each["address"]) for each in shown)

    each = [(name, f"AE@{name}:104") for name in (subscriber, other)]
    assert await answered(token) == sorted(each)
    assert await answered(others) == each[1:]


async def test_requests_are_listed_page_by_page_those_made_last_first(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)
    made = [str(await ask(site, token)) for _ in range(5)]
    found: list[str] = []
    query = "?limit=2"
    for _ in range(5):
        page = (await site.call(f"/processing{query}", token=token)).body
        assert len(page["processing"]) <= 2
        found += [each["id"] for each in page["processing"]]
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
    assert found == made[::-1]
    assert (await site.call("/processing?limit=0", token=token)).status == 422


async def test_a_look_is_granted_for_half_a_minute(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)
    processing_id = await ask(site, token)

    async def looks() -> list[int]:
        for path in (f"/processing/{processing_id}", f"/processing/{processing_id}/results", "/processing"):
            assert (await site.call(path, token=token)).status == 200
        asked = await site.asked(token)
        return [sum(isinstance(each, kind) for each in asked) for kind in (ResultRequested, AccountRequested)]

    assert await looks() == [1, 1]
    assert await looks() == [1, 1]
    site.clock.shift = timedelta(seconds=31)
    assert await looks() == [2, 2]
    [first, _] = [each for each in await site.asked(token) if isinstance(each, ResultRequested)]
    assert first.processing_id == processing_id
    assert first.meta.correlation_id == processing_id, "it belongs to the conversation"


async def test_who_may_not_receive_may_not_look(site: Web) -> None:
    _, token = await site.subscriber(Role.IMAGE_REGISTERING)
    answer = await site.call(f"/processing/{uuid4()}", token=token)
    assert (answer.status, answer.body["reason"]) == (403, "WRONG_ROLE")


async def test_it_is_cancelled_once(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=2)
    path = f"/processing/{processing_id}"
    for _ in range(2):
        answer = await site.call(path, token=token, method="DELETE")
        assert (answer.status, answer.body["id"]) == (202, str(processing_id))
        assert answer.body["cancelled_at"] is not None, "it is shown at once"
    [event] = [
        each for each in await site.events(PROCESSING, ProcessingCancelled) if each.grant_id == processing_id
    ]
    assert (event.subscriber, event.by) == (subscriber, subscriber)
    assert event.meta.correlation_id == processing_id
    asked = [each for each in await site.asked(token) if isinstance(each, CancellationRequested)]
    assert [each.processing_id for each in asked] == [processing_id] * 2
    await job.completed()
    answer = await site.call(path, token=token, method="DELETE")
    assert (answer.status, answer.body["state"]) == (202, "CANCELLED")


async def test_what_is_over_is_not_cancelled(site: Web) -> None:
    subscriber, token = await site.subscriber(RECEIVER)
    processing_id, job = await jobs.job(site, subscriber, token)
    await job.started(items=1)
    await job.completed()
    answer = await site.call(f"/processing/{processing_id}", token=token, method="DELETE")
    assert (answer.status, "completed already" in answer.body["detail"]) == (409, True)
    events = await site.events(PROCESSING, ProcessingCancelled)
    assert processing_id not in {each.grant_id for each in events}


async def test_only_who_asked_may_cancel(site: Web) -> None:
    _, token = await site.subscriber(RECEIVER)
    other, others = await site.subscriber(RECEIVER)
    _, strangers = await site.subscriber(RECEIVER)
    processing_id = await ask(site, token, destinations=[other])
    path = f"/processing/{processing_id}"
    for each, status in ((others, 403), (strangers, 404)):
        assert (await site.call(path, token=each, method="DELETE")).status == status
    assert (await site.call(path, method="DELETE")).status == 401
    assert (await site.call(path, token=token)).body["cancelled_at"] is None
