"""Following the log: from where it was asked, in order, in batches of bounded size, for ever."""

import asyncio
from contextlib import suppress

import pytest
from aiokafka.partitioner import DefaultPartitioner
from tests.bus import raw
from tests.bus.images import erased, numbers, write, write_with_marker
from tests.bus.waiting import take, until, within
from tests.schemas import golden_bytes

from medbus.bus import Bus, Partition, Position, Start, settings
from medbus.schemas.errors import BusError, OffsetOutOfRange
from medbus.schemas.events import SubscriberActivated
from medbus.schemas.topics import IMAGES, SUBSCRIBERS


async def test_from_the_beginning_comes_all_that_there_is_and_all_that_follows(bus: Bus) -> None:
    await write(bus, 3)
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        assert numbers(await take(subscription, 3)) == [0, 1, 2]
        await write(bus, 3, 5)
        assert numbers(await take(subscription, 2)) == [3, 4]


async def test_from_the_end_comes_what_follows(bus: Bus) -> None:
    await write(bus, 3)
    async with bus.subscribe(IMAGES, start=Start.END) as subscription:
        await write(bus, 3, 5)
        assert numbers(await take(subscription, 2)) == [3, 4]


async def test_the_end_is_that_of_the_moment_of_entering(bus: Bus) -> None:
    """Nothing is missed between entering and the first read: the consumer is made later."""
    async with bus.subscribe(IMAGES) as subscription:
        await write(bus, 2)
        await asyncio.sleep(0.3)
        assert numbers(await take(subscription, 2)) == [0, 1]


async def test_from_offsets_comes_what_stands_there(bus: Bus) -> None:
    partition = await write(bus, 10)
    async with bus.subscribe(IMAGES, start={partition: 7}) as subscription:
        assert numbers(await take(subscription, 3)) == [7, 8, 9]


async def test_partitions_that_are_not_named_begin_at_zero(bus: Bus) -> None:
    one = await write(bus, 4, study="1.2.3")
    other = await write(bus, 1, study=a_study_elsewhere(one))
    async with bus.subscribe(IMAGES, start={one: 4}) as subscription:
        (record,) = await take(subscription, 1)
    assert record.position == Position(other, 0)


def a_study_elsewhere(partition: Partition) -> str:
    """A study whose events go to another partition, found with the partitioner of Kafka's clients."""
    everywhere = list(range(IMAGES.partitions))
    partitioner = DefaultPartitioner()
    return next(
        study
        for study in map(str, range(100))
        if partitioner(study.encode(), everywhere, everywhere) != partition.number
    )


async def test_records_of_a_key_come_in_the_order_in_which_they_were_written(bus: Bus) -> None:
    events = [erased(study=f"1.2.{number % 30}", number=number) for number in range(3000)]
    async with bus.subscribe(IMAGES) as subscription:
        await bus.publish_all(events)
        records = await take(subscription, 3000)
    for number in range(IMAGES.partitions):
        offsets = [r.position.offset for r in records if r.position.partition.number == number]
        assert offsets == list(range(len(offsets)))


async def test_several_topics_are_followed_together(bus: Bus) -> None:
    await bus.publish(golden_bytes.full(SubscriberActivated))
    await write(bus, 1)
    async with bus.subscribe(IMAGES, SUBSCRIBERS, start=Start.BEGINNING) as subscription:
        records = await take(subscription, 2)
    assert {record.position.partition.topic for record in records} == {"images", "subscribers"}


async def test_a_topic_that_was_not_asked_for_does_not_come(bus: Bus) -> None:
    async with bus.subscribe(SUBSCRIBERS, start=Start.BEGINNING) as subscription:
        await write(bus, 1)
        assert await subscription.poll(wait=0.5) == []


async def test_batches_are_never_empty_and_bounded(bus: Bus) -> None:
    await bus.publish_all([erased(study=str(number % 50), number=number) for number in range(2000)])
    sizes: list[int] = []
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription, within(20, "2000 records"):
        while sum(sizes) < 2000:
            sizes.append(len(await anext(subscription)))
    assert min(sizes) > 0
    assert max(sizes) == settings.BATCH_RECORDS


async def test_a_poll_takes_no_more_than_it_is_asked_for(bus: Bus) -> None:
    await write(bus, 10)
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription, within(10, "10 records"):
        got: list[int] = []
        while len(got) < 10:
            batch = await subscription.poll(limit=3)
            assert len(batch) <= 3
            got += numbers(batch)
    assert got == list(range(10))


# Position


async def test_the_position_is_the_offset_of_the_next_record(bus: Bus) -> None:
    partition = await write(bus, 3)
    async with bus.subscribe(IMAGES, start={partition: 1}) as subscription:
        others = {Partition("images", number): 0 for number in range(IMAGES.partitions)}
        assert subscription.position == others | {partition: 1}
        await take(subscription, 2)
        assert subscription.position == others | {partition: 3}


