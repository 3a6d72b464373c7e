"""How much each subscriber has in the store, and for how long, on every database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.projections.asked import asked
from tests.projections.examples import erased, image
from tests.projections.interleaving import deliveries, log_of
from tests.projections.memory_log import BEGIN, MemoryLog
from tests.projections.tables import catalog, rows_of
from tests.projections.test_determinism import image_events

from medbus.bus import Record
from medbus.projections import projection
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError
from medbus.projections.images import ImageReader
from medbus.projections.projector import PROJECTIONS, Projector
from medbus.schemas.events import Event, ImageErased, ImageRegistered

fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

A, B = "A-hospital", "B-hospital"
HOUR = timedelta(hours=1)


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def dated(log: MemoryLog, times: Sequence[float]) -> None:
    """Let records have arrived some minutes after the beginning, in the order of the log."""
    arrivals = iter(times)
    for _, records in sorted(log.records.items()):
        records[:] = [replace(each, timestamp=at(next(arrivals))) for each in records]


class Store:
    """The usage that some events lead to, each some minutes after the beginning."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self._log = log
        self._projector = projector
        self.reader = ImageReader(reader)

    async def given(self, *events: tuple[float, Event]) -> ImageReader:
        for minutes, event in events:
            position = self._log.append(event)
            records = self._log.records[position.partition]
            records[-1] = replace(records[-1], timestamp=at(minutes))
        await self._projector.catch_up()
        return self.reader


@pytest.fixture
def store(log: MemoryLog, projector: Projector, reader: Database) -> Store:
    return Store(log, projector, reader)


async def test_who_has_registered_nothing_has_used_nothing(store: Store) -> None:
    reader = await store.given((0, image("1")))
    assert await reader.byte_seconds(B, at(0), at(60)) == 0


async def test_an_image_counts_from_the_second_in_which_it_came(store: Store) -> None:
    reader = await store.given((10.25, image("1", size=1000)))
    assert await reader.byte_seconds(A, at(0), at(10)) == 0
    assert await reader.byte_seconds(A, at(10), at(11)) == 1000 * 45
    assert await reader.byte_seconds(A, at(0), at(60)) == 1000 * (50 * 60 - 15)
    assert await reader.byte_seconds(A, at(11), at(12)) == 1000 * 60
    assert await reader.byte_seconds(A, at(30), at(30)) == 0
    a_year_later = at(60 * 24 * 365)
    assert await reader.byte_seconds(A, a_year_later, a_year_later + HOUR) == 1000 * 3600


async def test_an_image_that_is_erased_counts_until_then(store: Store) -> None:
    event = image("1", size=1000)
    reader = await store.given((1, event), (2, image("2", size=7)), (3.5, erased(event)))
    assert await reader.byte_seconds(A, at(0), at(60)) == 1000 * 150 + 7 * 58 * 60
    assert await reader.byte_seconds(A, at(10), at(11)) == 7 * 60


async def test_what_comes_again_or_is_refused_or_was_erased_before_it_came_counts_for_nothing(
    store: Store,
) -> None:
    event, early = image("1", size=1000), image("2", size=5000)
    reader = await store.given(
        (1, event),
        (1, erased(early)),
        (2, event),
        (3, image("1", contents="other", size=300, registrant=B)),
        (4, early),
        (5, erased(event)),
        (6, event),
        (6, erased(event)),
    )
    assert await reader.byte_seconds(A, at(0), at(60)) == 1000 * 4 * 60
    assert await reader.byte_seconds(B, at(0), at(60)) == 0


async def test_other_contents_count_for_whoever_registered_them_after_the_first_were_erased(
    store: Store,
) -> None:
    first = image("1", size=1000)
    other = image("1", contents="other", size=300, registrant=B)
    reader = await store.given((1, first), (2, erased(first)), (3, other))
    assert await reader.byte_seconds(A, at(0), at(10)) == 1000 * 60
    assert await reader.byte_seconds(B, at(0), at(10)) == 300 * 7 * 60


