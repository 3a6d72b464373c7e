"""The account catalog on every database: balances, fees, periods, invoices, payments and price lists."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.projections.asked import asked
from tests.projections.examples import NOON
from tests.projections.interleaving import deliveries, log_of
from tests.projections.memory_log import BEGIN, MemoryLog
from tests.projections.money import (
    APRIL,
    CONVERSATION,
    MARCH,
    ORIGIN,
    closing,
    euros,
    fee,
    invoice,
    payment,
    periodic,
    tariff,
)
from tests.projections.tables import catalog, rows_of

from medbus.bus import Partition, Record
from medbus.projections import projection
from medbus.projections.accounts import (
    Account,
    AccountReader,
    Balance,
    ClosedPeriod,
    StoredFee,
    StoredInvoice,
    StoredPayment,
    billed,
)
from medbus.projections.accounts.digest import FeesDigest
from medbus.projections.accounts.membership import Closing, Membership
from medbus.projections.database import Database
from medbus.projections.projector import PROJECTIONS, Projector
from medbus.schemas.events import (
    Event,
    FeeCharged,
    FeeKind,
    InvoiceIssued,
    InvoiceLine,
    Money,
    PaymentReceived,
    PeriodClosed,
)
from medbus.schemas.period import Period

fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LATE_MARCH = MARCH.end - timedelta(hours=1)
EARLY_APRIL = MARCH.end + timedelta(minutes=1)


class Books:
    """The accounts that some events lead to."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self.log = log
        self._projector = projector
        self.reader = AccountReader(reader)

    async def given(self, *events: Event) -> AccountReader:
        self.log.extend(events)
        await self._projector.catch_up()
        return self.reader

    async def period(self, subscriber: str = "A", name: str = "2026-03") -> ClosedPeriod:
        (found,) = [each for each in await self.reader.closed(subscriber) if each.period == name]
        return found

    async def members(self, closed: ClosedPeriod, currency: str = "EUR") -> list[UUID]:
        return [each.fee_id async for each in self.reader.fees_of(closed, currency)]


@pytest.fixture
def books(log: MemoryLog, projector: Projector, reader: Database) -> Books:
    return Books(log, projector, reader)


def ids_of(*fees: FeeCharged | StoredFee) -> list[UUID]:
    return [each.fee_id if isinstance(each, StoredFee) else each.meta.event_id for each in fees]


def digest_of(*fees: FeeCharged) -> str:
    return sha256(b"".join(sorted(each.meta.event_id.bytes for each in fees))).hexdigest()


async def test_a_subscriber_of_whom_nothing_is_known_has_an_empty_account(books: Books) -> None:
    reader = await books.given(fee("B"))
    assert await reader.account("A") == Account(subscriber="A", balances=(), paid_at=None)
    assert await reader.balance("A", "EUR") == Balance(currency="EUR", charged=0, paid=0, invoiced=0)
    assert await reader.last_closed("A") is None
    assert await reader.fees("A") == []


async def test_a_balance_is_the_sum_of_fees_payments_and_invoices_in_one_currency(books: Books) -> None:
    march = closing("A")
    reader = await books.given(
        fee("A", quantity=3, price="0.25"),
        fee("A", quantity=10, price="1.5"),
        fee("A", quantity=3, price="40", currency="JPY"),
        payment("A", euros(2000)),
        payment("A", euros(-500)),
        march,
        invoice(march, euros(1575)),
        invoice(march, euros(120, "JPY")),
        fee("B", price="7"),
        payment("B", euros(1)),
    )
    euro = Balance(currency="EUR", charged=75 + 1500, paid=1500, invoiced=1575)
    yen = Balance(currency="JPY", charged=120, paid=0, invoiced=120)
    assert (await reader.account("A")).balances == (euro, yen)
    assert await reader.balance("A", "EUR") == euro
    assert await reader.balance("A", "JPY") == yen
    assert await reader.balance("A", "USD") == Balance(currency="USD")
    assert (euro.left, euro.due) == (euros(-75), euros(75))
    assert (yen.left, yen.due) == (euros(-120, "JPY"), euros(120, "JPY"))


async def test_an_account_says_when_a_payment_came_last_and_money_back_is_no_payment(books: Books) -> None:
    first = payment("A", at=NOON + timedelta(days=2))
    last = payment("A", at=NOON)
    reader = await books.given(first, last, payment("A", euros(-100)), payment("B"))
    arrived = [record.timestamp for record in books.log.all() if record.event == last]
    assert [(await reader.account("A")).paid_at] == arrived


