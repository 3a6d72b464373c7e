"""A request with all that followed from it, as a tree."""

from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from medbus.bus import Partition, Position, Record
from medbus.compose.cli import causes
from medbus.compose.cli.causes import ALIKE, Shown, Step, Tree
from medbus.schemas.events import FeeCharged, FeeKind, Meta, Money, Origin

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
