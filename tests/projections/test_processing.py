"""The processing catalog on every database: how far requests have come, and what is still to be done."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, event
from tests.projections.asked import asked as database_of
from tests.projections.examples import NOON
from tests.projections.interleaving import deliveries, log_of
from tests.projections.memory_log import BEGIN, MemoryLog
from tests.projections.money import asked, authorized
from tests.projections.processing_events import (
    answered,
    blob,
    cancelled,
    completed,
    failed,
    granted,
    identity_of,
    image_processed,
    item_processed,
    kept,
    planned,
    processing,
    refused,
    server_started,
    skipped,
    started,
)
from tests.projections.tables import catalog, rows_of

from medbus.projections.database import Database
from medbus.projections.processing import (
    Item,
    ItemState,
    Job,
    ProcessingProjection,
    ProcessingReader,
    Server,
    State,
    StoredResult,
    Totals,
)
from medbus.projections.projector import Projector
from medbus.schemas.events import Answer, Event, Keep, ProcessingRequested, RejectionReason

fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def after(seconds: int) -> datetime:
    """When the record with this number arrived in the log."""
    return BEGIN + timedelta(seconds=seconds)


class Processing:
    """The processing that some events lead to."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self.log = log
        self._projector = projector
        self.reader = ProcessingReader(reader)

    async def given(self, *events: Event) -> ProcessingReader:
        self.log.extend(events)
        await self._projector.catch_up()
        return self.reader

    async def job(self, request: ProcessingRequested, *events: Event) -> Job:
        job = await (await self.given(*events)).job(request.request_id)
        assert job is not None
        return job


@pytest.fixture
def catalogued(log: MemoryLog, projector: Projector, reader: Database) -> Processing:
    return Processing(log, projector, reader)


async def test_a_request_is_asked_then_planned_then_completed(catalogued: Processing) -> None:
    request = processing(UUID(int=1), keep=Keep.AFTER, answer=Answer.C_STORE, destinations=("B", "C", "B"))
    asked_for = Job(
        request_id=UUID(int=1),
        conversation=UUID(int=1),
        requested_at=after(1),
        processing_type="gaussian",
        parameters={"width": "2.5", "resample": "yes"},
        keep=Keep.AFTER,
        answer=Answer.C_STORE,
        destinations=("B", "C"),
    )
    assert await catalogued.job(request, request) == asked_for
    decided = replace(asked_for, subscriber="A")
    assert await catalogued.job(request, granted(request)) == decided
    begun = replace(decided, state=State.PLANNED, items=3, images=4, started_at=after(3))
    assert await catalogued.job(request, started(request, 3, 4)) == begun
    progressed = replace(begun, done=1, failed=1, results=2)
    assert (
        await catalogued.job(request, item_processed(request, 1, results=2), failed(request, 2)) == progressed
    )
    done = replace(progressed, skipped=1, state=State.COMPLETED, completed_at=after(7))
    assert await catalogued.job(request, skipped(request, 3), completed(request)) == done


async def test_the_destination_is_who_asked_if_nobody_is_named(catalogued: Processing) -> None:
    request = processing()
    assert (await catalogued.job(request, request)).destinations == ()
    assert (await catalogued.job(request, granted(request))).destinations == ("A",)


async def test_request_and_grant_are_there_as_recorded(catalogued: Processing) -> None:
    request, other = processing(destinations=("B",)), processing()
    grant = granted(request)
    reader = await catalogued.given(request, grant, other, refused(other))
    assert await reader.request(request.request_id) == request
    assert await reader.grant(request.request_id) == grant
    assert await reader.grant(other.request_id) is None
    assert await reader.request(uuid4()) is None
    assert await reader.grant(uuid4()) is None


async def test_a_rejected_request_says_why(catalogued: Processing) -> None:
    request = processing()
    job = await catalogued.job(request, request, refused(request))
    assert (job.state, job.subscriber) == (State.REJECTED, "A")
    assert (job.reason, job.detail) == (RejectionReason.WRONG_ROLE, "it may not receive images")


async def test_what_failed_as_a_whole_says_why(catalogued: Processing) -> None:
    request = processing()
    job = await catalogued.job(
        *(request, request, granted(request)), failed(request, None, "no image is in scope")
    )
    assert (job.state, job.reason, job.completed_at) == (State.FAILED, "no image is in scope", None)
    job = await catalogued.job(request, completed(request))
    assert (job.state, job.completed_at) == (State.FAILED, after(4))
    assert await catalogued.reader.totals(request.request_id) is None