async def test_what_comes_twice_counts_once(books: Books) -> None:
    charged, paid, march = fee("A"), payment("A", euros(900)), closing("A")
    billed_once = invoice(march, euros(25))
    once = [charged, paid, march, billed_once]
    reader = await books.given(*once, *once)
    await books.given(*once)
    assert (await reader.account("A")).balances == (
        Balance(currency="EUR", charged=25, paid=900, invoiced=25),
    )
    assert ids_of(*await reader.fees("A")) == ids_of(charged)
    assert len(await reader.payments("A")) == len(await reader.closed("A")) == 1
    assert [each.invoice for each in await reader.invoices("A")] == [billed_once]
    assert (await books.period()).position.offset == 2
    (line,) = await reader.lines(await books.period())
    assert (line.count, line.amount) == (1, euros(25))


@pytest.mark.parametrize("first_read", ["A", "B"])
async def test_a_payment_that_was_reported_of_two_subscribers_is_the_one_that_arrived_first(
    first_read: str, books: Books
) -> None:
    partition = {"A": Partition("fees", 1), "B": Partition("fees", 2)}
    arrival = {"A": BEGIN + timedelta(seconds=1), "B": BEGIN + timedelta(seconds=2)}
    for each in (first_read, "B" if first_read == "A" else "A"):
        books.log.put(partition[each], payment(each, euros(700), reference="R1"))
        books.log.put(partition[each], fee(each, fee_id=UUID(int=5), price="2"))
        records = books.log.records[partition[each]]
        records[:] = [replace(record, timestamp=arrival[each]) for record in records]
        await books.given()
    assert (await books.reader.account("A")).balances == (Balance(currency="EUR", charged=200, paid=700),)
    assert await books.reader.account("B") == Account(subscriber="B")
    assert [each.payment.subscriber for each in await books.reader.payments()] == ["A"]
    assert [each.subscriber for each in await books.reader.fees()] == ["A"]


async def test_a_fee_is_told_in_full(books: Books) -> None:
    charged = fee(
        "A",
        kind=FeeKind.PROCESSING_IMAGE,
        item="MPR",
        quantity=7,
        price="0.123",
        at=NOON + timedelta(microseconds=1),
        version=3,
        of_period="2026-03",
        cause_id=UUID(int=77),
    )
    reader = await books.given(charged)
    assert await reader.fees("A") == [
        StoredFee(
            fee_id=charged.meta.event_id,
            cause_id=UUID(int=77),
            correlation_id=CONVERSATION,
            subscriber="A",
            kind=FeeKind.PROCESSING_IMAGE,
            item="MPR",
            quantity=7,
            unit="images",
            price="0.123",
            per=1,
            amount=euros(86),
            policy="half-up-2",
            tariff="basic",
            version=3,
            period="2026-03",
            charged_at=NOON + timedelta(microseconds=1),
            cause=ORIGIN,
            position=books.log.all()[0].position,
        )
    ]


async def test_fees_are_asked_for_by_subscriber_time_and_kind_the_newest_first(books: Books) -> None:
    one = fee("A", at=NOON)
    two = fee("A", at=NOON + timedelta(hours=2), kind=FeeKind.CONNECTION)
    three = fee("A", at=NOON + timedelta(hours=1))
    same_time = fee("A", at=NOON + timedelta(hours=1))
    other = fee("B", at=NOON + timedelta(hours=3))
    reader = await books.given(one, two, three, same_time, other)
    assert ids_of(*await reader.fees()) == ids_of(other, two, same_time, three, one)
    assert ids_of(*await reader.fees("A")) == ids_of(two, same_time, three, one)
    assert ids_of(*await reader.fees("A", limit=2)) == ids_of(two, same_time)
    assert ids_of(*await reader.fees("A", since=NOON + timedelta(hours=1))) == ids_of(two, same_time, three)
    assert ids_of(*await reader.fees(until=NOON + timedelta(hours=1))) == ids_of(one)
    assert ids_of(*await reader.fees(kind=FeeKind.CONNECTION)) == ids_of(two)
    assert await reader.fees("B", kind=FeeKind.CONNECTION) == []


