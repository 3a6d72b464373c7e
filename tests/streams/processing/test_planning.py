"""The events that split a request into work items."""

from io import BytesIO
from uuid import UUID, uuid5

import msgspec
import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st
from tests.streams.processing.requested import AT, blob, of_kind, one, origin, several

from medbus.projections.processing import StoredResult
from medbus.schemas import avro
from medbus.schemas.events import (
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    Meta,
    ProcessingFailed,
    ProcessingStarted,
)
from medbus.schemas.topics import WORK
from medbus.streams.processing.asked import asked
from medbus.streams.processing.planning.dividing import Part, divide
from medbus.streams.processing.planning.placing import Slots
from medbus.streams.processing.planning.plan import Earlier, failed, plan, started

SMOOTH = asked("gaussian", {"sigma": "1"})
MIP = asked("mip", {})
ORIGIN = origin()


def planned(
    parts: tuple[Part, ...],
    *,
    earlier: dict[str, Earlier] | None = None,
    load: dict[int, int] | None = None,
    server: str | None = None,
    recorded: frozenset[int] = frozenset(),
) -> list[Event]:
    return plan(
        ORIGIN,
        SMOOTH,
        parts,
        earlier=earlier or {},
        slots=Slots(load or {}, 32),
        server=server,
        recorded=recorded,
    )


def result(number: int) -> StoredResult:
    return StoredResult(
        request_id=UUID(int=9),
        item=7,
        number=number,
        processing_type="gaussian",
        description="Gaussian smoothing: sigma 1 mm",
        study_instance_uid="1",
        series_instance_uid="2.25.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=f"2.25.1.{number}",
        blob=blob(f"result {number}"),
    )


def test_each_part_becomes_an_item_and_then_it_is_said_how_many_there_are() -> None:
    first, second, begun = planned(divide(SMOOTH, several(2)))
    decision = ORIGIN.grant.meta
    assert isinstance(first, ItemPlanned)
    assert first == ItemPlanned(
        meta=Meta(
            event_id=uuid5(decision.event_id, "item:0"),
            cause_id=decision.event_id,
            correlation_id=decision.correlation_id,
            actor="A",
            source="processing",
            occurred_at=AT,
        ),
        grant_id=UUID(int=1),
        subscriber="A",
        item=0,
        slot=first.slot,
        identity=divide(SMOOTH, several(1))[0].identity,
        processing_type="gaussian",
        version=1,
        parameters={"sigma": "1", "extent": "frame", "resample": "no", "colour": "refuse"},
        images=(blob("1.1.1"),),
    )
    assert isinstance(second, ItemPlanned)
    assert (second.item, second.meta.event_id) == (1, uuid5(decision.event_id, "item:1"))
    assert begun == ProcessingStarted(
        meta=decision.caused("started", source="processing", occurred_at=AT),
        grant_id=UUID(int=1),
        subscriber="A",
        processing_type="gaussian",
        version=1,
        items=2,
        images=2,
    )


def test_a_chosen_server_is_named_in_every_item() -> None:
    items = of_kind(planned(divide(SMOOTH, several(3)), server="500-1"), ItemPlanned)
    assert [each.server for each in items] == ["500-1"] * 3


def test_what_was_done_before_is_not_done_again() -> None:
    parts = divide(SMOOTH, several(2))
    found = {parts[0].identity: Earlier((result(0), result(1)), ("uneven",))}
    one_image, other, done, item, _ = planned(parts, earlier=found)
    assert isinstance(one_image, ImageProcessed)
    assert isinstance(other, ImageProcessed)
    assert isinstance(done, ItemProcessed)
    assert isinstance(item, ItemPlanned)
    assert (one_image.item, one_image.number, one_image.blob) == (0, 0, blob("result 0"))
    assert (other.number, other.sop_instance_uid, other.subscriber) == (1, "2.25.1.1", "A")
    assert other.grant_id == UUID(int=1)
    assert (done.server, done.images, done.bytes, done.milliseconds) == (None, 0, 0, 0)
    assert (done.item, done.results, done.findings, done.identity) == (0, 2, ("uneven",), parts[0].identity)
    assert item.item == 1
    ids = [each.meta.event_id for each in (one_image, other, done)]
    assert ids == [uuid5(ORIGIN.grant.meta.event_id, f"item:0:{kind}") for kind in ("0", "1", "processed")]


def test_what_can_not_be_processed_fails_and_the_others_are_planned() -> None:
    events = planned(divide(SMOOTH, [*several(1), one("2", number=2, reason="2 is a report.")]))
    assert [type(each) for each in events] == [ItemPlanned, ProcessingFailed, ProcessingStarted]
    (failure,) = of_kind(events, ProcessingFailed)
    assert (failure.item, failure.server, failure.reason) == (1, None, "2 is a report.")
    assert events[-1].items == 2  # type: ignore[attr-defined]


