"""GET /account: what a subscriber has and owes, page by page, for itself and for those who audit it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

import pytest
from tests.gateways.http.web import Answer, Web
from tests.projections.examples import image

from medbus.schemas.events import (
    AccountRequested,
    Apparatus,
    Collection,
    FeeCharged,
    FeeKind,
    InvoiceIssued,
    InvoiceLine,
    Meta,
    Money,
    Origin,
    PaymentCondition,
    PaymentReceived,
    Retrieval,
    Role,
)
from medbus.schemas.payment import MANUAL, payment_id
from medbus.schemas.topics import DECISIONS, REQUESTS

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
PATHS = ("", "/fees", "/invoices", "/payments", "/requests")


def fee(subscriber: str, number: int, at: datetime = NOW, currency: str = "EUR") -> FeeCharged:
    """A fee of 1.25, or of 125 where there are no decimals."""
    cause = Meta.first(uuid5(NAMESPACE_OID, f"{subscriber}/{number}"), source="test", occurred_at=at)
    return FeeCharged(
        meta=cause.caused("DELIVERY", source="billing", occurred_at=at, actor=subscriber),
        subscriber=subscriber,
        kind=FeeKind.DELIVERY,
        quantity=1,
        unit="image",
        price="1.25" if currency != "JPY" else "125",
        per=1,
        amount=Money(minor_units=125, currency=currency),
        policy="half-up-2" if currency != "JPY" else "half-up-0",
        tariff="standard",
        version=1,
        cause=Origin(topic="deliveries", partition=0, offset=number),
    )


def paid(subscriber: str, reference: str, at: datetime = NOW) -> PaymentReceived:
    """A payment of 10.00."""
    return PaymentReceived(
        meta=Meta.first(payment_id(MANUAL, reference), source="test", occurred_at=at, actor=subscriber),
        subscriber=subscriber,
        reference=reference,
        amount=Money(minor_units=1000, currency="EUR"),
        channel=MANUAL,
        paid_at=at,
    )


def issued(subscriber: str, number: str, fees: int = 2) -> InvoiceIssued:
    """An invoice with one line."""
    total = Money(minor_units=125 * fees, currency="EUR")
    return InvoiceIssued(
        meta=Meta.first(uuid4(), source="test", occurred_at=NOW, actor=subscriber),
        subscriber=subscriber,
        number=number,
        period="2026-01",
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2026, 2, 1, tzinfo=UTC),
        name="A",
        lines=(
            InvoiceLine(
                kind=FeeKind.DELIVERY,
                count=fees,
                quantity=fees,
                unit="image",
                price="1.25",
                per=1,
                amount=total,
                policy="half-up-2",
                tariff="standard",
                version=1,
                digest="d",
            ),
        ),
        total=total,
    )


async def look(site: Web, path: str, token: str, **query: str | int) -> Answer:
    """GET /account…"""
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return await site.call(f"/account{path}?{parameters}", token=token)


async def pages(site: Web, path: str, token: str, limit: int) -> list[list[dict[str, Any]]]:
    """All pages."""
    found: list[list[dict[str, Any]]] = []
    query: dict[str, str | int] = {"limit": limit}
    for _ in range(50):
        answer = await look(site, path, token, **query)
        assert answer.status == 200, answer.body
        found.append(answer.body[path.strip("/")])
        if answer.body["next"] is None:
            return found
        query["before"] = answer.body["next"]
    raise AssertionError("the pages do not end")


async def test_an_account_shows_balances_capacity_and_the_contract(site: Web) -> None:
    tariff = await site.tariff()
    subscriber, token = await site.subscriber(
        Role.IMAGE_REGISTERING,
        capacity_bytes=5000,
        tariff=tariff,
        payment=PaymentCondition.CONFIRMED,
        webhook="https://results.example/medbus",
        apparatuses=(Apparatus(apparatus_id="A_US#1", ae_title="A_US1"),),
        collections=(
            Collection(
                retrieval=Retrieval.FOLDER,
                apparatus_id="A_US#1",
                address="/var/spool/us1",
                every_seconds=30,
            ),
        ),
    )
    await site.call("/activation", token=token, json={"program": "viewer 4.2"})
    await site.publish(
        image(f"1.2.{uuid4().int}", size=1234, registrant=subscriber),
        fee(subscriber, 1),
        fee(subscriber, 2),
        fee(subscriber, 3, currency="JPY"),
        paid(subscriber, f"R-{subscriber}"),
        issued(subscriber, f"I-{subscriber}"),
    )
    answer = await look(site, "", token)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    contract, paid_at = answer.body.pop("contract"), answer.body.pop("paid_at")
    assert answer.body == {
        "subscriber": subscriber,
        "capacity": {"allocated_bytes": 5000, "used_bytes": 1234, "images": 1},
        "balances": [
            {
                "currency": "EUR",
                "charged": "2.50",
                "paid": "10.00",
                "invoiced": "2.50",
                "left": "7.50",
                "due": "-7.50",
            },
            {
                "currency": "JPY",
                "charged": "125",
                "paid": "0",
                "invoiced": "0",
                "left": "-125",
                "due": "0",
            },
        ],
    }
    times = [paid_at, contract.pop("contracted_at"), contract.pop("activated_at")]
    assert all(abs(datetime.fromisoformat(e) - datetime.now(UTC)) < timedelta(minutes=1) for e in times)
    assert contract == {
        "name": f"{subscriber}'s",
        "state": "IN_FORCE",
        "cancelled_at": None,
        "roles": ["IMAGE_REGISTERING"],
        "tariff": tariff,
        "payment": "CONFIRMED",
        "webhook": "https://results.example/medbus",
        "collections": [
            {
                "apparatus_id": "A_US#1",
                "retrieval": "FOLDER",
                "address": "/var/spool/us1",
                "every_seconds": 30,
            }
        ],
    }


async def test_a_fee_shows_what_it_is_for(site: Web) -> None:
    subscriber, token = await site.subscriber()
    event = fee(subscriber, 7)
    await site.publish(event)
    [found] = (await look(site, "/fees", token)).body["fees"]
    position = found.pop("position")
    assert (position["topic"], position["offset"] >= 0) == ("fees", True)
    assert found == {
        "fee_id": str(event.meta.event_id),
        "kind": "DELIVERY",
        "item": "",
        "quantity": 1,
        "unit": "image",
        "price": "1.25",
        "per": 1,
        "amount": {"amount": "1.25", "currency": "EUR"},
        "policy": "half-up-2",
        "tariff": "standard",
        "version": 1,
        "period": "",
        "charged_at": "2026-01-07T12:00:00Z",
        "cause_id": str(event.meta.cause_id),
        "cause": {"topic": "deliveries", "partition": 0, "offset": 7},
        "conversation": str(event.meta.correlation_id),
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_hold_everything_once_the_newest_first(site: Web, limit: int) -> None:
    subscriber, token = await site.subscriber()
    # Several at one time: 1, 3, 1 and 2 of them.
    seconds = (0, 1, 1, 1, 2, 3, 3)
    await site.publish(
        *(fee(subscriber, number, NOW + timedelta(seconds=s)) for number, s in enumerate(seconds)),
        *(paid(subscriber, f"{subscriber}-{n}", NOW + timedelta(seconds=s)) for n, s in enumerate(seconds)),
    )
    for path, identity in (("/fees", "fee_id"), ("/payments", "payment_id")):
        found = await pages(site, path, token, limit)
        every = [each for page in found for each in page]
        assert len({each[identity] for each in every}) == len(every) == 7
        time = "charged_at" if path == "/fees" else "paid_at"
        moments = [datetime.fromisoformat(each[time]) for each in every]
        assert moments == sorted(moments, reverse=True)
        assert all(0 < len(page) <= max(limit, 3) for page in found)


async def test_invoices_are_shown_with_their_lines_to_their_subscriber_alone(site: Web) -> None:
    subscriber, token = await site.subscriber()
    _, stranger = await site.subscriber()
    number = f"2026-01/{subscriber}"
    event = issued(subscriber, number)
    await site.publish(event)
    [listed] = (await look(site, "/invoices", token)).body["invoices"]
    assert (listed["number"], listed["total"]) == (number, {"amount": "2.50", "currency": "EUR"})
    assert (listed["start"], listed["end"]) == ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    answer = await look(site, f"/invoices/{number}", token)
    assert answer.body == {
        "subscriber": subscriber,
        **listed,
        "lines": [
            {
                "kind": "DELIVERY",
                "item": "",
                "count": 2,
                "quantity": 2,
                "unit": "image",
                "price": "1.25",
                "per": 1,
                "amount": {"amount": "2.50", "currency": "EUR"},
                "policy": "half-up-2",
                "tariff": "standard",
                "version": 1,
                "period": "",
                "digest": "d",
            }
        ],
    }
    assert (await look(site, f"/invoices/{number}", stranger)).status == 404
    assert (await look(site, "/invoices", stranger)).body["invoices"] == []
    for nothing in ("nothing", "a%00b", "%F0%9F%92%A9"):
        answer = await look(site, f"/invoices/{nothing}", token)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_requests_are_shown_with_what_was_decided_and_why(site: Web) -> None:
    subscriber, token = await site.subscriber()
    await look(site, "", token)
    await look(site, "", token, subscriber="somebody-else")
    await site.settled(REQUESTS)
    await site.settled(DECISIONS)
    answer = await look(site, "/requests", token)
    rejected, granted = answer.body["requests"]
    assert (granted["kind"], granted["outcome"], granted["reason"]) == (
        "AccountRequested",
        "AUTHORIZED",
        None,
    )
    assert (rejected["outcome"], rejected["reason"]) == ("REJECTED", "WRONG_ROLE")
    assert subscriber in rejected["detail"]
    assert granted["position"]["topic"] == "requests"
    assert granted["decision_position"]["topic"] == "decisions"
    assert granted["address"] == "127.0.0.1"
    assert granted["conversation"] == granted["request_id"]


async def test_auditors_and_managers_may_look_at_others(site: Web) -> None:
    subscriber, own = await site.subscriber()
    await site.publish(fee(subscriber, 1))
    for role in (Role.AUDITOR, Role.MANAGER):
        _, token = await site.subscriber(role)
        for path in PATHS:
            answer = await look(site, path, token, subscriber=subscriber)
            assert (answer.status, answer.body["subscriber"]) == (200, subscriber), path
        assert len((await look(site, "/fees", token, subscriber=subscriber)).body["fees"]) == 1
        assert (await look(site, "/fees", token)).body["fees"] == [], "its own"
        assert (await look(site, "", token, subscriber="nobody")).status == 404
    assert (await look(site, "", own, subscriber=subscriber)).status == 200, "its own by name"


@pytest.mark.parametrize("path", PATHS)
async def test_others_may_not(site: Web, path: str) -> None:
    subscriber, _ = await site.subscriber()
    _, stranger = await site.subscriber()
    answer = await look(site, path, stranger, subscriber=subscriber)
    assert (answer.status, answer.body["reason"]) == (403, "WRONG_ROLE")
    answer = await site.call(f"/account{path}")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await look(site, path, uuid4().hex)).status == 401


async def looks(site: Web, token: str) -> int:
    """How often it was asked whether somebody may look."""
    return sum(isinstance(each, AccountRequested) for each in await site.asked(token))


async def test_a_grant_serves_for_half_a_minute(site: Web) -> None:
    subscriber, token = await site.subscriber(Role.AUDITOR)
    for path in PATHS:
        await look(site, path, token)
    assert await looks(site, token) == 1
    await look(site, "", token, subscriber=subscriber)
    assert await looks(site, token) == 2, "another account, as far as can be told"
    site.clock.shift = timedelta(seconds=29)
    await look(site, "", token)
    assert await looks(site, token) == 2
    site.clock.shift = timedelta(seconds=31)
    await look(site, "", token)
    assert await looks(site, token) == 3


async def test_it_ends_with_the_contract(site: Web) -> None:
    subscriber, token = await site.subscriber()
    assert (await look(site, "", token)).status == 200
    await site.cancel(subscriber)
    async with asyncio.timeout(1):
        while (answer := await look(site, "", token)).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (answer.status, answer.body["reason"]) == (403, "CONTRACT_CANCELLED")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "limit=",
        "limit=1e3",
        "limit=%D9%A1",
        "before=yesterday",
        "before=2026-01-07T12:00:00",
        "before=2026-01-07T12:00:00+01:00",
        "before=0001-01-01T00:00:00%2B14:00",
        "before=",
        "subscriber=",
        "subscriber=a%00b",
        f"subscriber={'x' * 65}",
    ],
)
async def test_what_can_not_be_is_refused(site: Web, query: str) -> None:
    _, token = await site.subscriber()
    for path in ("/fees", "/invoices", "/payments", "/requests"):
        answer = await site.call(f"/account{path}?{query}", token=token)
        assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_any_time_may_be_asked_for(site: Web) -> None:
    subscriber, token = await site.subscriber()
    await site.publish(fee(subscriber, 1))
    found: Sequence[int] = [
        len((await look(site, "/fees", token, before=each)).body["fees"])
        for each in (
            "0001-01-01T00:00:00Z",
            "2026-01-07T12:00:00Z",
            "2026-01-07T12:00:01Z",
            "9999-12-31T23:59:59Z",
        )
    ]
    assert found == [0, 0, 1, 1]