async def test_price_lists_are_told_by_name_and_version_and_the_newest_has_the_currency(
    books: Books,
) -> None:
    first, second = tariff("basic", 1), tariff("basic", 2, currency="USD")
    other = tariff("research", 1, currency="JPY")
    reader = await books.given(other, first, second, tariff("basic", 1, price="99"), first)
    assert await reader.tariffs() == [first, second, other]
    assert await reader.tariffs("basic") == [first, second]
    assert await reader.tariffs("none") == []
    assert await reader.currency("basic") == "USD"
    assert await reader.currency("research") == "JPY"
    assert await reader.currency("none") is None


async def test_closed_periods_and_what_is_not_yet_invoiced(books: Books) -> None:
    march, april, other = closing("A"), closing("A", APRIL), closing("B")
    reader = await books.given(march, april, other)
    places = {r.event.meta.event_id: r for r in books.log.all() if isinstance(r.event, PeriodClosed)}

    def closed(event: PeriodClosed) -> ClosedPeriod:
        record = places[event.meta.event_id]
        return ClosedPeriod(
            event_id=event.meta.event_id,
            subscriber=event.subscriber,
            period=event.period,
            start=event.start,
            end=event.end,
            closed_at=record.timestamp,
            position=record.position,
        )

    assert await reader.closed() == [closed(other), closed(april), closed(march)]
    assert await reader.closed("A") == [closed(april), closed(march)]
    assert await reader.closed(limit=1) == [closed(other)]
    assert await reader.last_closed("A") == closed(april)
    assert await reader.pending() == [closed(march), closed(april), closed(other)]
    await books.given(invoice(april, euros(1)))
    assert await reader.pending() == [closed(march), closed(other)]


async def test_invoices_are_asked_for_by_subscriber_period_and_number(books: Books) -> None:
    march, april, other = closing("A"), closing("A", APRIL), closing("B")
    line = InvoiceLine(
        kind=FeeKind.DELIVERY,
        count=2,
        quantity=9,
        unit="images",
        price="0.25",
        per=1,
        amount=euros(225),
        policy="half-up-2",
        tariff="basic",
        version=1,
        digest="00",
    )
    of_march = invoice(march, euros(225), number="2026-0001", lines=[line])
    of_april, of_other = invoice(april, euros(0)), invoice(other, euros(5))
    reader = await books.given(march, april, other, of_march, of_april, of_other)

    async def found(subscriber: str | None = None, **chosen: str | int) -> list[InvoiceIssued]:
        return [each.invoice for each in await reader.invoices(subscriber, **chosen)]  # type: ignore[arg-type]

    assert await found() == [of_other, of_april, of_march]
    assert await found("A") == [of_april, of_march]
    assert await found(period="2026-03") == [of_other, of_march]
    assert await found("A", period="2026-03") == [of_march]
    assert await found(limit=1) == [of_other]
    stored = await reader.invoice("2026-0001")
    (record,) = [each for each in books.log.all() if each.event == of_march]
    assert stored == StoredInvoice(invoice=of_march, position=record.position, issued_at=record.timestamp)
    assert await reader.closing(stored) == await books.period("A", "2026-03")
    assert await reader.invoice("2026-0002") is None


async def test_payments_are_asked_for_by_subscriber_and_id_the_newest_first(books: Books) -> None:
    one, two = payment("A", at=NOON + timedelta(hours=1)), payment("A", at=NOON)
    other = payment("B", at=NOON + timedelta(minutes=1))
    reader = await books.given(one, two, other)
    assert [each.payment for each in await reader.payments()] == [one, other, two]
    assert [each.payment for each in await reader.payments("A")] == [one, two]
    assert [each.payment for each in await reader.payments(limit=1)] == [one]
    (record,) = [each for each in books.log.all() if each.event == other]
    assert await reader.payment(other.meta.event_id) == StoredPayment(payment=other, position=record.position)
    assert await reader.payment(uuid4()) is None