def test_more_images_than_fit_into_a_record_fail_with_the_limit() -> None:
    (failure, _) = plan(ORIGIN, MIP, divide(MIP, several(20_000)), earlier={}, slots=Slots({}, 32))
    assert isinstance(failure, ProcessingFailed)
    assert failure.item == 0
    assert "20000 images are too many for one work item" in failure.reason
    assert f"up to {WORK.max_bytes} bytes" in failure.reason
    most = int(failure.reason.partition("Choose about ")[2].partition(" ")[0])
    assert most > 5000
    (item, _) = plan(ORIGIN, MIP, divide(MIP, several(most)), earlier={}, slots=Slots({}, 32))
    assert isinstance(item, ItemPlanned)
    assert 0.95 * WORK.max_bytes < length(item) <= WORK.max_bytes


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 2**62))
def test_an_item_is_never_longer_than_was_reckoned(images: int, masks: int, size: int) -> None:
    from medbus.streams.processing.planning import plan as planning

    part = Part(
        number=0,
        images=tuple(blob(f"i{each}", size) for each in range(images)),
        masks=tuple(blob(f"m{each}", size) for each in range(masks)),
        identity=blob("x").digest,
    )
    (item, _) = plan(ORIGIN, SMOOTH, (part,), earlier={}, slots=Slots({}, 32), server="s" * 200)
    assert isinstance(item, ItemPlanned)
    assert length(item) <= planning._bytes(SMOOTH, part)


def length(item: ItemPlanned) -> int:
    """Bytes of an encoded item, framing included."""
    buffer = BytesIO()
    fields = msgspec.to_builtins(item, builtin_types=(bytes, type(AT)))
    schemaless_writer(buffer, avro.parse(avro.text(avro.full_name(ItemPlanned))), fields, strict=True)
    return len(buffer.getvalue()) + 5


def test_how_many_parts_there_are_is_said_once() -> None:
    parts = divide(SMOOTH, several(2))
    (item,) = plan(ORIGIN, SMOOTH, parts, earlier={}, slots=Slots({}, 32), recorded={1}, begun=True)
    assert isinstance(item, ItemPlanned)
    assert item.item == 0


def test_nothing_to_do_is_said_too() -> None:
    begun = started(ORIGIN, SMOOTH, ())
    assert (begun.items, begun.images) == (0, 0)


def test_a_request_that_fails_as_a_whole_names_no_item() -> None:
    failure = failed(ORIGIN, "There is no such image.")
    assert (failure.item, failure.reason, failure.grant_id) == (None, "There is no such image.", UUID(int=1))
    assert failure.meta.event_id == uuid5(ORIGIN.grant.meta.event_id, "failed")


@given(
    st.integers(1, 40), st.dictionaries(st.integers(0, 31), st.integers(0, 9)), st.sets(st.integers(0, 39))
)
def test_to_plan_again_gives_the_same_events_but_for_the_slots(
    count: int, load: dict[int, int], recorded: set[int]
) -> None:
    parts = divide(SMOOTH, several(count))
    first = planned(parts)
    again = planned(parts, load=load)
    assert [without_slot(each) for each in again] == [without_slot(each) for each in first]
    # What is recorded is left out, and the rest stays what it was.
    rest = planned(parts, load=load, recorded=frozenset(recorded))
    kept = [each for each in first if getattr(each, "item", None) not in recorded]
    assert [without_slot(each) for each in rest] == [without_slot(each) for each in kept]


def without_slot(event: Event) -> Event:
    return msgspec.structs.replace(event, slot=0) if isinstance(event, ItemPlanned) else event


@given(
    st.dictionaries(st.integers(0, 63), st.integers(0, 20)),
    st.integers(1, 40),
    st.integers(0, 200),
    st.data(),
)
def test_work_goes_where_least_waits(
    load: dict[int, int], count: int, items: int, data: st.DataObject
) -> None:
    waiting = [0] * count
    for slot, number in load.items():
        waiting[slot % count] += number
    slots = Slots(load, count, data.draw(st.integers(0, count - 1)))
    for _ in range(items):
        slot = slots.take()
        assert waiting[slot] == min(waiting)
        waiting[slot] += 1


@pytest.mark.parametrize("begin", range(32))
@pytest.mark.parametrize("servers", [2, 3, 4])
def test_a_few_items_come_to_several_servers_however_partitions_are_shared(begin: int, servers: int) -> None:
    slots = Slots({}, 32, begin)
    taken = [slots.take() for _ in range(3 * servers)]
    assert len({slot * servers // 32 for slot in taken}) == servers
    assert len({slot % servers for slot in taken}) == servers


def test_200_items_are_spread_evenly() -> None:
    slots = Slots({}, 32)
    taken = [slots.take() for _ in range(200)]
    assert {taken.count(slot) for slot in range(32)} == {6, 7}
