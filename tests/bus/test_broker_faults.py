"""The broker stops, is killed, or hangs: publishers and readers go on, and nothing is lost or read twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from tests.bus.harm import Broker, own_broker
from tests.bus.images import erased
from tests.bus.waiting import within

from medbus.bus import Bus, Record, Start, Subscription, settings
from medbus.bus.admin import create_topics
from medbus.schemas.errors import BusError
from medbus.schemas.events import ImageErased
from medbus.schemas.topics import IMAGES

PUBLISHERS = 4
EVENTS = 150
"""For each publisher, one study each."""


# All in one process, since they share the broker.


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker that these tests harm."""
    with own_broker(tmp_path_factory.mktemp("harmed")) as running:
        yield running


@pytest.fixture
async def broker(shared: Broker, prefix: str) -> Broker:
    """The broker, running, with topics that were just made."""
    await shared.start()
    await create_topics(shared.bootstrap, prefix)
    return shared


@pytest.fixture
async def bus(broker: Broker, prefix: str) -> AsyncIterator[Bus]:
    async with Bus(broker.bootstrap, client_id="test", prefix=prefix) as opened:
        yield opened


def without_repeats(records: list[Record]) -> list[ImageErased]:
    """The events, each the first time that its id comes: as every sink takes them."""
    found: dict[object, ImageErased] = {}
    for record in records:
        assert isinstance(record.event, ImageErased)
        found.setdefault(record.event.meta.event_id, record.event)
    return list(found.values())


@pytest.mark.parametrize(
    "harm", [Broker.restart, Broker.kill_and_start, Broker.hang], ids=lambda h: h.__name__
)
async def test_under_load_nothing_is_lost(
    broker: Broker, bus: Bus, harm: Callable[[Broker], Awaitable[None]]
) -> None:
    published: list[list[ImageErased]] = [[] for _ in range(PUBLISHERS)]
    seen: list[Record] = []

    async def publish(study: int) -> None:
        for number in range(EVENTS):
            event = erased(study=str(study), number=number)
            await bus.publish(event)
            published[study].append(event)
            await asyncio.sleep(0.01)

    async def read(subscription: Subscription) -> None:
        while len(without_repeats(seen)) < PUBLISHERS * EVENTS:
            seen.extend(await anext(subscription))

    async with (
        bus.subscribe(IMAGES) as subscription,
        within(60, "all events to be published and read"),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(read(subscription))
        for study in range(PUBLISHERS):
            tasks.create_task(publish(study))
        while sum(map(len, published)) < PUBLISHERS * EVENTS // 4:  # noqa: ASYNC110  others publish
            await asyncio.sleep(0.02)
        assert sum(map(len, published)) < PUBLISHERS * EVENTS // 2, "it comes too late to harm"
        await harm(broker)
    events = without_repeats(seen)
    for study in range(PUBLISHERS):
        assert [e for e in events if e.study_instance_uid == str(study)] == published[study]
    # What was read while it happened is what stands in the log: no position twice, none left out.
    positions = [record.position for record in seen]
    assert len(positions) == len(set(positions))
    replayed = [record.position async for batch in bus.replay(IMAGES) for record in batch]
    assert set(replayed) == set(positions)


@pytest.mark.parametrize("seconds", [1, 20])
async def test_several_at_once_are_all_written_and_keep_their_order(
    broker: Broker, bus: Bus, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Whether the broker is back before requests time out or later."""
    monkeypatch.setattr(settings, "PRODUCER", {**settings.PRODUCER, "request_timeout_ms": seconds * 1000})
    events = [erased(study=str(number % 3), number=number, reason="x" * 2000) for number in range(8000)]
    async with within(60, "8000 events to be published"):
        publishing = asyncio.create_task(bus.publish_all(events))
        await asyncio.sleep(0.15)
        assert not publishing.done(), "it comes too late to harm"
        await broker.kill_and_start()
        positions = await publishing
    assert len(positions) == 8000
    found = without_repeats([record async for batch in bus.replay(IMAGES) for record in batch])
    assert len(found) == 8000
    for study in "012":
        numbers = [int(e.sop_instance_uid) for e in found if e.study_instance_uid == study]
        assert numbers == sorted(numbers)


async def test_while_the_broker_is_away(broker: Broker, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing waits; offsets are an error that says so; reading gives nothing, and goes on."""
    monkeypatch.setattr(settings, "CONSUMER", {**settings.CONSUMER, "request_timeout_ms": 2000})
    async with bus.subscribe(IMAGES) as subscription:
        await bus.publish(erased(number=0))
        (first,) = await subscription.poll(wait=5)
        await broker.kill()
        publishing = asyncio.create_task(bus.publish(erased(number=1)))
        assert await subscription.poll(wait=0.5) == []
        started = time.monotonic()
        with pytest.raises(BusError, match=f"No Kafka broker answers at {broker.bootstrap}"):
            await subscription.caught_up()
        assert time.monotonic() - started < 5
        assert not publishing.done()
        await broker.start()
        async with within(20, "the event that waited"):
            position = await publishing
            (second,) = await anext(subscription)
        assert second.position == position
        assert second.position.offset == first.position.offset + 1
        assert await subscription.caught_up()


async def test_a_bus_closes_soon_while_the_broker_is_away(broker: Broker, prefix: str) -> None:
    async with (
        Bus(broker.bootstrap, prefix=prefix) as bus,
        bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription,
    ):
        await bus.publish(erased(number=0))
        await subscription.poll(wait=5)
        await broker.kill()
        publishing = [asyncio.create_task(bus.publish(erased(number=n))) for n in range(5)]
        await asyncio.sleep(0.5)
        started = time.monotonic()
    assert time.monotonic() - started < 12
    async with within(5, "the publishers to be told"):
        outcomes = await asyncio.gather(*publishing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BusError] * 5
    assert all("closed" in str(outcome) for outcome in outcomes)


async def test_a_bus_may_be_opened_before_the_broker_answers_again(broker: Broker, prefix: str) -> None:
    """Whoever supervises the program tries again: the first error does no harm."""
    await broker.kill()
    with pytest.raises(BusError):
        async with Bus(broker.bootstrap, prefix=prefix):
            pass
    await broker.start()
    async with Bus(broker.bootstrap, prefix=prefix) as bus, within(10, "an event"):
        await bus.publish(erased())
