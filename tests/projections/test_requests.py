"""The request catalog on every database: who asked for what, and what was decided."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.projections.examples import NOON
from tests.projections.interleaving import deliveries, log_of
from tests.projections.memory_log import BEGIN, MemoryLog
from tests.projections.money import CONVERSATION, asked, authorized, rejected
from tests.projections.tables import rows_of

from medbus.projections.database import Database
from medbus.projections.projector import Projector
from medbus.projections.requests import LoggedRequest, Outcome, RequestReader
from medbus.schemas.events import Event, RegistrationRequested, RejectionReason, Request

fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Requests:
    """The requests that some events lead to."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self.log = log
        self._projector = projector
        self.reader = RequestReader(reader)

    async def given(self, *events: Event) -> RequestReader:
        self.log.extend(events)
        await self._projector.catch_up()
        return self.reader


@pytest.fixture
def requests(log: MemoryLog, projector: Projector, reader: Database) -> Requests:
    return Requests(log, projector, reader)


async def test_a_request_is_undecided_until_its_decision_is_there(requests: Requests) -> None:
    request = asked(UUID(int=1), kind=RegistrationRequested)
    reader = await requests.given(request)
    (asking,) = requests.log.all()
    undecided = LoggedRequest(
        request_id=UUID(int=1),
        kind="RegistrationRequested",
        conversation=CONVERSATION,
        asked_at=BEGIN + timedelta(seconds=1),
        calling_ae_title="A_WS1",
        address="10.0.0.9",
        position=asking.position,
        subscriber=None,
        outcome=Outcome.UNDECIDED,
        reason=None,
        detail="",
        decided_at=None,
        decision_position=None,
        expires_at=None,
        max_bytes=None,
        used_bytes=None,
    )
    assert await reader.request(UUID(int=1)) == undecided
    assert await reader.requests(outcome=Outcome.UNDECIDED) == [undecided]
    assert await reader.requests(subscriber="A") == []
    await requests.given(authorized(request, "A", max_bytes=600))
    (deciding,) = [each for each in requests.log.all() if each.position.partition.topic == "decisions"]
    decided = LoggedRequest(
        request_id=UUID(int=1),
        kind="RegistrationRequested",
        conversation=CONVERSATION,
        asked_at=BEGIN + timedelta(seconds=1),
        calling_ae_title="A_WS1",
        address="10.0.0.9",
        position=asking.position,
        subscriber="A",
        outcome=Outcome.AUTHORIZED,
        reason=None,
        detail="",
        decided_at=BEGIN + timedelta(seconds=2),
        decision_position=deciding.position,
        expires_at=NOON + timedelta(hours=1),
        max_bytes=600,
        used_bytes=400,
    )
    assert await reader.request(UUID(int=1)) == decided
    assert await reader.requests(subscriber="A") == [decided]
    assert await reader.requests(outcome=Outcome.UNDECIDED) == []
    assert await reader.request(UUID(int=2)) is None


async def test_a_refusal_says_why(requests: Requests) -> None:
    known, unknown = asked(calling=None), asked()
    reader = await requests.given(
        *(known, unknown, rejected(unknown)), rejected(known, "A", RejectionReason.PAYMENT_REQUIRED)
    )
    found = await reader.request(known.request_id)
    assert found is not None
    assert (found.subscriber, found.outcome) == ("A", Outcome.REJECTED)
    assert (found.reason, found.detail) == (
        RejectionReason.PAYMENT_REQUIRED,
        "nobody is known by that name",
    )
    assert (found.calling_ae_title, found.expires_at, found.max_bytes) == (None, None, None)
    found = await reader.request(unknown.request_id)
    assert found is not None
    assert (found.subscriber, found.reason) == (None, RejectionReason.UNKNOWN_SUBSCRIBER)