async def test_lines_are_the_fees_of_a_period_by_what_they_are_for_and_at_which_price(books: Books) -> None:
    first, second = fee("A", quantity=3), fee("A", quantity=5)
    dearer = fee("A", quantity=1, price="0.335", version=2)
    yen = fee("A", quantity=3, price="40", currency="JPY")
    processed = [fee("A", kind=FeeKind.PROCESSING_IMAGE, item=item, price="2") for item in ("MPR", "MIP")]
    march = closing("A")
    managed = periodic(march)
    foreign = fee("B")
    reader = await books.given(yen, second, dearer, first, *processed, foreign, march, managed)

    def line(
        *fees: FeeCharged, quantity: int, amount: Money, price: str = "0.25", **more: str | int
    ) -> InvoiceLine:
        return InvoiceLine(
            kind=fees[0].kind,
            item=fees[0].item,
            count=len(fees),
            quantity=quantity,
            unit="images",
            price=price,
            per=1,
            amount=amount,
            policy=f"half-up-{0 if amount.currency == 'JPY' else 2}",
            tariff="basic",
            version=fees[0].version,
            period=fees[0].period,
            digest=digest_of(*fees),
        )

    mpr, mip = processed
    assert await reader.lines(await books.period()) == [
        line(first, second, quantity=8, amount=euros(200)),
        line(dearer, quantity=1, price="0.335", amount=euros(34)),
        line(managed, quantity=1, price="30", amount=euros(3000)),
        line(mip, quantity=1, price="2", amount=euros(200)),
        line(mpr, quantity=1, price="2", amount=euros(200)),
        line(yen, quantity=3, price="40", amount=euros(120, "JPY")),
    ]
    in_euros = ids_of(second, first, dearer, managed, mip, mpr)
    assert await books.members(await books.period()) == in_euros
    assert await books.members(await books.period(), "JPY") == ids_of(yen)
    assert await books.members(await books.period(), "USD") == []


async def test_a_fee_belongs_to_the_first_closing_that_comes_after_it_and_ends_after_its_time(
    books: Books,
) -> None:
    in_time = fee("A", at=LATE_MARCH)
    of_april_before_march_was_closed = fee("A", at=EARLY_APRIL)
    march, april = closing("A"), closing("A", APRIL)
    too_late = fee("A", at=LATE_MARCH)
    at_the_end = fee("A", at=MARCH.end)
    open_still = fee("A", at=APRIL.end)
    await books.given(
        *(in_time, of_april_before_march_was_closed, march),
        *(periodic(march), too_late, at_the_end, open_still, april, periodic(april)),
    )
    of_march, of_april = await books.period(), await books.period(name="2026-04")
    assert await books.members(of_march) == ids_of(in_time, periodic(march))
    assert await books.members(of_april) == ids_of(
        of_april_before_march_was_closed, too_late, at_the_end, periodic(april)
    )
    # What comes afterwards changes neither.
    await books.given(fee("A", at=LATE_MARCH))
    assert len(await books.members(of_march)) == 2
    assert len(await books.members(of_april)) == 4


async def test_periods_that_are_closed_in_the_wrong_order_share_no_fee(books: Books) -> None:
    of_march, of_april = fee("A", at=LATE_MARCH), fee("A", at=EARLY_APRIL)
    april, march = closing("A", APRIL), closing("A", MARCH)
    late = fee("A", at=LATE_MARCH)
    await books.given(of_march, of_april, april, late, march)
    assert await books.members(await books.period(name="2026-04")) == ids_of(of_march, of_april)
    assert await books.members(await books.period(name="2026-03")) == ids_of(late)


async def test_a_period_with_nothing_in_it_has_no_lines(books: Books) -> None:
    reader = await books.given(closing("A"), fee("A"))
    assert await reader.lines(await books.period()) == []


async def test_a_long_history_in_small_pieces_is_what_the_rule_says(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billed, "FEES_AT_ONCE", 7)
    random = Random(5)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    events: list[Event] = []
    days = [
        Period(name=f"2026-03-{n:02}", start=start + timedelta(days=n - 1), end=start + timedelta(days=n))
        for n in range(1, 9)
    ]
    random.shuffle(days)
    for day in days:
        for _ in range(40):
            at = start + timedelta(hours=random.randrange(0, 200))
            kind = random.choice([FeeKind.DELIVERY, FeeKind.CONNECTION])
            events.append(fee(random.choice("AB"), at=at, kind=kind, quantity=random.randrange(9)))
        for subscriber in "AB":
            closed = closing(subscriber, day)
            events += [closed, periodic(closed)]
    await books.given(*events)
    expected = members_by_the_rule(books.log.all())
    found = 0
    for each in await books.reader.closed():
        fees = [one async for one in books.reader.fees_of(each, "EUR")]
        assert set(ids_of(*fees)) == expected[each.event_id]
        assert len(fees) == len(expected[each.event_id])
        keys = [(one.kind, one.item, one.tariff, one.version, one.period, one.position) for one in fees]
        assert keys == sorted(keys)
        assert_lines_are_of(await books.reader.lines(each), fees)
        found += len(fees)
    assert found > 100


