"""Billing workers are killed while a rebalance is under way: each event is charged once, an audit agrees."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from uuid import UUID

import pytest
from tests.faults.billable import WORKER, billable, contracts
from tests.streams.processes import Worker, Workers, workers

from medbus.bus import Bus, Position
from medbus.schemas.events import FeeCharged
from medbus.schemas.topics import FEES
from medbus.streams.billing.fee import origin
from medbus.streams.billing.rebilling import rebill

CHUNK = 250
PAUSE_SECONDS = 0.03
"""From one chunk to the next: so many events come that a worker is always busy, and it never has them all."""


class Crew:
    """Two places for billing workers: the first one is always taken again at once."""

    def __init__(self, bus: Bus, made: Workers) -> None:
        self._bus = bus
        self._made = made
        self.killed = 0

    async def start(self, *options: str, ready: bool = True) -> Worker:
        return await self._made.start(*options, program=WORKER, ready=ready)

    async def first(self) -> Worker:
        """A worker that takes up the partitions of its forerunner at once."""
        return await self.start("--member", "first")

    async def kill(self, worker: Worker) -> Worker:
        """Kill a worker that has work to do; its successor has joined."""
        assert await worker.end(signal.SIGKILL, within=5) == -signal.SIGKILL
        self.killed += 1
        return await self.first()

    async def charged(self, count: int, within: float = 60.0) -> None:
        """Wait until there are so many fees, repeated ones included."""
        deadline = time.monotonic() + within
        while (fees := sum((await self._bus.end_offsets(FEES)).values())) < count:
            assert time.monotonic() < deadline, f"{fees} of {count} fees after {within} s"
            await asyncio.sleep(0.02)


@pytest.fixture
async def crew(bus: Bus) -> AsyncIterator[Crew]:
    async with workers(bus) as made:
        yield Crew(bus, made)


async def test_a_kill_and_a_rebalance_charge_nothing_twice_and_leave_nothing_out(
    bus: Bus, crew: Crew, tmp_path: Path
) -> None:
    causes = await billed_in_spite_of(bus, crew, events=5_000, kills=1)
    await agreed(bus, causes, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_three_kills_and_a_rebalance_among_a_hundred_thousand_events(
    bus: Bus, crew: Crew, tmp_path: Path
) -> None:
    causes = await billed_in_spite_of(bus, crew, events=100_000, kills=3)
    await agreed(bus, causes, tmp_path)


async def billed_in_spite_of(bus: Bus, crew: Crew, *, events: int, kills: int) -> list[Position]:
    """Write events; meanwhile workers are killed, and one joins and leaves. Returns where they stand."""
    await contracts(bus, *(f"subscriber-{number}" for number in range(20)))
    first = await crew.first()
    both = asyncio.Event()
    loading = asyncio.create_task(load(bus, events, both))

    await crew.charged(events // 10)
    joining = asyncio.create_task(crew.start())
    first = await crew.kill(first)  # in the midst of the rebalance
    second = await joining
    both.set()
    for number in range(1, kills):
        await crew.charged(events * (1 + 2 * number) // 10)
        first = await crew.kill(first)
    await crew.charged(events * 7 // 10)
    assert await second.end(signal.SIGTERM, within=5) == 0

    causes = await loading
    await all_charged(bus, events)
    assert crew.killed == kills
    assert await first.end(signal.SIGTERM, within=5) == 0
    return causes


async def load(bus: Bus, count: int, both: asyncio.Event) -> list[Position]:
    """Write events, and the last ones only when both workers are there."""
    positions: list[Position] = []
    coming = billable(count)
    while chunk := list(islice(coming, CHUNK)):
        if len(positions) >= count // 2:
            await both.wait()
        positions += await bus.publish_all(chunk)
        await asyncio.sleep(PAUSE_SECONDS)
    return positions


async def all_charged(bus: Bus, count: int, within: float = 60.0) -> None:
    """Wait until so many different fees are there."""
    deadline = time.monotonic() + within
    fees: set[UUID] = set()
    done = await bus.first_offsets(FEES)
    while len(fees) < count:
        assert time.monotonic() < deadline, f"{len(fees)} of {count} fees after {within} s"
        await asyncio.sleep(0.2)
        since, done = done, await bus.end_offsets(FEES)
        async for batch in bus.replay(FEES, since=since, until=done):
            fees.update(
                record.event.meta.event_id for record in batch if isinstance(record.event, FeeCharged)
            )


async def agreed(bus: Bus, causes: list[Position], scratch: Path) -> None:
    """Check the fees on the log, each event's once, and that an audit finds them right."""
    fees: dict[UUID, FeeCharged] = {}
    repeated = 0
    async for batch in bus.replay(FEES):
        for record in batch:
            fee = record.event
            assert isinstance(fee, FeeCharged), record
            # One that was repeated is the same to the last field.
            assert fees.setdefault(fee.meta.event_id, fee) == fee
            repeated += 1
    repeated -= len(fees)
    assert len(fees) == len(causes)
    assert Counter(fee.cause for fee in fees.values()) == Counter(map(origin, causes))
    assert repeated < len(fees) / 2

    report = await rebill(bus, scratch)
    assert (report.differences, report.different, report.waiting) == ((), 0, 0)
    assert report.fees == len(causes)
