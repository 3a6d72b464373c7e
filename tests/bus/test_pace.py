"""Following the log at a pace: few and full batches while records keep coming, at once after a silence."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from tests.bus.images import numbers, write
from tests.bus.waiting import take, within

from medbus.bus import Bus, Record, Start
from medbus.schemas.topics import IMAGES

PACE = 0.2


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the log was asked for records during the test."""
    times: list[float] = []
    send = AIOKafkaClient.send

    async def noted(self: AIOKafkaClient, node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, FetchRequest):
            times.append(time.monotonic())
        return await send(self, node, request, **options)

    monkeypatch.setattr(AIOKafkaClient, "send", noted)
    return times


async def test_records_that_keep_coming_are_fetched_once_a_pace(bus: Bus, fetches: list[float]) -> None:
    count = 60
    batches: list[tuple[float, list[Record]]] = []
    async with bus.subscribe(IMAGES, pace=PACE) as subscription:
        assert await subscription.poll(wait=0.1) == []
        writing = asyncio.create_task(_slowly(bus, count))
        async with within(20, f"{count} records"):
            while sum(len(records) for _, records in batches) < count:
                batches.append((time.monotonic(), await anext(subscription)))
        taken = time.monotonic()
        await writing
    came = [record for _, records in batches for record in records]
    assert numbers(came) == list(range(count))
    # The first comes alone, and each of the others brings what came in a pace: never only the next record.
    first, *between, _ = (len(records) for _, records in batches)
    assert first == 1
    assert min(between) > 3
    looks = [at for at in fetches if at <= taken]
    assert len(looks) <= len(batches) + 2


async def _slowly(bus: Bus, count: int) -> None:
    for number in range(count):
        await write(bus, number, number + 1)
        await asyncio.sleep(0.015)


async def test_batches_are_a_pace_apart(bus: Bus) -> None:
    async with bus.subscribe(IMAGES, pace=PACE) as subscription:
        times = []
        for number in range(4):
            await write(bus, number, number + 1)
            async with within(10, "a record"):
                assert numbers(await anext(subscription)) == [number]
            times.append(time.monotonic())
    # The first batch takes longest to decode, so the second may follow its end sooner.
    assert all(PACE / 2 < later - earlier < PACE + 1 for earlier, later in pairwise(times))


async def test_what_comes_after_a_silence_comes_at_once(bus: Bus) -> None:
    async with bus.subscribe(IMAGES, pace=2.0) as subscription:
        await write(bus, 1)
        await take(subscription, 1)
        assert await subscription.poll(wait=2.2) == []
        waiting = asyncio.create_task(anext(subscription))
        await write(bus, 1, 2)
        written = time.monotonic()
        async with within(10, "a record"):
            assert numbers(await waiting) == [1]
    assert time.monotonic() - written < 1


async def test_a_backlog_comes_without_pauses(bus: Bus) -> None:
    await write(bus, 50)
    async with (
        bus.subscribe(IMAGES, start=Start.BEGINNING, pace=60) as subscription,
        within(20, "50 records"),
    ):
        batches = [await subscription.poll(limit=10) for _ in range(5)]
    assert [numbers(batch) for batch in batches] == [list(range(at, at + 10)) for at in range(0, 50, 10)]


async def test_who_stops_waiting_in_a_pause_loses_no_record(bus: Bus) -> None:
    async with bus.subscribe(IMAGES, pace=PACE) as subscription:
        await write(bus, 1)
        found = await take(subscription, 1)
        await write(bus, 1, 10)
        async with within(20, "10 records"):
            while len(found) < 10:
                try:
                    found += await asyncio.wait_for(subscription.poll(), 0.03)
                except TimeoutError:
                    continue
    assert numbers(found) == list(range(10))


async def test_it_closes_in_a_pause_at_once(bus: Bus) -> None:
    async with bus.subscribe(IMAGES, pace=60) as subscription:
        await write(bus, 1)
        await take(subscription, 1)
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0.05)
        waiting.cancel()
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_who_is_in_a_hurry_ends_the_pause(bus: Bus) -> None:
    async with bus.subscribe(IMAGES, pace=60) as subscription:
        await write(bus, 1)
        await take(subscription, 1)
        waiting = asyncio.create_task(anext(subscription))
        await write(bus, 1, 2)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        subscription.pace = 0
        async with within(5, "a record"):
            assert numbers(await waiting) == [1]
        assert subscription.pace == 0
        await write(bus, 2, 3)
        async with within(5, "a record"):
            assert numbers(await anext(subscription)) == [2]
