"""Whatever order, repetition and interruption: the same ledger; and a price of the past stays."""

from collections.abc import Sequence
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from tests.streams.billing.ledger import Ledger, price

from medbus.bus import Partition, Record
from medbus.schemas.events import FeeCharged, FeeKind
from medbus.streams.billing.book import Book
from medbus.streams.billing.charging import BILLABLE, fees

PRICES = st.lists(
    st.sampled_from(
        [
            price(FeeKind.SUBSCRIPTION, "10"),
            price(FeeKind.DELIVERY, "0.05"),
            price(FeeKind.CONNECTION, "0.1"),
            price(FeeKind.PROCESSING_BYTE, "0.0007", 1000),
            price(FeeKind.SOFTWARE_PERIOD, "3"),
        ]
    ),
    unique_by=lambda each: each.kind,
)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """A log of contracts, price lists and billable events of a few subscribers, in the order of its times."""
    ledger = Ledger()
    ledger.tariff(0, *draw(PRICES))
    at = 0.0
    for _ in range(draw(st.integers(0, 25))):
        # The same time more than once: nobody can say what came first.
        at += draw(st.sampled_from([0.0, 0.25, 7.0]))
        subscriber = draw(st.sampled_from("AB"))
        match draw(st.integers(0, 8)):
            case 0:
                ledger.contract(at, subscriber)
            case 1:
                ledger.cancel(at, subscriber)
            case 2:
                ledger.tariff(at, *draw(PRICES), valid_from=at + draw(st.sampled_from([0.0, 3.0])))
            case 3:
                ledger.grant(at, subscriber, conversation=draw(st.sampled_from([None, UUID(int=5)])))
            case 4:
                ledger.processed(at, subscriber, size=draw(st.integers(0, 10**7)))
            case 5:
                ledger.ran(at, subscriber)
            case _:
                ledger.delivered(at, subscriber, partition=draw(st.integers(0, 1)))
    return ledger


def first_of_each(charged: Sequence[FeeCharged]) -> dict[UUID, FeeCharged]:
    found: dict[UUID, FeeCharged] = {}
    for fee in charged:
        found.setdefault(fee.meta.event_id, fee)
    return found


@given(ledgers(), st.data())
def test_any_interleaving_repetition_and_restart_gives_the_same_ledger(
    ledger: Ledger, data: st.DataObject
) -> None:
    """Workers take partitions in any order, each in its own; they die, and begin again further back."""
    topics = {topic.name for topic in BILLABLE}
    partitions: dict[Partition, list[Record]] = {}
    for record in ledger.records:
        if record.position.partition.topic in topics:
            partitions.setdefault(record.position.partition, []).append(record)
    at = dict.fromkeys(partitions, 0)
    charged: list[FeeCharged] = []
    for _ in range(200):
        open_ = [partition for partition, position in at.items() if position < len(partitions[partition])]
        if not open_:
            break
        partition = data.draw(st.sampled_from(open_))
        # What the worker has read of contracts and prices: at least all that was there when the record came.
        record = partitions[partition][at[partition]]
        known = data.draw(st.integers(ledger.records.index(record), len(ledger.records)))
        book = Book()
        book.take(ledger.records[:known])
        charged += fees(book, record)
        # A worker that is killed has committed less than it has charged.
        back = data.draw(st.sampled_from([-1, -1, -1, 0, 1, 2]))
        at[partition] = max(0, at[partition] - back)
    else:
        return
    assert first_of_each(charged) == first_of_each(ledger.charged())


@given(ledgers(), PRICES.flatmap(lambda prices: st.tuples(st.just(prices), st.floats(0, 50))))
def test_a_new_price_never_changes_a_past_fee(ledger: Ledger, change: tuple[list, float]) -> None:  # type: ignore[type-arg]
    before = ledger.charged()
    last = max((record.timestamp for record in ledger.records), default=None)
    prices, valid_from = change
    assert last is not None
    ledger.tariff(last, *prices, valid_from=valid_from)
    assert ledger.charged()[: len(before)] == before


@given(ledgers())
def test_every_fee_explains_itself(ledger: Ledger) -> None:
    causes = {record.position: record for record in ledger.records}
    for fee in ledger.charged():
        (cause,) = [
            record
            for (partition, offset), record in causes.items()
            if (partition.topic, partition.number, offset)
            == (fee.cause.topic, fee.cause.partition, fee.cause.offset)
        ]
        assert cause.event.meta.event_id == fee.meta.cause_id  # type: ignore[union-attr]
        assert cause.timestamp == fee.meta.occurred_at