async def test_an_image_in_the_shadow_of_another_is_in_the_store_as_well(store: Store) -> None:
    reader = await store.given(
        (1, image("1", study="1.1", size=1000)), (2, image("1", study="1.5", size=500, registrant=B))
    )
    assert await reader.byte_seconds(A, at(0), at(10)) == 1000 * 9 * 60
    assert await reader.byte_seconds(B, at(0), at(10)) == 500 * 8 * 60


async def test_petabytes_for_a_year_are_counted_exactly(store: Store) -> None:
    size = 3 * 10**15 + 1
    reader = await store.given((0, image("1", size=size)), (0.5, image("2", size=size)))
    year = 60 * 24 * 365
    assert await reader.byte_seconds(A, at(0), at(year)) == size * (2 * year * 60 - 30)
    assert size * year * 60 > 2**63


@pytest.mark.parametrize("moment", [BEGIN + timedelta(seconds=1), BEGIN + timedelta(microseconds=1)])
async def test_periods_are_of_whole_minutes(moment: datetime, store: Store) -> None:
    reader = await store.given((0, image("1")))
    with pytest.raises(CatalogError, match="no whole minute"):
        await reader.byte_seconds(A, moment, at(9))
    with pytest.raises(CatalogError, match="no whole minute"):
        await reader.byte_seconds(A, BEGIN, moment)


def byte_seconds_by_the_rule(records: Sequence[Record], registrant: str, start: int, end: int) -> int:
    """The same, worked out second by second and slot by slot; times are in minutes after the beginning."""
    changes: list[tuple[int, int]] = []
    slots: dict[tuple[str, str], ImageRegistered] = {}
    gone: set[tuple[tuple[str, str], str]] = set()
    lost: set[tuple[tuple[str, str], object]] = set()
    for record in records:
        event = record.event
        second = int((record.timestamp - BEGIN).total_seconds())
        if isinstance(event, ImageErased):
            slot = event.sop_instance_uid, event.study_instance_uid
            gone.add((slot, event.digest))
            if slot in slots and slots[slot].blob.digest == event.digest:
                if slots[slot].registrant == registrant:
                    changes.append((second, -slots[slot].blob.size))
                del slots[slot]
        elif isinstance(event, ImageRegistered):
            slot = event.instance.sop_instance_uid, event.study.study_instance_uid
            if slot not in slots and (slot, event.blob.digest) not in gone | lost:
                slots[slot] = event
                if event.registrant == registrant:
                    changes.append((second, event.blob.size))
            elif slot in slots and slots[slot].blob.digest != event.blob.digest:
                lost.add((slot, event.blob.digest))
    return sum(
        size for second in range(start * 60, end * 60) for happened, size in changes if happened <= second
    )


@fast
@given(st.data(), image_events())
def test_byte_seconds_are_what_is_worked_out_second_by_second(data: st.DataObject, some: list[Event]) -> None:
    log = log_of(some)
    log.extend(data.draw(st.lists(st.sampled_from(some), max_size=4)))
    number = len(log.all())
    seconds = st.lists(st.integers(0, 5 * 60_000 - 1), min_size=number, max_size=number)
    # In a partition the log's time never goes back.
    dated(log, [each / 60_000 for each in sorted(data.draw(seconds))])
    start, end = sorted((data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))))
    with catalog() as connection:
        for batch in data.draw(deliveries(log)):
            projection.apply(connection, PROJECTIONS, batch)
        reader = ImageReader(asked(connection))
        for registrant in (A, B):
            found = asyncio.run(reader.byte_seconds(registrant, at(start), at(end)))
            assert found == byte_seconds_by_the_rule(log.all(), registrant, start, end)


def seconds_of(log: MemoryLog) -> st.SearchStrategy[list[int]]:
    number = len(log.all())
    return st.lists(st.integers(0, 2), min_size=number, max_size=number)


@fast
@given(st.data(), image_events())
def test_the_rows_of_usage_do_not_depend_on_grouping(data: st.DataObject, some: list[Event]) -> None:
    log = log_of(some)
    # Much happens in the same second, so that images come and go in it.
    dated(log, [second / 60 for second in sorted(data.draw(seconds_of(log)))])
    expected = rows_of([log.all()])["usage_by_minute"]
    assert rows_of(data.draw(deliveries(log)))["usage_by_minute"] == expected
    assert rows_of([record] for record in log.all())["usage_by_minute"] == expected
