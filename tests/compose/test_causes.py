"""A request with all that followed from it, as a tree."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import values

from medbus.bus import Partition, Position, Record
from medbus.compose.cli import causes
from medbus.compose.cli.causes import ALIKE, Shown, Step, Tree
from medbus.schemas.events import (
    Answer,
    Blob,
    CancellationRequested,
    Event,
    Evidence,
    FeeCharged,
    FeeKind,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Keep,
    Meta,
    Money,
    Origin,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    ResultRequested,
    ResultsAnswered,
    ResultsKept,
    Selection,
    ServerStarted,
)
from medbus.schemas.topics import DELIVERIES, PROCESSING, REQUESTS, TOPIC_OF, WORK

START = datetime(2026, 11, 25, tzinfo=UTC)


def named(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name)


def step(name: str, cause: str | None, kind: str, second: int, cents: int | None = None) -> Step:
    return Step(
        event_id=named(name),
        cause_id=None if cause is None else named(cause),
        kind=kind,
        says=name,
        position=Position(Partition("topic", 0), second),
        at=START + timedelta(seconds=second),
        amount=None if cents is None else Money(minor_units=cents, currency="EUR"),
    )


def delivered(count: int) -> list[Step]:
    """A request, its grant, that many deliveries, and a fee for each."""
    steps = [step("request", None, "DeliveryRequested", 0), step("grant", "request", "RequestAuthorized", 1)]
    for number in range(count):
        steps.append(step(f"image {number}", "grant", "ImageDelivered", 2 + number))
        steps.append(step(f"fee {number}", f"image {number}", "FeeCharged DELIVERY", 2 + number, 5))
    return steps


def lines(shown: list[Shown]) -> list[str]:
    return [
        "  " * each.depth + (each.step.says if each.step else f"{each.count} more {each.kind}")
        for each in shown
    ]


def test_effects_stand_below_their_cause_in_the_order_of_time() -> None:
    tree = Tree(named("request"), delivered(2))

    assert lines(list(tree.shown())) == [
        "request",
        "  grant",
        "    image 0",
        "      fee 0",
        "    image 1",
        "      fee 1",
    ]
    assert tree.others() == 0


def test_more_than_twenty_alike_are_counted_with_what_followed_from_them() -> None:
    shown = list(Tree(named("request"), delivered(ALIKE + 30)).shown())

    assert lines(shown)[-3:] == [
        f"      fee {ALIKE - 1}",
        "    30 more ImageDelivered",
        "      30 more FeeCharged DELIVERY",
    ]
    assert shown[-1].amounts == (Money(minor_units=150, currency="EUR"),)
    assert len(shown) == 2 + 2 * ALIKE + 2


def test_twenty_alike_are_all_shown() -> None:
    assert all(each.step for each in Tree(named("request"), delivered(ALIKE)).shown())


def test_what_followed_from_another_request_of_the_conversation_is_counted_apart() -> None:
    other = [step("other", None, "QueryRequested", 0), step("other grant", "other", "RequestAuthorized", 1)]
    tree = Tree(named("request"), [*other, *delivered(1)])

    assert "other" not in lines(list(tree.shown()))
    assert tree.others() == 2


def test_a_request_that_is_not_there_has_nothing_below_it() -> None:
    tree = Tree(named("nothing"), delivered(1))

    assert list(tree.shown()) == []
    assert list(tree.all()) == []


@given(count=st.integers(0, 60), again=st.integers(0, 60), seed=st.randoms())
def test_no_event_is_forgotten_or_counted_twice(count: int, again: int, seed: object) -> None:
    steps = delivered(count)
    jumbled = [*steps, *steps[:again]]
    seed.shuffle(jumbled)  # type: ignore[attr-defined]
    tree = Tree(named("request"), jumbled)

    assert {each.event_id for _, each in tree.all()} == {each.event_id for each in steps}
    assert sum(each.count for each in tree.shown()) == len(steps)
    costs = [
        each.step.amount.minor_units if each.step and each.step.amount else 0 for each in tree.shown()
    ] + [amount.minor_units for each in tree.shown() for amount in each.amounts]
    assert sum(costs) == 5 * count


def test_a_fee_says_what_it_is_for_and_what_it_costs() -> None:
    cause = Meta.first(named("image"), source="gateway", occurred_at=START)
    fee = FeeCharged(
        meta=cause.caused("PROCESSING_IMAGE", source="billing", occurred_at=START),
        subscriber="A-hospital",
        kind=FeeKind.PROCESSING_IMAGE,
        item="denoise",
        quantity=3,
        unit="image",
        price="0.02",
        per=1,
        amount=Money(minor_units=6, currency="EUR"),
        policy="half-up-2",
        tariff="standard",
        version=2,
        cause=Origin(topic="processing", partition=1, offset=7),
    )
    shown = causes.step(Record(position=Position(Partition("fees", 0), 5), timestamp=START, event=fee))

    assert shown.kind == "FeeCharged PROCESSING_IMAGE"
    assert shown.cause_id == named("image")
    assert shown.says == "0.06 EUR for 3 images of denoise, standard version 2"


META = Meta.first(named("request"), source="gateway", occurred_at=START)
GRANT: dict[str, Any] = {"meta": META, "grant_id": named("request"), "subscriber": "A-hospital"}
ASKED: dict[str, Any] = {"meta": META, "evidence": Evidence(calling_ae_title="A_WS1", address="10.0.0.9")}
BLOB = Blob(digest="blake3:00", size=10, transfer_syntax_uid="1.2.840.10008.1.2.1")
JOB = UUID(int=7)


def asked(keep: Keep, answer: Answer, *destinations: str) -> ProcessingRequested:
    return ProcessingRequested(
        **ASKED,
        processing_type="mip",
        parameters={},
        images=Selection(),
        keep=keep,
        answer=answer,
        destinations=destinations,
    )


def planned(server: str | None, images: int, masks: int = 0) -> ItemPlanned:
    return ItemPlanned(
        **GRANT,
        item=3,
        slot=1,
        server=server,
        identity="i",
        processing_type="mip",
        version=1,
        parameters={},
        images=(BLOB,) * images,
        masks=(BLOB,) * masks,
    )


def processed(server: str | None, *findings: str) -> ItemProcessed:
    done = (40, 400, 12) if server else (0, 0, 0)
    return ItemProcessed(
        **GRANT,
        item=3,
        identity="i",
        server=server,
        images=done[0],
        bytes=done[1],
        milliseconds=done[2],
        results=1,
        findings=findings,
    )


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (asked(Keep.NEITHER, Answer.FETCH), "by A_WS1 at 10.0.0.9: mip, answered by FETCH"),
        (
            asked(Keep.AFTER, Answer.C_STORE, "B-clinic", "C-clinic"),
            "by A_WS1 at 10.0.0.9: mip, answered by C_STORE to B-clinic, C-clinic, kept: after",
        ),
        (ResultRequested(**ASKED, processing_id=JOB), f"by A_WS1 at 10.0.0.9: of {JOB}"),
        (CancellationRequested(**ASKED, processing_id=JOB), f"by A_WS1 at 10.0.0.9: of {JOB}"),
        (
            ProcessingStarted(**GRANT, processing_type="mip", version=1, items=1, images=40),
            "mip of 40 images in 1 item",
        ),
        (planned(None, 40), "item 3: mip of 40 images"),
        (planned("500-1", 1, 1), "item 3: mip of 2 images for 500-1"),
        (
            ImageProcessed(
                **GRANT,
                item=3,
                number=0,
                processing_type="mip",
                description="mip along z,\n10 mm",
                study_instance_uid="1",
                series_instance_uid="1.2",
                sop_class_uid="1.3",
                sop_instance_uid="1.2.3",
                blob=BLOB,
            ),
            "item 3, result 0: 1.2.3, mip along z, 10 mm",
        ),
        (processed("500-1"), "item 3 by 500-1 in 12 ms: 40 images, 1 result"),
        (processed("500-1", "a gap"), "item 3 by 500-1 in 12 ms: 40 images, 1 result; a gap"),
        (processed(None), "item 3 was there already, 1 result"),
        (ItemSkipped(**GRANT, item=3), "item 3 was not begun"),
        (
            ProcessingFailed(**GRANT, item=3, server="500-1", reason="no pixels\nat all"),
            "item 3 by 500-1: no pixels at all",
        ),
        (ProcessingFailed(**GRANT, reason="no images"), "all: no images"),
        (ProcessingCancelled(**GRANT, by="A-hospital"), "by A-hospital"),
        (
            ProcessingCompleted(
                **GRANT, processing_type="mip", sessions=2, images=40, bytes=400, milliseconds=12, results=1
            ),
            "mip: 40 images, 400 bytes, 12 ms in 2 sessions, 1 result",
        ),
        (
            ProcessingCompleted(
                **GRANT,
                processing_type="mip",
                sessions=1,
                images=1,
                bytes=4,
                milliseconds=2,
                failed=1,
                skipped=3,
            ),
            "mip: 1 image, 4 bytes, 2 ms in 1 session, 0 results, 1 item failed, 3 items not begun",
        ),
        (ResultsKept(**GRANT, registered=2), "2 images registered"),
        (ResultsKept(**GRANT, registered=0, refused=("1.2: full",)), "0 images registered; not 1.2: full"),
        (
            ResultsAnswered(
                **GRANT,
                destination="B-clinic",
                answer=Answer.WEBHOOK,
                address="https://b.example/",
                delivered=0,
                failed=2,
                attempts=1,
                reason="refused",
            ),
            "to B-clinic by WEBHOOK at https://b.example/ in 1 attempt: 0 delivered, 2 failed: refused",
        ),
        (ServerStarted(meta=META, server="500-1", cores=4), "500-1 with 4 cores"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_each_event_of_processing_says_what_happened(event: Event, text: str) -> None:
    assert causes.says(event) == text


@pytest.mark.parametrize(
    "kind", [k for k, topic in TOPIC_OF.items() if topic in (PROCESSING, WORK, REQUESTS, DELIVERIES)]
)
@given(data=st.data())
def test_every_event_of_a_request_says_something_in_one_line(kind: type[Event], data: st.DataObject) -> None:
    assert len(causes.says(data.draw(values(kind))).splitlines()) == 1
