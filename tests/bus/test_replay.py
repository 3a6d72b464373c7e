"""A stretch of the log: from a place or a time to a place, a time or the present end; then it is over."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from tests.bus import raw
from tests.bus.images import erased, numbers, write, write_with_marker
from tests.bus.waiting import within

from medbus.bus import Bus, Partition, Record
from medbus.schemas.errors import OffsetOutOfRange, SettingsError
from medbus.schemas.topics import IMAGES, REQUESTS

Bound = Mapping[Partition, int] | datetime | None


async def replayed(bus: Bus, since: Bound = None, until: Bound = None) -> list[Record]:
    async with within(10, "the end of the replay"):
        return [r async for batch in bus.replay(IMAGES, since=since, until=until) for r in batch]


async def test_without_bounds_it_is_all_that_there_is(bus: Bus) -> None:
    await write(bus, 5)
    assert numbers(await replayed(bus)) == [0, 1, 2, 3, 4]


async def test_an_empty_topic_is_over_at_once(bus: Bus) -> None:
    assert await replayed(bus) == []


async def test_offsets_bound_it_the_last_exclusive(bus: Bus) -> None:
    partition = await write(bus, 10)
    assert numbers(await replayed(bus, {partition: 3}, {partition: 7})) == [3, 4, 5, 6]
    assert numbers(await replayed(bus, {partition: 8})) == [8, 9]
    assert numbers(await replayed(bus, None, {partition: 2})) == [0, 1]
    assert numbers(await replayed(bus, {partition: 5}, {partition: 5})) == []
    assert numbers(await replayed(bus, {partition: 7}, {partition: 3})) == []


async def test_an_end_beyond_the_log_is_the_end_of_the_log(bus: Bus) -> None:
    partition = await write(bus, 3)
    assert numbers(await replayed(bus, None, {partition: 1000})) == [0, 1, 2]


async def test_what_is_written_after_the_call_is_not_part_of_it(bus: Bus) -> None:
    await write(bus, 5)
    got: list[int] = []
    async for batch in bus.replay(IMAGES, limit=1):
        await write(bus, 100, 101)
        got += numbers(batch)
    assert got == [0, 1, 2, 3, 4]


async def test_times_bound_it_the_last_exclusive(bus: Bus) -> None:
    times: list[datetime] = []
    for number in range(4):
        await write(bus, number, number + 1)
        times.append((await replayed(bus))[-1].timestamp)
        await asyncio.sleep(0.02)
    assert times == sorted(set(times))
    assert numbers(await replayed(bus, times[1], times[3])) == [1, 2]
    assert numbers(await replayed(bus, times[2])) == [2, 3]
    assert numbers(await replayed(bus, None, times[2])) == [0, 1]
    # Finer than Kafka's milliseconds: not before the bound, and up to it.
    finer = timedelta(microseconds=1)
    assert numbers(await replayed(bus, times[1] + finer, times[3] + finer)) == [2, 3]
    assert numbers(await replayed(bus, times[1] - finer, times[2] - finer)) == [1]


async def test_a_time_may_be_in_any_zone_and_far_away(bus: Bus) -> None:
    await write(bus, 2)
    assert numbers(await replayed(bus, datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))) == [
        0,
        1,
    ]
    assert await replayed(bus, datetime(9999, 1, 1, tzinfo=UTC)) == []
    hour_ago = datetime.now(UTC).astimezone() - timedelta(hours=1)
    assert numbers(await replayed(bus, hour_ago)) == [0, 1]
    assert await replayed(bus, None, hour_ago) == []


async def test_a_time_without_zone_is_refused(bus: Bus) -> None:
    await write(bus, 1)
    with pytest.raises(SettingsError, match="without a time zone"):
        await replayed(bus, datetime(2024, 1, 1))  # noqa: DTZ001


async def test_order_holds_within_a_partition_over_all_partitions(bus: Bus) -> None:
    await bus.publish_all([erased(study=str(number % 40), number=number) for number in range(2000)])
    records = await replayed(bus)
    assert len(records) == 2000
    for number in range(IMAGES.partitions):
        offsets = [r.position.offset for r in records if r.position.partition.number == number]
        assert offsets == list(range(len(offsets)))


async def test_each_partition_ends_by_itself(bus: Bus) -> None:
    positions = await bus.publish_all([erased(study=str(n % 40), number=n) for n in range(2000)])
    ends = await bus.end_offsets(IMAGES)
    until = {partition: end // (1 + partition.number) for partition, end in ends.items()}
    since = {partition: end // 3 for partition, end in until.items()}
    records = await replayed(bus, since, until)
    expected = {p for p in positions if since[p.partition] <= p.offset < until[p.partition]}
    assert {record.position for record in records} == expected
    assert len(records) == len(expected)


async def test_batches_are_bounded_and_never_empty(bus: Bus) -> None:
    await bus.publish_all([erased(study=str(number % 9), number=number) for number in range(1000)])
    sizes = [len(batch) async for batch in bus.replay(IMAGES, limit=70)]
    assert sum(sizes) == 1000
    assert max(sizes) == 70
    assert min(sizes) > 0


@pytest.mark.parametrize("abort", [False, True], ids=["committed", "aborted"])
async def test_a_gap_at_the_end_does_not_keep_it_from_ending(bus: Bus, kafka: str, abort: bool) -> None:
    await write(bus, 2)
    await write_with_marker(bus, kafka, 2, abort=abort)
    assert numbers(await replayed(bus)) == [0, 1, 2]


async def test_a_log_that_holds_only_gaps_has_an_end(bus: Bus, kafka: str) -> None:
    await write_with_marker(bus, kafka, 0)
    (partition,) = [p for p, end in (await bus.end_offsets(IMAGES)).items() if end]
    assert await replayed(bus, {partition: 1}) == []


async def test_a_beginning_that_the_log_does_not_hold_is_an_alarm(bus: Bus, kafka: str) -> None:
    partition = await write(bus, 10)
    await raw.delete_records(kafka, f"{bus.prefix}.images", partition.number, 4)
    for since in ({partition: 3}, {partition: 11}):
        with pytest.raises(OffsetOutOfRange) as raised:
            await replayed(bus, since)
        assert f"{partition}@{since[partition]}: it goes from 4 to 10" in raised.value.message
    assert numbers(await replayed(bus)) == list(range(4, 10))
    assert await replayed(bus, {partition: 10}) == []


async def test_several_topics(bus: Bus) -> None:
    await write(bus, 1)
    async with within(10, "the end of the replay"):
        batches = [batch async for batch in bus.replay(REQUESTS, IMAGES)]
    assert [record.position.partition.topic for batch in batches for record in batch] == ["images"]


async def test_leaving_early_leaves_nothing_behind(bus: Bus) -> None:
    await write(bus, 1000)
    async for batch in bus.replay(IMAGES, limit=10):
        assert len(batch) == 10
        break


async def test_offsets_are_those_of_the_log(bus: Bus, kafka: str) -> None:
    partition = await write(bus, 10)
    await raw.delete_records(kafka, f"{bus.prefix}.images", partition.number, 2)
    none = dict.fromkeys(bus.partitions(IMAGES), 0)
    assert len(none) == IMAGES.partitions
    assert await bus.first_offsets(IMAGES) == none | {partition: 2}
    assert await bus.end_offsets(IMAGES) == none | {partition: 10}