async def test_a_new_subscription_goes_on_at_the_position_of_another(bus: Bus) -> None:
    await write(bus, 5)
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        first = await subscription.poll(wait=5, limit=2)
        position = subscription.position
    async with bus.subscribe(IMAGES, start=position) as subscription:
        assert numbers(first) + numbers(await take(subscription, 3)) == [0, 1, 2, 3, 4]


async def test_caught_up_when_the_end_is_read(bus: Bus) -> None:
    async with bus.subscribe(IMAGES) as subscription:
        assert await subscription.caught_up()
        await write(bus, 3)
        assert not await subscription.caught_up()
        await subscription.poll(wait=5, limit=2)
        assert not await subscription.caught_up()
        await take(subscription, 1)
        assert await subscription.caught_up()


@pytest.mark.parametrize("abort", [False, True], ids=["committed", "aborted"])
async def test_a_gap_at_the_end_does_not_hide_that_all_was_read(bus: Bus, kafka: str, abort: bool) -> None:
    """Counting records, or taking the last record's offset, would wait here for ever."""
    async with bus.subscribe(IMAGES) as subscription:
        await write_with_marker(bus, kafka, 0, abort=abort)
        assert numbers(await take(subscription, 1)) == [0]
        await subscription.poll(wait=0.1)
        await until(subscription.caught_up, 5, "being caught up with a marker at the end")
        await write_with_marker(bus, kafka, 1)
        assert numbers(await take(subscription, 1)) == [1]
        assert max(subscription.position.values()) >= 3


async def test_a_position_within_a_gap_is_good(bus: Bus, kafka: str) -> None:
    await write_with_marker(bus, kafka, 0)
    await write_with_marker(bus, kafka, 1)
    (partition,) = [p for p, end in (await bus.end_offsets(IMAGES)).items() if end]
    async with bus.subscribe(IMAGES, start={partition: 1}) as subscription:
        assert numbers(await take(subscription, 1)) == [1]


# What the log no longer holds


async def test_an_offset_that_was_deleted_is_an_alarm(bus: Bus, kafka: str) -> None:
    partition = await write(bus, 10)
    await raw.delete_records(kafka, f"{bus.prefix}.images", partition.number, 4)
    for start in ({partition: 3}, {}):
        async with bus.subscribe(IMAGES, start=start) as subscription, within(10, "the alarm"):
            for _ in range(2):  # and it does not go away
                with pytest.raises(OffsetOutOfRange) as raised:
                    await anext(subscription)
        assert f"{bus.prefix}.images/{partition.number}@{start.get(partition, 0)}" in raised.value.message
        assert "restore the topic" in raised.value.advice
    async with bus.subscribe(IMAGES, start={partition: 4}) as subscription:
        assert numbers(await take(subscription, 6)) == list(range(4, 10))


async def test_the_beginning_is_the_first_record_that_is_left(bus: Bus, kafka: str) -> None:
    partition = await write(bus, 10)
    await raw.delete_records(kafka, f"{bus.prefix}.images", partition.number, 4)
    assert (await bus.first_offsets(IMAGES))[partition] == 4
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        assert numbers(await take(subscription, 6)) == list(range(4, 10))


async def test_an_offset_beyond_the_end_is_an_alarm(bus: Bus) -> None:
    """The log is shorter than what was read from it once: it was lost, and made anew."""
    partition = await write(bus, 3)
    async with bus.subscribe(IMAGES, start={partition: 4}) as subscription, within(10, "the alarm"):
        with pytest.raises(OffsetOutOfRange):
            await anext(subscription)


async def test_a_deletion_while_following_is_an_alarm(bus: Bus, kafka: str) -> None:
    partition = await write(bus, 3)
    async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
        await take(subscription, 3)
        await write(bus, 3, 6)
        await raw.delete_records(kafka, f"{bus.prefix}.images", partition.number, 6)
        await subscription._reader._drop()  # what it had fetched before is forgotten
        async with within(10, "the alarm"):
            with pytest.raises(OffsetOutOfRange):
                await anext(subscription)


# Cancellation


async def test_no_record_is_lost_when_reading_is_cancelled(bus: Bus) -> None:
    """A time limit around a read is the usual way to look away for a moment."""
    got: list[int] = []
    async with bus.subscribe(IMAGES) as subscription:
        writing = asyncio.create_task(slowly(bus, 60))
        async with within(30, "60 records"):
            while len(got) < 60:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.004):
                        got += numbers(await anext(subscription))
        await writing
    assert got == list(range(60))


async def slowly(bus: Bus, count: int) -> None:
    for number in range(count):
        await bus.publish(erased(number=number))
        await asyncio.sleep(0.003)


async def test_a_closed_subscription_says_so(bus: Bus) -> None:
    async with bus.subscribe(IMAGES) as subscription:
        await subscription.poll(wait=0.1)
    with pytest.raises(BusError, match="closed already"):
        await subscription.poll()


async def test_closing_ends_a_read_that_waits(bus: Bus) -> None:
    async with bus.subscribe(IMAGES) as subscription:
        reading = asyncio.create_task(subscription.__anext__())
        await asyncio.sleep(0.3)
    async with within(5, "the end of the read"):
        with pytest.raises(BusError, match="closed already"):
            await reading