async def test_a_request_is_cancelled_when_it_is_completed_after_a_cancellation(
    catalogued: Processing,
) -> None:
    request, late = processing(), processing()
    job = await catalogued.job(request, request, granted(request), started(request, 1), cancelled(request))
    assert (job.state, job.cancelled_at) == (State.PLANNED, after(4))
    assert await catalogued.reader.cancelled(request.request_id)
    assert not await catalogued.reader.cancelled(late.request_id)
    job = await catalogued.job(request, skipped(request, 1), completed(request))
    assert (job.state, job.skipped) == (State.CANCELLED, 1)
    job = await catalogued.job(late, late, granted(late), completed(late), cancelled(late))
    assert (job.state, job.cancelled_at) == (State.COMPLETED, after(10))


async def test_jobs_are_found_by_who_has_a_part_in_them_the_newest_first(catalogued: Processing) -> None:
    one, two, three, four = (processing() for _ in range(4))
    two = replace(two, destinations=("A", "C"))
    four = replace(four, destinations=("A",))
    reader = await catalogued.given(
        *(one, two, three, four, granted(four, "B"), refused(three, "B")),
        *(granted(two, "B"), granted(one, "A")),
    )

    async def found(
        subscriber: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 1000,
    ) -> list[UUID]:
        jobs = await reader.jobs(subscriber=subscriber, since=since, until=until, limit=limit)
        return [each.request_id for each in jobs]

    ids = [each.request_id for each in (one, two, three, four)]
    assert await found() == ids[::-1]
    assert await found(limit=2) == [ids[3], ids[2]]
    assert await found(limit=None) == ids[::-1]
    assert await found("A") == [ids[3], ids[1], ids[0]]
    # Who asked is not a destination of its own request if it names others, and may see it all the same.
    assert await found("B") == [ids[3], ids[2], ids[1]]
    assert await found("C") == [ids[1]]
    assert await found("D") == []
    assert await found("A", limit=1) == [ids[3]]
    assert await found(since=after(2), until=after(4)) == [ids[2], ids[1]]
    assert await found("A", since=after(2)) == [ids[3], ids[1]]
    assert await found("A", until=after(2)) == [ids[0]]


async def test_a_rejected_request_is_not_shown_to_its_destinations(catalogued: Processing) -> None:
    request, unknown = processing(destinations=("C",)), processing(destinations=("C",))
    reader = await catalogued.given(request, refused(request, "B"), unknown, refused(unknown, None))
    assert await reader.jobs(subscriber="C") == []
    assert [each.request_id for each in await reader.jobs(subscriber="B")] == [request.request_id]
    assert len(await reader.jobs()) == 2


async def test_items_tell_their_plan_and_what_became_of_them(catalogued: Processing) -> None:
    request = processing(UUID(int=3))
    reader = await catalogued.given(
        *(planned(request, 1, slot=7), planned(request, 2, server="500-2"), planned(request, 3, slot=9)),
        item_processed(request, 1, images=3, results=2, findings=("uneven spacing",)),
        *(failed(request, 2, "poison", server="500-2"), item_processed(request, 4, server=None, images=0)),
    )
    one = Item(
        request_id=UUID(int=3),
        item=1,
        state=ItemState.PROCESSED,
        server="500-1",
        slot=7,
        identity=identity_of(request, 1),
        images=3,
        bytes=3000,
        milliseconds=30,
        results=2,
        findings=("uneven spacing",),
        planned_at=after(1),
        done_at=after(4),
    )
    two = Item(
        request_id=UUID(int=3),
        item=2,
        state=ItemState.FAILED,
        server="500-2",
        slot=0,
        identity=identity_of(request, 2),
        reason="poison",
        planned_at=after(2),
        done_at=after(5),
    )
    three = Item(
        request_id=UUID(int=3), item=3, slot=9, identity=identity_of(request, 3), planned_at=after(3)
    )
    reused = Item(
        request_id=UUID(int=3),
        item=4,
        state=ItemState.PROCESSED,
        identity=identity_of(request, 4),
        results=1,
        done_at=after(6),
    )
    assert await reader.items(UUID(int=3)) == [one, two, three, reused]
    assert await reader.failures(UUID(int=3)) == [two]
    assert await reader.items(uuid4()) == []
    await catalogued.given(failed(request, 3), failed(request, 5))
    assert [each.item for each in await reader.failures(UUID(int=3))] == [2, 3, 5]
    assert [each.item for each in await reader.failures(UUID(int=3), 2)] == [2, 3]