def assert_lines_are_of(lines: Sequence[InvoiceLine], fees: Sequence[StoredFee]) -> None:
    """Lines and fees of the same period and currency tell the same."""
    groups: dict[tuple[str, str, str], list[StoredFee]] = {}
    for each in fees:
        groups.setdefault((each.kind, each.price, each.period), []).append(each)
    assert {(line.kind, line.price, line.period): line for line in lines}.keys() == groups.keys()
    for line in lines:
        group = groups[line.kind, line.price, line.period]
        assert line.count == len(group)
        assert line.quantity == sum(each.quantity for each in group)
        assert line.amount == euros(sum(each.amount.minor_units for each in group))
        ids = b"".join(sorted(each.fee_id.bytes for each in group))
        assert line.digest == sha256(ids).hexdigest()


def members_by_the_rule(records: Sequence[Record]) -> dict[UUID, set[UUID]]:
    """The fees of each closing, worked out as the rule is written, one by one."""
    firsts: dict[UUID, Record] = {}
    for record in sorted(records, key=lambda each: each.timestamp):
        assert isinstance(record.event, Event)
        firsts.setdefault(record.event.meta.event_id, record)
    closings = sorted(
        ((r.position.offset, r.event) for r in firsts.values() if isinstance(r.event, PeriodClosed)),
        key=lambda each: each[0],
    )
    members: dict[UUID, set[UUID]] = {event.meta.event_id: set() for _, event in closings}
    for record in firsts.values():
        charged = record.event
        if not isinstance(charged, FeeCharged):
            continue
        for offset, event in closings:
            before = charged.meta.occurred_at < event.end and record.position.offset < offset
            caused = charged.meta.cause_id == event.meta.event_id
            if event.subscriber == charged.subscriber and (before or caused):
                members[event.meta.event_id].add(charged.meta.event_id)
                break
    return members


# Properties, each on many examples.

closings_at = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 20)), min_size=1, max_size=5, unique_by=lambda each: each[1]
)
"""Ends and offsets."""


@fast
@given(
    closings_at,
    st.integers(0, 14),
    st.integers(0, 22),
    st.one_of(st.none(), st.integers(0, 5)),
)
def test_membership_is_what_the_rule_says(
    ends: list[tuple[int, int]], charged_at: int, offset: int, cause: int | None
) -> None:
    closings = sorted(
        (Closing(event_id=str(n), end=end, offset=at) for n, (end, at) in enumerate(ends)),
        key=lambda each: each.offset,
    )
    cause_id = None if cause is None else str(cause)
    by_rule = [
        each
        for each in closings
        if (charged_at < each.end and offset < each.offset) or cause_id == each.event_id
    ][:1]
    memberships = [Membership(each, closings[:n]) for n, each in enumerate(closings)]
    found = [each for each in memberships if each.holds(charged_at, offset, cause_id)]
    assert [each.closing for each in found] == by_rule
    for each in found:
        assert each.since is None or charged_at >= each.since[0] or offset >= each.since[1]


@fast
@given(st.lists(st.uuids(), unique=True, max_size=40), st.integers(1, 9))
def test_the_digest_of_fees_is_that_of_their_ids_in_ascending_order(ids: list[UUID], piece: int) -> None:
    digest = FeesDigest()
    for at in range(0, len(ids), piece):
        digest.add(each.bytes for each in ids[at : at + piece])
    assert digest.hexdigest() == sha256(b"".join(sorted(each.bytes for each in ids))).hexdigest()


def test_the_digest_of_no_fees_is_that_of_nothing() -> None:
    assert FeesDigest().hexdigest() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


SUBSCRIBERS = ["A", "B", "J"]
"""Each is in a partition of its own."""

