"""What a period costs: management and capacity, with values computed by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.streams.billing.ledger import Ledger, moment, price, shown

from medbus.bus import Partition, Position
from medbus.projections.accounts import ClosedPeriod
from medbus.schemas import period
from medbus.schemas.events import FeeCharged, FeeKind
from medbus.streams.billing import periodic

GB = 10**9
DAY = 86_400
POSITION = Position(Partition("fees", 0), 9)

Used = Callable[[datetime, datetime], int]


def nothing(_start: datetime, _end: datetime) -> int:
    return 0


def steady(size: int) -> Used:
    """So many bytes, always."""
    return lambda start, end: size * int((end - start).total_seconds())


def charged(ledger: Ledger, name: str, used: Used = nothing, subscriber: str = "A") -> list[FeeCharged]:
    """The fees of a period."""
    whole = period.named(name)
    segments = ledger.book.segments(subscriber, whole.start, whole.end)
    return list(
        periodic.fees(
            ClosedPeriod(
                event_id=periodic.period_id(subscriber, name),
                subscriber=subscriber,
                period=whole.name,
                start=whole.start,
                end=whole.end,
                closed_at=whole.end,
                position=POSITION,
            ),
            segments,
            {window: used(*window) for window in periodic.windows(segments)},
        )
    )


def ledger_with(
    *prices: tuple[FeeKind, str, int],
    start: float | datetime = -500,
    currency: str = "EUR",
    decimals: int = 2,
) -> Ledger:
    """A log with a price list that is good from a while before a time on."""
    ledger = Ledger()
    ledger.tariff(
        moment(start) - timedelta(days=1),
        *(price(*each) for each in prices),
        currency=currency,
        decimals=decimals,
    )
    return ledger


def test_management_is_charged_whole() -> None:
    ledger = ledger_with((FeeKind.MANAGEMENT, "20", 1))
    ledger.contract(30)
    ledger.cancel(31 + 14)
    assert charged(ledger, "2025-12") == []
    for name in ("2026-01", "2026-02"):
        (fee,) = charged(ledger, name)
        assert shown([fee]) == [("MANAGEMENT", 1, "20", 1, 2000)]
        assert (fee.unit, fee.period, fee.cause.topic, fee.cause.offset) == ("period", name, "fees", 9)
        assert period.containing(fee.meta.occurred_at, "month").name == name
    assert charged(ledger, "2026-03") == []


@pytest.mark.parametrize(
    ("name", "begun", "days", "milliseconds", "minor"),
    [
        # 31 days, of which 1 is left: 31 / 31 of a euro.
        ("2026-01", datetime(2026, 1, 31, tzinfo=UTC), 31, 1 * DAY * 1000, 100),
        ("2026-02", datetime(2026, 2, 15, tzinfo=UTC), 28, 14 * DAY * 1000, 1550),
        # The leap day makes it 15 of 29 days: 16.034
        ("2024-02", datetime(2024, 2, 15, tzinfo=UTC), 29, 15 * DAY * 1000, 1603),
        ("2026-04", datetime(2026, 4, 1, tzinfo=UTC), 30, 30 * DAY * 1000, 3100),
    ],
)
def test_management_in_part_is_charged_by_the_time(
    name: str, begun: datetime, days: int, milliseconds: int, minor: int
) -> None:
    ledger = ledger_with((FeeKind.MANAGEMENT_PRORATED, "31", 1), start=begun)
    ledger.contract(begun)
    (fee,) = charged(ledger, name)
    assert shown([fee]) == [("MANAGEMENT_PRORATED", milliseconds, "31", days * DAY * 1000, minor)]
    assert fee.unit == "millisecond"


@pytest.mark.parametrize(
    ("name", "days"),
    [("2026-01", 31), ("2026-02", 28), ("2024-02", 29), ("2026-04", 30), ("2026", 365), ("2024", 366)],
)
def test_capacity_is_charged_by_byte_days(name: str, days: int) -> None:
    begun = datetime(2023, 1, 1, tzinfo=UTC)
    ledger = ledger_with(
        (FeeKind.REGISTRATION_ALLOCATED, "0.001", GB), (FeeKind.REGISTRATION_IN_USE, "0.002", GB), start=begun
    )
    ledger.contract(begun, capacity=500 * GB)
    # 500 GB x days x 0.001, and 120 GB x days x 0.002
    assert shown(charged(ledger, name, steady(120 * GB))) == [
        ("REGISTRATION_ALLOCATED", 500 * GB * days, "0.001", GB, 50 * days),
        ("REGISTRATION_IN_USE", 120 * GB * days, "0.002", GB, 24 * days),
    ]


def test_a_capacity_that_changes_is_charged_as_it_was_at_each_time() -> None:
    ledger = ledger_with((FeeKind.REGISTRATION_ALLOCATED, "0.001", GB))
    ledger.contract(-10, capacity=100 * GB)
    ledger.change(10, capacity=400 * GB)
    ledger.change(15.5, capacity=None)
    ledger.change(20, capacity=200 * GB)
    ledger.cancel(30)
    # 10 x 100 + 5.5 x 400 + 4.5 x 0 + 10 x 200 = 5200 GB-days
    assert shown(charged(ledger, "2026-01")) == [("REGISTRATION_ALLOCATED", 5200 * GB, "0.001", GB, 520)]


def test_without_a_capacity_none_is_allocated() -> None:
    ledger = ledger_with((FeeKind.REGISTRATION_ALLOCATED, "0.001", GB))
    ledger.contract(-10)
    assert charged(ledger, "2026-01") == []


def test_prices_that_change_within_the_period_are_good_for_their_part() -> None:
    ledger = ledger_with(
        (FeeKind.MANAGEMENT, "20", 1),
        (FeeKind.MANAGEMENT_PRORATED, "31", 1),
        (FeeKind.REGISTRATION_IN_USE, "0.002", GB),
    )
    ledger.contract(-10)
    ledger.tariff(
        5,
        price(FeeKind.MANAGEMENT, "99"),
        price(FeeKind.MANAGEMENT_PRORATED, "62"),
        price(FeeKind.REGISTRATION_IN_USE, "0.004", GB),
        valid_from=10,
    )
    found = charged(ledger, "2026-01", steady(100 * GB))
    assert [(fee.version, *each) for fee, each in zip(found, shown(found), strict=True)] == [
        (1, "MANAGEMENT", 1, "20", 1, 2000),
        (1, "MANAGEMENT_PRORATED", 10 * DAY * 1000, "31", 31 * DAY * 1000, 1000),
        (1, "REGISTRATION_IN_USE", 1000 * GB, "0.002", GB, 200),
        (2, "MANAGEMENT_PRORATED", 21 * DAY * 1000, "62", 31 * DAY * 1000, 4200),
        (2, "REGISTRATION_IN_USE", 2100 * GB, "0.004", GB, 840),
    ]
    assert len({fee.meta.event_id for fee in found}) == 5


def test_a_contract_that_comes_back_is_charged_for_both_its_times() -> None:
    ledger = ledger_with((FeeKind.MANAGEMENT, "20", 1), (FeeKind.REGISTRATION_ALLOCATED, "0.001", GB))
    ledger.contract(-10, capacity=100 * GB)
    ledger.cancel(5)
    ledger.contract(20, capacity=100 * GB)
    # Management once; 5 + 11 days of 100 GB.
    assert shown(charged(ledger, "2026-01")) == [
        ("MANAGEMENT", 1, "20", 1, 2000),
        ("REGISTRATION_ALLOCATED", 1600 * GB, "0.001", GB, 160),
    ]


def test_a_period_with_nothing_in_it_costs_nothing() -> None:
    ledger = ledger_with((FeeKind.DELIVERY, "1", 1))
    ledger.contract(-10)
    assert charged(ledger, "2026-01") == []
    assert charged(ledger, "2026-01", subscriber="nobody") == []


def test_nothing_registered_is_charged_with_nothing() -> None:
    ledger = ledger_with((FeeKind.REGISTRATION_IN_USE, "0.002", GB))
    ledger.contract(-10)
    assert shown(charged(ledger, "2026-01")) == [("REGISTRATION_IN_USE", 0, "0.002", GB, 0)]


@pytest.mark.parametrize(
    ("currency", "decimals", "minor"), [("JPY", 0, 4), ("BHD", 3, 3720), ("EUR", 2, 372)]
)
def test_currencies_with_other_decimals(currency: str, decimals: int, minor: int) -> None:
    ledger = ledger_with((FeeKind.REGISTRATION_IN_USE, "0.0012", GB), currency=currency, decimals=decimals)
    ledger.contract(-10)
    # 100 GB x 31 days x 0.0012 = 3.72
    (fee,) = charged(ledger, "2026-01", steady(100 * GB))
    assert (fee.amount.minor_units, fee.amount.currency) == (minor, currency)


def test_what_is_in_use_is_measured_in_whole_minutes_that_no_two_stretches_share() -> None:
    ledger = ledger_with((FeeKind.REGISTRATION_IN_USE, "0.002", GB))
    ledger.contract(datetime(2026, 1, 3, 4, 5, 6, 7000, tzinfo=UTC))
    ledger.tariff(datetime(2026, 1, 9, 1, 2, 3, tzinfo=UTC), price(FeeKind.REGISTRATION_IN_USE, "0.003", GB))
    whole = period.named("2026-01")
    assert periodic.windows(ledger.book.segments("A", whole.start, whole.end)) == [
        (datetime(2026, 1, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 9, 1, 2, tzinfo=UTC)),
        (datetime(2026, 1, 9, 1, 2, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
    ]


def test_the_period_is_closed_once_for_each_subscriber() -> None:
    whole = period.named("2026-01")
    first, again = (periodic.closed("A", whole, moment(day)) for day in (31, 45))
    assert first.meta.event_id == again.meta.event_id
    assert first.meta.event_id != periodic.closed("B", whole, moment(31)).meta.event_id