async def test_the_first_outcome_of_an_item_counts(catalogued: Processing) -> None:
    request = processing()
    reader = await catalogued.given(
        *(request, started(request, 2), item_processed(request, 1), failed(request, 1), failed(request, 2)),
        *(item_processed(request, 2, server="500-2"), item_processed(request, 1, server="500-2")),
    )
    assert [each.state for each in await reader.items(request.request_id)] == ["PROCESSED", "FAILED"]
    assert await reader.totals(request.request_id) == Totals(
        items=2, processed=1, failed=1, sessions=1, images=1, bytes=1000, milliseconds=10, results=1
    )


async def test_results_are_found_by_item_and_number(catalogued: Processing) -> None:
    request, other = processing(UUID(int=5)), processing()
    made = [image_processed(request, item, number) for item, number in [(10, 0), (2, 1), (2, 0), (9, 0)]]
    reader = await catalogued.given(*made, image_processed(other, 1))
    first = StoredResult(
        request_id=UUID(int=5),
        item=2,
        number=0,
        processing_type="gaussian",
        description="gaussian 2.5 mm",
        study_instance_uid="1.1",
        series_instance_uid="2.25.5",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="2.25.5.2.0",
        blob=blob("2.25.5.2.0"),
    )

    async def places(
        item: int | None = None, after: tuple[int, int] | None = None, limit: int | None = None
    ) -> list[tuple[int, int]]:
        found = await reader.results(UUID(int=5), item=item, after=after, limit=limit)
        return [(each.item, each.number) for each in found]

    assert (await reader.results(UUID(int=5)))[0] == first
    assert await places() == [(2, 0), (2, 1), (9, 0), (10, 0)]
    assert await places(item=2) == [(2, 0), (2, 1)]
    assert await places(after=(2, 0), limit=2) == [(2, 1), (9, 0)]
    assert await places(after=(2, 1)) == [(9, 0), (10, 0)]
    assert await places(item=2, after=(2, 0)) == [(2, 1)]
    assert await places(after=(10, 0)) == []
    assert await reader.result(UUID(int=5), "2.25.5.2.0") == first
    assert await reader.result(UUID(int=5), image_processed(other, 1).sop_instance_uid) is None


async def test_results_that_exist_are_found_by_their_identity(catalogued: Processing) -> None:
    first, second, third = (processing() for _ in range(3))
    reader = await catalogued.given(
        *(image_processed(first, 1), item_processed(first, 1, findings=("tilted",))),
        *(image_processed(second, 4, 1), image_processed(second, 4, 0)),
        item_processed(second, 4, identity="same", findings=("uneven",), results=2),
        *(image_processed(third, 1), item_processed(third, 1, identity="same", server=None)),
        *(planned(third, 2, identity="planned"), failed(third, 2)),
    )
    found = await reader.same("same")
    assert [(each.request_id, each.item, each.number) for each in found] == [
        (second.request_id, 4, 0),
        (second.request_id, 4, 1),
    ]
    item = await reader.same_item("same")
    assert item is not None
    assert (item.request_id, item.item, item.findings) == (second.request_id, 4, ("uneven",))
    assert await reader.same("planned") == []
    assert await reader.same_item("planned") is None


async def test_totals_are_there_once_it_is_known_how_many_items_there_are(catalogued: Processing) -> None:
    request = processing()
    reader = await catalogued.given(item_processed(request, 1), item_processed(request, 3, server=None))
    assert await reader.totals(request.request_id) is None
    await catalogued.given(started(request, 4))
    totals = await reader.totals(request.request_id)
    assert totals == Totals(
        items=4, processed=2, sessions=1, images=2, bytes=2000, milliseconds=20, results=2
    )
    assert not totals.finished
    await catalogued.given(item_processed(request, 2, server="500-2", images=5), failed(request, 4))
    totals = await reader.totals(request.request_id)
    assert totals == Totals(
        items=4, processed=3, failed=1, sessions=2, images=7, bytes=7000, milliseconds=70, results=3
    )
    assert totals.finished


async def test_totals_of_a_request_of_which_nothing_is_done_yet(catalogued: Processing) -> None:
    request = processing()
    reader = await catalogued.given(started(request, 4))
    assert await reader.totals(request.request_id) == Totals(items=4)


