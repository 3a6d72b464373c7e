"""Whatever the order of partitions, grouping, redelivery and restarts: the same log, the same rows."""

from collections import Counter
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.projections import examples
from tests.projections.interleaving import deliveries, log_of
from tests.projections.memory_log import MemoryLog
from tests.projections.tables import catalog, dump, rows_of

from medbus.bus import Record
from medbus.projections import projection
from medbus.projections.images import tables
from medbus.projections.projector import PROJECTIONS
from medbus.schemas.events import Event, ImageErased, ImageRegistered

fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

STUDIES = ["1.1", "1.5", "1.6"]
"""Each is in a partition of its own."""

images = st.builds(
    examples.image,
    uid=st.sampled_from(["7.1", "7.2", "7.3", "7.4"]),
    study=st.sampled_from(STUDIES),
    contents=st.sampled_from(["a", "b"]),
    patient=st.sampled_from(["P1", "P1", "P2"]),
    name=st.sampled_from(["DOE^JANE", "DOE^JANE", "DOE^JANET"]),
    registrant=st.sampled_from(["A-hospital", "B-hospital"]),
    modality=st.sampled_from(["CT", "CT", "MR"]),
    number=st.sampled_from([1, None]),
)


@st.composite
def image_events(draw: st.DrawFn) -> list[Event]:
    """Images, some of them erased or in conflict. In a study one id belongs to one event."""
    events: dict[tuple[str, str, str], Event] = {}
    for event in draw(st.lists(images, min_size=1, max_size=14)):
        follower = draw(st.sampled_from([None, None, None, examples.erased, examples.conflicted]))
        for each in (event,) if follower is None else (event, follower(event)):
            study = event.study.study_instance_uid
            events.setdefault((type(each).__name__, study, str(each.meta.event_id)), each)
    return draw(st.permutations(list(events.values())))


subscribers = st.sampled_from(["A-hospital", "B-hospital"])
credential_ids = st.sampled_from([UUID(int=1), UUID(int=2)])
contract_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(examples.contracted, subscribers),
    st.builds(examples.activated, subscribers),
    st.builds(
        examples.changed, subscribers, st.sampled_from([examples.terms("A1"), examples.terms("A1", "A2")])
    ),
    st.builds(examples.cancelled, subscribers),
    st.builds(examples.issued, subscribers, st.sampled_from(["aa", "bb"]), credential_id=credential_ids),
    st.builds(examples.revoked, subscribers, credential_ids),
)


def numbered(some: list[Event]) -> list[Event]:
    return [replace(e, meta=replace(e.meta, event_id=UUID(int=number))) for number, e in enumerate(some)]


events = st.builds(
    lambda one, other: [*one, *other], image_events(), st.lists(contract_events, max_size=6).map(numbered)
)


def test_the_studies_are_in_different_partitions() -> None:
    log = MemoryLog()
    assert len({log.partition(examples.image("7.1", study=study)) for study in STUDIES}) == 3


@fast
@given(st.data(), events)
def test_order_of_partitions_grouping_and_restarts_make_no_difference(
    data: st.DataObject, some: list[Event]
) -> None:
    log = log_of(some)
    expected = rows_of([log.all()])
    assert rows_of(data.draw(deliveries(log))) == expected
    assert rows_of([record] for record in log.all()) == expected


@fast
@given(st.data(), events)
def test_an_event_that_stands_in_the_log_twice_makes_no_difference(
    data: st.DataObject, some: list[Event]
) -> None:
    log = log_of(some)
    expected = rows_of([log.all()])
    log.extend(data.draw(st.lists(st.sampled_from(some), max_size=8)))
    assert rows_of([log.all()]) == expected
    assert rows_of([record] for record in log.all()) == expected


@fast
@given(st.data(), events)
def test_a_transaction_that_was_cut_off_makes_no_difference(data: st.DataObject, some: list[Event]) -> None:
    log = log_of(some)
    expected = rows_of([log.all()])
    batches = data.draw(deliveries(log))
    cut = data.draw(st.integers(0, len(batches) - 1))
    with catalog() as connection:
        connection.commit()
        for number, batch in enumerate(batches):
            if number == cut:
                projection.apply(connection, PROJECTIONS, batch)
                connection.rollback()
            projection.apply(connection, PROJECTIONS, batch)
            connection.commit()
        assert dump(connection) == expected


@fast
@given(image_events())
def test_what_is_served_and_counted_is_what_the_rules_say(some: list[Event]) -> None:
    """The same worked out the plain way: slot by slot, image by image."""
    log = log_of(some)
    slots: dict[tuple[str, str], tuple[Record, ImageRegistered]] = {}
    gone: set[tuple[str, str, str]] = set()
    for record in log.all():
        event = record.event
        if isinstance(event, ImageErased):
            slot = event.sop_instance_uid, event.study_instance_uid
            gone.add((*slot, event.digest))
            if slot in slots and slots[slot][1].blob.digest == event.digest:
                del slots[slot]
        elif isinstance(event, ImageRegistered):
            slot = event.instance.sop_instance_uid, event.study.study_instance_uid
            if slot not in slots and (*slot, event.blob.digest) not in gone:
                slots[slot] = record, event
            elif slot in slots and slots[slot][1].blob.digest != event.blob.digest:
                gone.add((*slot, event.blob.digest))
    served: dict[str, tuple[Record, ImageRegistered]] = {}
    for (uid, _), (record, event) in sorted(slots.items(), key=lambda each: each[1][0].timestamp):
        served.setdefault(uid, (record, event))
    in_order = sorted(served.values(), key=lambda each: each[0].timestamp)

    found = rows_of([log.all()])
    assert {row[0]: row[10] for row in found["images"]} == {
        uid: e.blob.digest for uid, (_, e) in served.items()
    }
    first: dict[tuple[str, str], ImageRegistered] = {}
    for _, event in in_order:
        first.setdefault((event.study.study_instance_uid, event.patient.patient_id), event)
    assert {row[:2]: row[3] for row in found["studies"]} == {
        k: e.patient.patient_name for k, e in first.items()
    }
    used = Counter(event.registrant for _, event in in_order)
    assert {row[0]: row[1] for row in found["usage"]} == used
    held = Counter(event.study.study_instance_uid for _, event in in_order)
    by_study: Counter[str] = Counter()
    columns = tables.holdings.columns.keys()
    for row in found["holdings"]:
        by_study[row[columns.index("study_instance_uid")]] += row[columns.index("images")]
    assert by_study == held
