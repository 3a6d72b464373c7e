"""The chain of a conversation, read from a real log."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from msgspec.structs import replace
from tests.projections.examples import image
from tests.projections.money import ORIGIN, asked, authorized, fee, payment

from medbus.bus import Bus, Record
from medbus.projections.chain import chain
from medbus.schemas.events import Event, FeeCharged, RegistrationRequested


def conversation_of(correlation_id: UUID) -> list[Event]:
    """A request, its decision, what was done and the fee for it."""
    request = asked(kind=RegistrationRequested, conversation=correlation_id)
    decision = authorized(request)
    registered = image(str(uuid4().int))
    registered = replace(
        registered,
        meta=replace(registered.meta, cause_id=decision.meta.event_id, correlation_id=correlation_id),
    )
    charged = fee(cause=ORIGIN)
    charged = replace(
        charged, meta=replace(charged.meta, cause_id=registered.meta.event_id, correlation_id=correlation_id)
    )
    return [request, decision, registered, charged]


async def of(bus: Bus, correlation_id: UUID, since: datetime, until: datetime | None = None) -> list[Record]:
    found = [record async for record in chain(bus, correlation_id, since=since, until=until)]
    return sorted(found, key=lambda each: each.timestamp)


def kinds(records: Sequence[Record]) -> set[str]:
    return {type(each.event).__name__ for each in records}


async def test_a_chain_is_all_events_of_a_conversation_whatever_their_topic(bus: Bus) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    ours, theirs = uuid4(), uuid4()
    events, others = conversation_of(ours), conversation_of(theirs)
    positions = []
    for mine, other in zip(events, others, strict=True):
        positions.append(await bus.publish(mine))
        await bus.publish(other)
    await bus.publish(payment())
    found = await of(bus, ours, since)
    assert {each.position: each.event for each in found} == dict(zip(positions, events, strict=True))
    assert len(found) == 4
    assert len(await of(bus, theirs, since)) == 4
    assert await of(bus, uuid4(), since) == []


async def test_a_chain_is_read_between_two_times(bus: Bus) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    ours = uuid4()
    for event in conversation_of(ours):
        await bus.publish(event)
    *_, last = [each for each in await of(bus, ours, since) if isinstance(each.event, FeeCharged)]
    assert kinds(await of(bus, ours, last.timestamp)) >= {"FeeCharged"}
    assert "FeeCharged" not in kinds(await of(bus, ours, since, last.timestamp))
    assert len(await of(bus, ours, since, last.timestamp + timedelta(milliseconds=1))) == 4
    assert await of(bus, ours, last.timestamp + timedelta(milliseconds=1)) == []