PERIODS = [MARCH, APRIL]
subscribers = st.sampled_from(SUBSCRIBERS)
times = st.sampled_from([NOON, LATE_MARCH, MARCH.end, EARLY_APRIL, APRIL.end - timedelta(microseconds=1)])
fees = st.builds(
    fee,
    subscribers,
    # Now and then another fee has the same id, also of another subscriber: it is none.
    fee_id=st.one_of(st.uuids(version=4), st.sampled_from([UUID(int=1), UUID(int=2)])),
    at=times,
    kind=st.sampled_from([FeeKind.DELIVERY, FeeKind.CONNECTION]),
    quantity=st.integers(0, 10**6),
    price=st.sampled_from(["0", "0.25", "0.3333", "7"]),
    currency=st.sampled_from(["EUR", "EUR", "JPY", "BHD"]),
    version=st.integers(1, 2),
)
payments = st.builds(
    payment,
    subscribers,
    st.builds(euros, st.integers(-(10**6), 10**6), st.sampled_from(["EUR", "JPY"])),
    # Few, so that the same payment is reported again, also of another subscriber.
    reference=st.sampled_from(["R1", "R2", "R3"]),
    at=times,
)
closings = st.builds(closing, subscribers, st.sampled_from(PERIODS))
periodic_fees = st.builds(
    periodic, closings, st.sampled_from([FeeKind.MANAGEMENT, FeeKind.REGISTRATION_ALLOCATED])
)
invoices = st.builds(
    invoice, closings, st.builds(euros, st.integers(0, 10**6), st.sampled_from(["EUR", "JPY"]))
)
tariffs = st.builds(tariff, st.sampled_from(["basic", "research"]), st.integers(1, 3))
account_events: st.SearchStrategy[Event] = st.one_of(
    fees, fees, payments, closings, periodic_fees, invoices, tariffs
)
histories = st.lists(account_events, min_size=1, max_size=25)


def test_the_subscribers_are_in_different_partitions() -> None:
    log = MemoryLog()
    assert len({log.partition(fee(each)) for each in SUBSCRIBERS}) == 3


@fast
@given(st.data(), histories)
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


@fast
@given(histories)
def test_balances_are_what_is_worked_out_the_plain_way(some: list[Event]) -> None:
    log = log_of(some)
    seen: set[tuple[type, UUID]] = set()
    sums: Counter[tuple[str, str, str]] = Counter()
    for record in sorted(log.all(), key=lambda each: each.timestamp):
        event = record.event
        if isinstance(event, Event) and (type(event), event.meta.event_id) not in seen:
            seen.add((type(event), event.meta.event_id))
            if isinstance(event, FeeCharged):
                sums[event.subscriber, event.amount.currency, "charged"] += event.amount.minor_units
            elif isinstance(event, PaymentReceived):
                sums[event.subscriber, event.amount.currency, "paid"] += event.amount.minor_units
            elif isinstance(event, InvoiceIssued):
                sums[event.subscriber, event.total.currency, "invoiced"] += event.total.minor_units
    found: Counter[tuple[str, str, str]] = Counter()
    for subscriber, currency, charged, paid, invoiced, _ in rows_of([log.all()])["balances"]:
        found[subscriber, currency, "charged"] += charged
        found[subscriber, currency, "paid"] += paid
        found[subscriber, currency, "invoiced"] += invoiced
    assert {k: v for k, v in found.items() if v} == {k: v for k, v in sums.items() if v}


@fast
@given(histories)
def test_once_all_is_billed_fees_lines_and_balances_come_to_the_same(some: list[Event]) -> None:
    """Every fee is in exactly one period: nothing is billed twice or forgotten."""
    log = log_of(some)
    for period in (*PERIODS, Period(name="2027", start=MARCH.start, end=datetime(2028, 1, 1, tzinfo=UTC))):
        log.extend(closing(each, period) for each in SUBSCRIBERS)
    expected = members_by_the_rule(log.all())
    with catalog() as connection:
        projection.apply(connection, PROJECTIONS, log.all())
        reader = AccountReader(asked(connection))

        async def check() -> None:
            lines: Counter[tuple[str, str]] = Counter()
            members: list[UUID] = []
            for closed in await reader.closed():
                found = await reader.lines(closed)
                for line in found:
                    lines[closed.subscriber, line.amount.currency] += line.amount.minor_units
                mine = [
                    each.fee_id
                    for currency in sorted({line.amount.currency for line in found})
                    async for each in reader.fees_of(closed, currency)
                ]
                assert set(mine) == expected[closed.event_id]
                members += mine
            fees = await reader.fees(limit=None)
            assert sorted(members) == sorted(each.fee_id for each in fees)
            charged: Counter[tuple[str, str]] = Counter()
            for each in fees:
                charged[each.subscriber, each.amount.currency] += each.amount.minor_units
            assert lines == charged
            for subscriber in SUBSCRIBERS:
                for balance in (await reader.account(subscriber)).balances:
                    assert balance.charged == charged[subscriber, balance.currency]

        asyncio.run(check())
