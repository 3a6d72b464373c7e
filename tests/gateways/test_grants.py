"""Grants: asking for them on a real log, and what is left of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from medbus.bus import Bus
from medbus.gateways.grants import Exhausted, Grant, Grants, Rejected, Undecided
from medbus.schemas.events import (
    Evidence,
    Meta,
    RejectionReason,
    RequestAuthorized,
    RequestRejected,
    Scope,
    VerificationRequested,
)

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)


def request() -> VerificationRequested:
    return VerificationRequested(
        meta=Meta.first(uuid4(), source="test", occurred_at=NOW), evidence=Evidence(address="127.0.0.1")
    )


def authorized(asked: VerificationRequested, **changes: object) -> RequestAuthorized:
    fields: dict[str, object] = {
        "meta": asked.meta.caused("decision", source="test", occurred_at=NOW),
        "request_id": asked.request_id,
        "subscriber": "A-hospital",
        "scope": Scope(),
        "expires_at": NOW + timedelta(minutes=1),
    }
    return RequestAuthorized(**(fields | changes))  # type: ignore[arg-type]


async def test_each_request_gets_its_own_decision(bus: Bus) -> None:
    first, second = request(), request()
    async with Grants(bus, timeout=10) as grants:
        asking = [asyncio.create_task(grants.request(each)) for each in (first, second)]
        await asyncio.sleep(0.2)
        await bus.publish(authorized(second, subscriber="B-hospital"))
        await bus.publish(authorized(first))
        granted = await asyncio.gather(*asking)
    assert [each.subscriber for each in granted] == ["A-hospital", "B-hospital"]
    assert [each.grant_id for each in granted] == [first.request_id, second.request_id]


async def test_a_rejection_says_why(bus: Bus) -> None:
    asked = request()
    async with Grants(bus, timeout=10) as grants:
        asking = asyncio.create_task(grants.request(asked))
        await asyncio.sleep(0.2)
        await bus.publish(
            RequestRejected(
                meta=asked.meta.caused("decision", source="test", occurred_at=NOW),
                request_id=asked.request_id,
                reason=RejectionReason.WRONG_ROLE,
                detail="may not register",
            )
        )
        with pytest.raises(Rejected, match="WRONG_ROLE: may not register") as caught:
            await asking
    assert caught.value.reason is RejectionReason.WRONG_ROLE


async def test_nobody_decides(bus: Bus) -> None:
    async with Grants(bus, timeout=0.3) as grants:
        with pytest.raises(Undecided, match=r"within 0\.3 s"):
            await grants.request(request())
        late = request()
        with pytest.raises(Undecided):
            await grants.request(late)
        await bus.publish(authorized(late))  # a decision that comes too late disturbs nobody
        await asyncio.sleep(0.2)


async def test_the_first_of_two_decisions_counts(bus: Bus) -> None:
    asked = request()
    async with Grants(bus, timeout=10) as grants:
        asking = asyncio.create_task(grants.request(asked))
        await asyncio.sleep(0.2)
        await bus.publish_all([authorized(asked), authorized(asked, subscriber="B-hospital")])
        assert (await asking).subscriber == "A-hospital"


def test_images_and_bytes_are_counted() -> None:
    grant = Grant(authorized(request(), max_images=2, max_bytes=100))
    grant.take(60)
    with pytest.raises(Exhausted, match="100 bytes"):
        grant.take(41)
    grant.take(40)
    with pytest.raises(Exhausted, match="2 images"):
        grant.take(0)
    grant.give_back(40)
    grant.take(40)


def test_a_grant_without_limits_has_none() -> None:
    grant = Grant(authorized(request()))
    for _ in range(1000):
        grant.take(10**12)


def test_a_grant_is_over_at_its_expiry() -> None:
    grant = Grant(authorized(request()))
    assert not grant.expired(NOW + timedelta(seconds=59))
    assert grant.expired(NOW + timedelta(seconds=60))
