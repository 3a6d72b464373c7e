"""What an event costs: every kind of fee, with values computed by hand."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

import pytest
from tests.streams.billing.ledger import Ledger, price, shown

from medbus.schemas.events import FeeKind, Money, Origin
from medbus.streams.billing.charging import fees

CONVERSATION = UUID(int=7)

EVERYTHING = (
    price(FeeKind.SUBSCRIPTION, "100"),
    price(FeeKind.MANAGEMENT, "20"),
    price(FeeKind.DELIVERY, "0.05"),
    price(FeeKind.CONNECTION, "0.2"),
    price(FeeKind.PROCESSING_FIXED, "1.5"),
    price(FeeKind.PROCESSING_IMAGE, "0.01"),
    price(FeeKind.PROCESSING_BYTE, "0.02", 1_000_000),
    price(FeeKind.PROCESSING_SESSION, "0.3"),
    price(FeeKind.PROCESSING_SECOND, "0.1", 60),
    price(FeeKind.SOFTWARE_RUN, "2"),
    price(FeeKind.SOFTWARE_PERIOD, "30"),
)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.tariff(0, *EVERYTHING)
    ledger.contract(1)
    return ledger


def test_a_contract_costs_its_subscription_once(ledger: Ledger) -> None:
    ledger.change(2)
    assert shown(ledger.charged()) == [("SUBSCRIPTION", 1, "100", 1, 10_000)]


def test_a_new_contract_after_a_cancellation_costs_it_again(ledger: Ledger) -> None:
    ledger.cancel(2)
    ledger.contract(3)
    assert [fee.kind for fee in ledger.charged()] == [FeeKind.SUBSCRIPTION, FeeKind.SUBSCRIPTION]


def test_each_image_that_was_delivered_is_charged(ledger: Ledger) -> None:
    record = ledger.delivered(2)
    (_, fee) = ledger.charged()
    assert record.event is not None
    assert shown([fee]) == [("DELIVERY", 1, "0.05", 1, 5)]
    assert fee.meta.event_id == uuid5(record.event.meta.event_id, "DELIVERY")  # type: ignore[union-attr]
    assert fee.meta.cause_id == record.event.meta.event_id  # type: ignore[union-attr]
    assert fee.meta.occurred_at == record.timestamp
    assert (fee.subscriber, fee.unit, fee.tariff, fee.version) == ("A", "image", "standard", 1)
    assert (fee.policy, fee.amount) == ("half-up-2", Money(minor_units=5, currency="EUR"))
    assert fee.cause == Origin(topic="deliveries", partition=0, offset=0)


def test_a_conversation_is_charged_once_however_many_requests_it_has(ledger: Ledger) -> None:
    first = ledger.grant(2, conversation=CONVERSATION)
    ledger.grant(2.1, conversation=CONVERSATION)
    ledger.grant(2.2)
    found = [fee for fee in ledger.charged() if fee.kind is FeeKind.CONNECTION]
    assert len({fee.meta.event_id for fee in found}) == 2
    assert found[0].meta.event_id == uuid5(CONVERSATION, "CONNECTION")
    assert found[0].meta.cause_id == first.event.meta.event_id  # type: ignore[union-attr]
    assert shown(found)[:1] == [("CONNECTION", 1, "0.2", 1, 20)]


@pytest.mark.parametrize("request_", ["AccountRequested", "ActivationRequested"])
def test_to_begin_and_to_see_the_account_is_no_connection(ledger: Ledger, request_: str) -> None:
    ledger.grant(2, conversation=CONVERSATION, request=request_)
    assert [fee.kind for fee in ledger.charged()] == [FeeKind.SUBSCRIPTION]


def test_processing_is_charged_by_all_that_the_list_names(ledger: Ledger) -> None:
    ledger.processed(2, images=200, size=37_400_000, sessions=2, milliseconds=90_500)
    assert shown(ledger.charged()[1:]) == [
        ("PROCESSING_FIXED", 1, "1.5", 1, 150),
        ("PROCESSING_IMAGE", 200, "0.01", 1, 200),
        # 37.4 x 0.02 = 0.748
        ("PROCESSING_BYTE", 37_400_000, "0.02", 1_000_000, 75),
        ("PROCESSING_SESSION", 2, "0.3", 1, 60),
        # 90.5 s / 60 s x 0.1 = 0.15083
        ("PROCESSING_SECOND", 90_500, "0.1", 60_000, 15),
    ]


def test_results_that_were_there_already_cost_what_a_request_costs(ledger: Ledger) -> None:
    ledger.processed(2, results=5)
    assert shown(ledger.charged()[1:]) == [("PROCESSING_FIXED", 1, "1.5", 1, 150)]


def test_what_was_not_done_is_not_charged(ledger: Ledger) -> None:
    ledger.processed(2, results=0)
    assert ledger.charged()[1:] == []


def test_an_item_may_have_a_price_of_its_own() -> None:
    ledger = Ledger()
    ledger.tariff(
        0, price(FeeKind.PROCESSING_IMAGE, "0.01"), price(FeeKind.PROCESSING_IMAGE, "0.5", item="mip")
    )
    ledger.contract(1)
    ledger.processed(2, kind="mip", images=3)
    ledger.processed(2, kind="smoothing", images=3)
    assert [(fee.item, fee.amount.minor_units) for fee in ledger.charged()] == [
        ("mip", 150),
        ("smoothing", 3),
    ]


def test_software_is_charged_by_run_and_once_a_month(ledger: Ledger) -> None:
    for day in (2, 3, 31):
        ledger.ran(day)
    ledger.ran(4, software="CT_SYSTEM")
    found = ledger.charged()[1:]
    monthly = [fee for fee in found if fee.kind is FeeKind.SOFTWARE_PERIOD]
    assert sum(fee.kind is FeeKind.SOFTWARE_RUN for fee in found) == 4
    assert len({fee.meta.event_id for fee in monthly}) == 3
    assert monthly[0].meta.event_id == monthly[1].meta.event_id
    assert shown(monthly[:1]) == [("SOFTWARE_PERIOD", 1, "30", 1, 3000)]


def test_what_the_list_does_not_name_is_free() -> None:
    ledger = Ledger()
    ledger.tariff(0, price(FeeKind.SUBSCRIPTION, "1"))
    ledger.contract(1, tariff=None)
    ledger.contract(1, "B")
    for subscriber in ("A", "B", "stranger"):
        ledger.delivered(2, subscriber)
        ledger.grant(2, subscriber)
    assert [(fee.subscriber, fee.kind.value) for fee in ledger.charged()] == [("B", "SUBSCRIPTION")]


def test_a_price_of_nothing_is_shown() -> None:
    ledger = Ledger()
    ledger.tariff(0, price(FeeKind.DELIVERY, "0"))
    ledger.contract(1)
    ledger.delivered(2)
    assert shown(ledger.charged()) == [("DELIVERY", 1, "0", 1, 0)]


@pytest.mark.parametrize(
    ("currency", "decimals", "amount", "minor"),
    [("JPY", 0, "7", 7), ("BHD", 3, "0.125", 125), ("EUR", 2, "7", 700)],
)
def test_currencies_with_other_decimals(currency: str, decimals: int, amount: str, minor: int) -> None:
    ledger = Ledger()
    ledger.tariff(
        0,
        price(FeeKind.DELIVERY, amount),
        price(FeeKind.PROCESSING_SECOND, "0.45", 60),
        currency=currency,
        decimals=decimals,
    )
    ledger.contract(1)
    ledger.delivered(2)
    ledger.processed(2, milliseconds=60_000)
    delivery, second = ledger.charged()
    assert delivery.amount == Money(minor_units=minor, currency=currency)
    # 0.45 of the major unit.
    assert second.amount.minor_units == {0: 0, 2: 45, 3: 450}[decimals]


def test_a_new_version_changes_what_comes_after_it_alone(ledger: Ledger) -> None:
    ledger.delivered(2)
    before = ledger.charged()
    ledger.tariff(3, price(FeeKind.DELIVERY, "0.07"), valid_from=5)
    ledger.delivered(4)
    ledger.delivered(5)
    after = ledger.charged()
    assert after[: len(before)] == before
    assert [(fee.version, fee.amount.minor_units) for fee in after[1:]] == [(1, 5), (1, 5), (2, 7)]


def test_a_version_that_has_not_begun_can_be_replaced(ledger: Ledger) -> None:
    ledger.tariff(3, price(FeeKind.DELIVERY, "0.07"), valid_from=10)
    ledger.tariff(4, price(FeeKind.DELIVERY, "0.08"), valid_from=10)
    ledger.tariff(4, price(FeeKind.DELIVERY, "0.06"), valid_from=6)
    for day in (5, 7, 11):
        ledger.delivered(day)
    assert [(fee.version, fee.amount.minor_units) for fee in ledger.charged()[1:]] == [(1, 5), (4, 6), (3, 8)]


def test_what_was_recorded_at_the_same_time_is_not_yet_in_force(ledger: Ledger) -> None:
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    ledger.tariff(at, price(FeeKind.DELIVERY, "0.09"))
    ledger.delivered(at)
    assert ledger.charged()[-1].version == 1


def test_after_a_cancellation_nothing_is_charged(ledger: Ledger) -> None:
    ledger.cancel(3)
    ledger.delivered(3.5)
    assert [fee.kind for fee in ledger.charged()] == [FeeKind.SUBSCRIPTION]


def test_events_that_cost_nothing_lead_to_nothing(ledger: Ledger) -> None:
    record = ledger.cancel(3)
    assert fees(ledger.book, record) == ()