async def test_the_load_is_what_any_server_may_still_do(catalogued: Processing) -> None:
    one, two = processing(), processing()
    reader = await catalogued.given(
        *(planned(one, item, slot=item % 2) for item in range(5)),
        *(planned(two, 1, slot=7), planned(two, 2, slot=1, server="500-1")),
    )
    assert await reader.load() == {0: 3, 1: 2, 7: 1}
    await catalogued.given(item_processed(one, 0), failed(one, 1), skipped(two, 1), item_processed(two, 2))
    assert await reader.load() == {0: 2, 1: 1}
    # What is done before its plan is read was never outstanding.
    await catalogued.given(item_processed(two, 3), planned(two, 3, slot=4))
    assert await reader.load() == {0: 2, 1: 1}
    await catalogued.given(completed(one), planned(one, 9, slot=4))
    assert await reader.load() == {}


async def test_an_item_that_was_planned_again_in_another_slot_is_done_in_both(catalogued: Processing) -> None:
    request = processing()
    reader = await catalogued.given(planned(request, 1, slot=5), planned(request, 1, slot=3))
    assert await reader.load() == {3: 1, 5: 1}
    assert [each.slot for each in await reader.items(request.request_id)] == [5]
    await catalogued.given(item_processed(request, 1))
    assert await reader.load() == {}


async def test_servers_are_known_by_their_last_start(catalogued: Processing) -> None:
    reader = await catalogued.given(
        server_started("500-2", 8, minutes=1), server_started("500-1", 2, minutes=3)
    )
    await catalogued.given(server_started("500-1", 4, minutes=2), server_started("500-2", 4, minutes=5))
    assert await reader.servers() == [
        Server(name="500-1", cores=2, started_at=NOON + timedelta(minutes=3)),
        Server(name="500-2", cores=4, started_at=NOON + timedelta(minutes=5)),
    ]


def whole(request: ProcessingRequested, subscriber: str = "A") -> list[Event]:
    """All that happens until a request is completed."""
    return [
        *(request, granted(request, subscriber), started(request, 1), planned(request, 1)),
        *(image_processed(request, 1), item_processed(request, 1), completed(request)),
    ]


@pytest.mark.parametrize("keep", [Keep.BEFORE, Keep.AFTER, Keep.BOTH])
async def test_a_completed_request_is_unkept_until_its_images_are_registered(
    keep: Keep, catalogued: Processing
) -> None:
    request, other = processing(keep=keep), processing()
    *before, last = whole(request)
    reader = await catalogued.given(*before, *whole(other))
    assert await reader.unkept(10) == []
    await catalogued.given(last)
    (job,) = await reader.unkept(10)
    assert job == await reader.job(request.request_id)
    assert job.state is State.COMPLETED
    await catalogued.given(kept(request))
    assert await reader.unkept(10) == []


async def test_those_completed_first_are_kept_first(catalogued: Processing) -> None:
    requests = [processing(keep=Keep.AFTER) for _ in range(4)]
    reader = await catalogued.given(*(e for request in requests for e in whole(request)))
    ids = [each.request_id for each in requests]
    assert [each.request_id for each in await reader.unkept(10)] == ids
    assert [each.request_id for each in await reader.unkept(2)] == ids[:2]


@pytest.mark.parametrize("answer", [Answer.C_STORE, Answer.WEBHOOK])
async def test_destinations_are_unanswered_until_each_was_answered(
    answer: Answer, catalogued: Processing
) -> None:
    request = processing(answer=answer, destinations=("B", "C"))
    reader = await catalogued.given(*whole(request), *whole(processing(answer=Answer.FETCH)))
    job = await reader.job(request.request_id)
    assert await reader.unanswered(10) == [(job, "B"), (job, "C")]
    assert await reader.unanswered(1) == [(job, "B")]
    await catalogued.given(answered(request, "B"))
    assert await reader.unanswered(10) == [(job, "C")]
    await catalogued.given(answered(request, "C"), answered(request, "B", delivered=0))
    assert await reader.unanswered(10) == []
    assert await reader.answers(request.request_id) == [answered(request, "B"), answered(request, "C")]


async def test_what_is_to_be_registered_is_answered_only_when_it_was(catalogued: Processing) -> None:
    request = processing(keep=Keep.AFTER, answer=Answer.C_STORE)
    reader = await catalogued.given(*whole(request))
    assert await reader.unanswered(10) == []
    await catalogued.given(kept(request))
    assert [to for _, to in await reader.unanswered(10)] == ["A"]


