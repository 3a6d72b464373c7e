"""Grants: asking for them on a real log, and what is left of them."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from medbus.bus import Bus, Position
from medbus.gateways.grants import Exhausted, Grant, Grants, Rejected, Undecided
from medbus.schemas.events import (
    ContractCancelled,
    Evidence,
    Meta,
    RejectionReason,
    RequestAuthorized,
    RequestRejected,
    Scope,
    SubscriberContracted,
    Terms,
    VerificationRequested,
)
from medbus.schemas.topics import SUBSCRIBERS

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


async def cancel(bus: Bus, subscriber: str, event_id: UUID | None = None) -> Position:
    """End a contract."""
    return await bus.publish(
        ContractCancelled(
            meta=Meta.first(event_id or uuid4(), source="test", occurred_at=NOW),
            subscriber=subscriber,
            reason="",
        )
    )


async def contract(bus: Bus, subscriber: str) -> Position:
    """Make a contract."""
    return await bus.publish(
        SubscriberContracted(
            meta=Meta.first(uuid4(), source="test", occurred_at=NOW),
            subscriber=subscriber,
            terms=Terms(name=subscriber),
        )
    )


async def granted(bus: Bus, grants: Grants, subscriber: str = "A-hospital") -> Grant:
    """A grant."""
    asked = request()
    asking = asyncio.create_task(grants.request(asked))
    await asyncio.sleep(0.1)
    await bus.publish(authorized(asked, subscriber=subscriber))
    return await asking


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that has to come true within a second."""
    try:
        async with asyncio.timeout(1):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 1 s: {what}") from None


async def test_the_grants_of_a_cancelled_subscriber_end_within_a_second(bus: Bus) -> None:
    async with Grants(bus, timeout=10) as grants:
        mine = [await granted(bus, grants) for _ in range(2)]
        other = await granted(bus, grants, "B-hospital")
        await cancel(bus, "A-hospital")
        await until(lambda: all(each.ended for each in mine), "the grants ended")
        assert not other.ended
        assert (grants.cancelled("A-hospital"), grants.cancelled("B-hospital")) == (True, False)


async def test_a_decision_that_did_not_know_of_the_cancellation_grants_nothing(bus: Bus) -> None:
    async with Grants(bus, timeout=10) as grants:
        await cancel(bus, "A-hospital")
        await until(lambda: grants.cancelled("A-hospital"), "the cancellation was heard")
        with pytest.raises(Rejected, match=r"The contract of A-hospital was cancelled\.") as caught:
            await granted(bus, grants)
        assert caught.value.reason is RejectionReason.CONTRACT_CANCELLED
        await contract(bus, "A-hospital")
        await until(lambda: not grants.cancelled("A-hospital"), "the new contract was heard")
        assert not (await granted(bus, grants)).ended


async def test_what_ended_stays_so_under_a_new_contract(bus: Bus) -> None:
    async with Grants(bus, timeout=10) as grants:
        old = await granted(bus, grants)
        event_id = uuid4()
        await cancel(bus, "A-hospital", event_id)
        await contract(bus, "A-hospital")
        await until(lambda: old.ended and not grants.cancelled("A-hospital"), "both were heard")
        new = await granted(bus, grants)
        await cancel(bus, "A-hospital", event_id)  # written twice, it still happened once
        await cancel(bus, "B-hospital")
        await until(lambda: grants.cancelled("B-hospital"), "what came after was heard")
        assert not new.ended


async def test_a_cancellation_that_the_catalog_does_not_show_yet_is_not_missed(bus: Bus) -> None:
    before = await bus.end_offsets(SUBSCRIBERS)
    await cancel(bus, "A-hospital")
    async with Grants(bus, timeout=10, known=before) as grants:
        await until(lambda: grants.cancelled("A-hospital"), "the cancellation was heard")
    beyond = {partition: offset + 100 for partition, offset in before.items()}
    async with Grants(bus, timeout=10, known=beyond) as grants:  # a log that was put back
        await cancel(bus, "B-hospital")
        await until(lambda: grants.cancelled("B-hospital"), "what is new was heard")


async def test_grants_that_nobody_holds_are_forgotten(bus: Bus) -> None:
    async with Grants(bus, timeout=10) as grants:
        gone = weakref.ref(await granted(bus, grants))
        await asyncio.sleep(0.01)  # the loop lets go of the task that asked
        gc.collect()
        assert gone() is None
