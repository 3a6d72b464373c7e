"""POST /activation: a program runs for the first time and asks to be added; an event once."""

import asyncio
from uuid import uuid4

import pytest
from tests.gateways.http.web import Web, web_beside

from medbus.projections.directory import DirectoryReader
from medbus.schemas.events import (
    ActivationRequested,
    PaymentCondition,
    RequestAuthorized,
    SubscriberActivated,
)
from medbus.schemas.topics import DECISIONS, SUBSCRIBERS

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


async def activations(site: Web, subscriber: str) -> list[SubscriberActivated]:
    """Activations of a subscriber on the log."""
    found = await site.events(SUBSCRIBERS, SubscriberActivated)
    return [each for each in found if each.subscriber == subscriber]


async def test_the_first_run_is_an_event_that_follows_from_a_granted_request(site: Web) -> None:
    subscriber, token = await site.subscriber()
    answer = await site.call("/activation", token=token, json={"program": "viewer 4.2"})
    [event] = await activations(site, subscriber)
    assert answer.status == 200
    assert answer.body == {
        "subscriber": subscriber,
        "activated_at": event.meta.occurred_at.isoformat().replace("+00:00", "Z"),
    }
    assert event.program == "viewer 4.2"
    [request] = await site.asked(token)
    assert isinstance(request, ActivationRequested)
    assert (request.program, request.evidence.address) == ("viewer 4.2", "127.0.0.1")
    assert token not in repr(request)
    decisions = await site.events(DECISIONS, RequestAuthorized)
    [decision] = [each for each in decisions if each.request_id == request.request_id]
    assert event.meta.cause_id == decision.meta.event_id
    assert event.meta.correlation_id == request.meta.correlation_id == request.request_id
    contract = await DirectoryReader(site.database).contract(subscriber)
    assert contract is not None
    assert contract.activated_at == event.meta.occurred_at


async def test_again_it_changes_nothing(site: Web) -> None:
    subscriber, token = await site.subscriber()
    first = await site.call("/activation", token=token, json={"program": "viewer 4.2"})
    again = await site.call("/activation", token=token, json={"program": "viewer 4.3"})
    assert (again.status, again.body) == (200, first.body)
    assert len(await activations(site, subscriber)) == 1


async def test_two_first_runs_at_once_agree_on_the_first(site: Web) -> None:
    subscriber, token = await site.subscriber()
    answers = await asyncio.gather(
        *(site.call("/activation", token=token, json={"program": f"viewer {number}"}) for number in range(4))
    )
    assert {each.status for each in answers} == {200}
    first = (await activations(site, subscriber))[0].meta.occurred_at.isoformat().replace("+00:00", "Z")
    assert {each.body["activated_at"] for each in answers} == {first}


async def test_it_needs_no_payment(site: Web) -> None:
    _, token = await site.subscriber(tariff=await site.tariff(), payment=PaymentCondition.PREPAID)
    assert (await site.call("/activation", token=token, json={"program": "viewer"})).status == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "Bearer a b", "Bearer ä"])
async def test_without_a_token_nobody_is_asked(site: Web, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    response = await site.client.post("/activation", json={"program": "viewer"}, headers=headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == "Bearer"
    assert "reason" not in response.json()


async def test_a_token_of_nobody_is_rejected(site: Web) -> None:
    token = uuid4().hex
    answer = await site.call("/activation", token=token, json={"program": "viewer"})
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.body["reason"] == "WRONG_CREDENTIAL"
    assert len(await site.asked(token)) == 1, "the attempt is on the log"


async def test_a_cancelled_contract_is_not_activated(site: Web) -> None:
    subscriber, token = await site.subscriber()
    await site.cancel(subscriber)
    answer = await site.call("/activation", token=token, json={"program": "viewer"})
    assert (answer.status, answer.body["reason"]) == (403, "CONTRACT_CANCELLED")
    assert await activations(site, subscriber) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 422),
        (b'{"program": ""}', 422),
        (b'{"program": 7}', 422),
        (b'{"program": "a\\nb"}', 422),
        (b'{"program": "viewer", "subscriber": "B"}', 422),
        (b'{"program": "' + b"x" * 129 + b'"}', 422),
        (b'{"program": "' + b"x" * 70_000 + b'"}', 413),
    ],
    ids=lambda each: repr(each)[:40],
)
async def test_what_can_not_be_is_refused(site: Web, body: bytes, status: int) -> None:
    _, token = await site.subscriber()
    answer = await site.call("/activation", token=token, content=body)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert await site.asked(token) == []


async def test_where_nobody_decides_it_is_to_be_asked_again(site: Web) -> None:
    _, token = await site.subscriber()
    async with web_beside(site, decision_timeout=0.0001) as other:
        answer = await other.call("/activation", token=token, json={"program": "viewer"})
    assert (answer.status, answer.body["detail"]) == (503, "There was no decision in time.")
    assert int(answer.headers["retry-after"]) > 0