async def test_a_decision_that_is_read_before_its_request_waits_for_it(requests: Requests) -> None:
    request = asked()
    reader = await requests.given(authorized(request))
    assert await reader.request(request.request_id) is None
    assert await reader.requests() == []
    assert await reader.requests(subscriber="A") == []
    await requests.given(request)
    assert [each.outcome for each in await reader.requests(subscriber="A")] == [Outcome.AUTHORIZED]
    since = BEGIN + timedelta(seconds=2)
    assert len(await reader.requests(subscriber="A", since=since)) == 1
    assert await reader.requests(subscriber="A", until=since) == []


async def test_the_first_decision_on_a_request_counts(requests: Requests) -> None:
    request = asked()
    reader = await requests.given(request, authorized(request), rejected(request, "A"), request)
    (found,) = await reader.requests()
    assert (found.outcome, found.reason) == (Outcome.AUTHORIZED, None)
    assert found.asked_at == BEGIN + timedelta(seconds=1)


async def test_requests_are_asked_for_in_every_way_the_newest_first(requests: Requests) -> None:
    one, two = asked(conversation=uuid4()), asked(kind=RegistrationRequested, conversation=uuid4())
    three, four, five = (asked(conversation=uuid4()) for _ in range(3))
    decisions = [authorized(one), rejected(two, "A"), authorized(four, "B"), rejected(five)]
    reader = await requests.given(one, two, three, four, five, *reversed(decisions))

    async def found(**chosen: object) -> list[UUID]:
        return [each.request_id for each in await reader.requests(**chosen)]  # type: ignore[arg-type]

    def ids(*those: Request) -> list[UUID]:
        return [each.request_id for each in those]

    assert await found() == ids(five, four, three, two, one)
    assert await found(limit=2) == ids(five, four)
    assert await found(subscriber="A") == ids(two, one)
    assert await found(subscriber="A", limit=1) == ids(two)
    assert await found(subscriber="A", outcome=Outcome.REJECTED) == ids(two)
    assert await found(subscriber="A", outcome=Outcome.UNDECIDED) == []
    assert await found(subscriber="C") == []
    assert await found(kind="RegistrationRequested") == ids(two)
    assert await found(subscriber="A", kind="QueryRequested") == ids(one)
    assert await found(outcome=Outcome.AUTHORIZED) == ids(four, one)
    assert await found(outcome=Outcome.REJECTED) == ids(five, two)
    assert await found(outcome=Outcome.UNDECIDED) == ids(three)
    at_two, at_four = BEGIN + timedelta(seconds=2), BEGIN + timedelta(seconds=4)
    assert await found(since=at_two, until=at_four) == ids(three, two)
    assert await found(subscriber="A", since=at_two) == ids(two)
    assert await found(subscriber="A", until=at_two) == ids(one)


CONVERSATIONS = [UUID(int=n) for n in (1, 3, 5)]
"""Each is in a partition of its own."""


@st.composite
def conversations(draw: st.DrawFn) -> list[Event]:
    """Requests, none or several decisions on each, in any order."""
    events: list[Event] = []
    for number in range(draw(st.integers(1, 6))):
        request = asked(UUID(int=100 + number), conversation=draw(st.sampled_from(CONVERSATIONS)))
        events.append(request)
        for yes in draw(st.lists(st.booleans(), max_size=2)):
            events.append(authorized(request) if yes else rejected(request))
    return draw(st.permutations(events))


def test_the_conversations_are_in_different_partitions() -> None:
    log = MemoryLog()
    assert len({log.partition(asked(conversation=each)) for each in CONVERSATIONS}) == 3


@fast
@given(st.data(), conversations())
def test_interleaving_grouping_and_duplication_make_no_difference(
    data: st.DataObject, some: list[Event]
) -> None:
    log = log_of(some)
    expected = rows_of([log.all()])
    assert rows_of(data.draw(deliveries(log))) == expected
    assert rows_of([record] for record in log.all()) == expected
    log.extend(data.draw(st.lists(st.sampled_from(some), max_size=8)))
    assert rows_of([log.all()]) == expected
    assert rows_of(data.draw(deliveries(log))) == expected