async def test_also_cancelled_and_failed_requests_are_answered(catalogued: Processing) -> None:
    one, two = processing(answer=Answer.WEBHOOK), processing(answer=Answer.WEBHOOK)
    reader = await catalogued.given(
        *(one, granted(one), cancelled(one), completed(one)),
        *(two, granted(two), failed(two), completed(two)),
    )
    assert [job.state for job, _ in await reader.unanswered(10)] == [State.CANCELLED, State.FAILED]


async def test_events_of_a_request_that_is_not_known_harm_nothing(catalogued: Processing) -> None:
    request = processing(keep=Keep.AFTER, answer=Answer.C_STORE)
    _, *others = whole(request)
    reader = await catalogued.given(*others, kept(request), answered(request, "B"), cancelled(request))
    assert await reader.job(request.request_id) is None
    assert await reader.jobs() == await reader.jobs(subscriber="A") == []
    assert await reader.unkept(10) == []
    assert await reader.unanswered(10) == []
    assert len(await reader.results(request.request_id)) == 1
    # When it comes at last, everything falls into place.
    job = await catalogued.job(request, request)
    assert (job.state, job.subscriber, job.done) == (State.COMPLETED, "A", 1)
    assert await reader.unanswered(10) == [(job, "A")]


async def test_a_text_with_a_nul_character_is_taken_up_without_it(catalogued: Processing) -> None:
    request = processing()
    reader = await catalogued.given(request, failed(request, 1, "tag \0 is wrong"))
    assert [each.reason for each in await reader.failures(request.request_id)] == ["tag  is wrong"]


def statements(connection: Connection, some: Sequence[Event]) -> int:
    """How many statements it takes to take up events."""
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(connection, "before_cursor_execute", note)
    try:
        ProcessingProjection().apply(connection, log_of(some).all())
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return count


def test_requests_and_decisions_of_other_kinds_cost_nothing() -> None:
    query = asked()
    with catalog() as connection:
        assert statements(connection, [query, authorized(query)]) == 0
        request = processing()
        assert statements(connection, [request, granted(request)]) > 0


def test_a_thousand_items_take_as_many_statements_as_one() -> None:
    request = processing()

    def done(items: range) -> list[Event]:
        return [e for n in items for e in (image_processed(request, n), item_processed(request, n))]

    with catalog() as connection:
        few = statements(connection, done(range(1)))
        assert statements(connection, done(range(1, 1001))) == few <= 6


REQUESTS = [UUID(int=n) for n in (1, 3, 5)]
"""The events of each are in partitions of their own."""

About = Callable[[ProcessingRequested, int], Event]
MAKERS: tuple[About, ...] = (
    lambda r, _: granted(r),
    lambda r, _: refused(r),
    lambda r, n: started(r, n + 1),
    lambda r, n: planned(r, n, slot=n),
    lambda r, n: planned(r, n, slot=n + 1),
    lambda r, n: planned(r, n, slot=n, server="500-2"),
    image_processed,
    lambda r, n: item_processed(r, n, identity=f"identity {n}"),
    lambda r, n: item_processed(r, n, server=f"500-{n}", images=2),
    failed,
    skipped,
    lambda r, _: failed(r),
    lambda r, _: cancelled(r),
    lambda r, _: completed(r),
    lambda r, _: kept(r),
    lambda r, n: answered(r, ("A", "B", "C", "D")[n]),
    lambda _, n: server_started(f"500-{n % 2}", minutes=n),
)
requests = [
    processing(REQUESTS[0], keep=Keep.AFTER, answer=Answer.C_STORE, destinations=("B", "C")),
    processing(REQUESTS[1], answer=Answer.WEBHOOK),
    processing(REQUESTS[2], keep=Keep.BOTH),
]
about_requests: st.SearchStrategy[Event] = st.builds(
    lambda make, request, number: make(request, number),
    st.sampled_from(MAKERS),
    st.sampled_from(requests),
    st.integers(0, 3),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Whole and broken courses of a few requests; each event id belongs to one event in each slot."""
    known = [request for request in requests if draw(st.booleans())]
    events: list[Event] = [*known, *draw(st.lists(about_requests, max_size=24))]
    if draw(st.booleans()):
        events += [e for request in known for e in whole(request)[1:]]
    return draw(st.permutations(events))


def test_the_requests_are_in_different_partitions() -> None:
    log = MemoryLog()
    assert len({log.partition(each) for each in requests}) == 3
    assert len({log.partition(completed(each)) for each in requests}) == 3


@fast
@given(st.data(), histories())
def test_interleaving_grouping_and_duplication_make_no_difference(
    data: st.DataObject, some: list[Event]
) -> None:
    log = log_of(some)
    expected = rows_of([log.all()])
    assert rows_of(data.draw(deliveries(log))) == expected
    assert rows_of([record] for record in log.all()) == expected
    log.extend(data.draw(st.lists(st.sampled_from(some), max_size=8)) if some else [])
    assert rows_of([log.all()]) == expected
    assert rows_of(data.draw(deliveries(log))) == expected


@fast
@given(st.data(), histories())
def test_to_apply_again_changes_nothing(data: st.DataObject, some: list[Event]) -> None:
    """Not even where positions do not keep it from being applied again."""
    log = log_of(some)
    expected = rows_of([log.all()])
    with catalog() as connection:
        for batch in data.draw(deliveries(log)):
            ProcessingProjection().apply(connection, batch)
        found = {
            table.name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for table in ProcessingProjection.metadata.sorted_tables
        }
    assert found == {name: rows for name, rows in expected.items() if name in found}


@fast
@given(histories())
def test_what_is_told_is_what_is_worked_out_the_plain_way(some: list[Event]) -> None:
    log = log_of(some)
    firsts = _firsts(log)
    with catalog() as connection:
        ProcessingProjection().apply(connection, log.all())
        reader = ProcessingReader(database_of(connection))
        asyncio.run(_compare(reader, firsts))


Firsts = Mapping[tuple[str, UUID, object], object]
"""The first event of each kind about each request and item, server or destination."""


def _firsts(log: MemoryLog) -> Firsts:
    firsts: dict[tuple[str, UUID, object], object] = {}
    for record in log.all():
        e = record.event
        name = type(e).__name__
        request_id = getattr(e, "grant_id", getattr(e, "request_id", UUID(int=0)))
        if name in {"RequestAuthorized", "RequestRejected"}:
            firsts.setdefault(("decision", request_id, None), e)
        elif name in {"ItemProcessed", "ItemSkipped"} or (
            name == "ProcessingFailed" and getattr(e, "item", None) is not None
        ):
            firsts.setdefault(("outcome", request_id, getattr(e, "item", None)), e)
        elif name == "ItemPlanned":
            firsts.setdefault(("plan", request_id, (getattr(e, "item", 0), getattr(e, "slot", 0))), e)
        else:
            firsts.setdefault((name, request_id, getattr(e, "destination", None)), e)
    return firsts


async def _compare(reader: ProcessingReader, firsts: Firsts) -> None:
    load: Counter[int] = Counter()
    for (kind, request_id, of), plan in firsts.items():
        if kind == "plan" and isinstance(of, tuple) and getattr(plan, "server", None) is None:
            done = ("outcome", request_id, of[0]) in firsts
            load[of[1]] += not done and ("ProcessingCompleted", request_id, None) not in firsts
    assert await reader.load() == {slot: count for slot, count in load.items() if count}
    unkept, unanswered = set(), set()
    for request in requests:
        request_id = request.request_id

        def has(kind: str, of: object = None, request_id: UUID = request_id) -> bool:
            return (kind, request_id, of) in firsts

        job = await reader.job(request_id)
        assert (job is not None) is has("ProcessingRequested")
        outcomes = [e for (kind, i, _), e in firsts.items() if (kind, i) == ("outcome", request_id)]
        counts = Counter(type(e).__name__ for e in outcomes)
        if job is not None:
            assert job.done == counts["ItemProcessed"]
            assert (job.failed, job.skipped) == (counts["ProcessingFailed"], counts["ItemSkipped"])
        totals = await reader.totals(request_id)
        assert (totals is not None) is has("ProcessingStarted")
        if totals is not None:
            processed = [e for e in outcomes if type(e).__name__ == "ItemProcessed"]
            assert totals.images == sum(getattr(e, "images", 0) for e in processed)
            assert totals.sessions == len({getattr(e, "server", None) for e in processed})
        grant = firsts.get(("decision", request_id, None))
        if not (
            has("ProcessingRequested")
            and type(grant).__name__ == "RequestAuthorized"
            and has("ProcessingCompleted")
        ):
            continue
        if request.keep is not Keep.NEITHER and not has("ResultsKept"):
            unkept.add(request_id)
        elif request.answer is not Answer.FETCH:
            destinations = request.destinations or ("A",)
            unanswered |= {(request_id, to) for to in destinations if not has("ResultsAnswered", to)}
    assert {job.request_id for job in await reader.unkept(10)} == unkept
    assert {(job.request_id, to) for job, to in await reader.unanswered(10)} == unanswered
