"""Price lists: versions, and what they may say."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.streams.billing.ledger import price

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import FeeKind, Price, TariffSet
from medbus.schemas.money import InvalidMoney
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.decider import InvalidTariff, State, decide, fold

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = price(FeeKind.DELIVERY, "0.05")


def command(*prices: Price, number: int = 1, **changes: object) -> SetTariff:
    given = SetTariff(
        command_id=UUID(int=number),
        at=AT,
        source="cli",
        tariff="standard",
        currency="EUR",
        prices=prices or (DELIVERY,),
    )
    return replace(given, **changes)


def after(*commands: SetTariff) -> State:
    state = State()
    for each in commands:
        state = fold(state, decide(state, each))
    return state


def test_the_first_version_is_good_at_once() -> None:
    given = command()
    (event,) = decide(State(), given)
    assert event == TariffSet(
        meta=given.meta(),
        tariff="standard",
        version=1,
        valid_from=AT,
        currency="EUR",
        policy="half-up-2",
        prices=(DELIVERY,),
    )


def test_versions_are_counted_for_each_list() -> None:
    state = after(command(), command(number=2), command(number=3, tariff="other"))
    assert [each.version for each in state.versions["standard"]] == [1, 2]
    assert [each.version for each in state.versions["other"]] == [1]


def test_a_command_that_is_repeated_happens_once() -> None:
    state = after(command())
    assert decide(state, command()) == ()


def test_prices_never_change_backwards() -> None:
    state = after(command())
    refused(
        state,
        command(number=2, valid_from=AT - timedelta(seconds=1)),
        InvalidTariff,
        "can't be changed for the past",
    )
    (event,) = decide(state, command(number=2, valid_from=AT + timedelta(days=30)))
    assert event.valid_from == AT + timedelta(days=30)


def test_a_list_keeps_its_currency() -> None:
    refused(
        after(command()),
        command(number=2, currency="JPY", prices=()),
        InvalidTariff,
        "is in EUR, and stays so",
    )


@pytest.mark.parametrize("name", ["", "a b", "-x", "ä", "x" * 65, "a/b"])
def test_names_are_simple(name: str) -> None:
    refused(State(), command(tariff=name), InvalidTariff, "can't be the name of a price list")


@pytest.mark.parametrize(
    ("prices", "error", "message"),
    [
        ([price(FeeKind.UNSPECIFIED, "1")], InvalidTariff, "is nothing that can be charged"),
        ([price(FeeKind.DELIVERY, "-1")], InvalidMoney, "is no price"),
        ([price(FeeKind.DELIVERY, "0.005")], InvalidTariff, "DELIVERY at 0.005 EUR by 1 can't be paid"),
        ([price(FeeKind.DELIVERY, "1", 100)], InvalidTariff, "DELIVERY at 1 EUR by 100 can't be paid"),
        ([price(FeeKind.DELIVERY, "1", item="mip")], InvalidTariff, "has one price for all"),
        ([price(FeeKind.PROCESSING_IMAGE, "1", item="x" * 65)], InvalidTariff, "is no item"),
        ([price(FeeKind.PROCESSING_IMAGE, "1", item="a\nb")], InvalidTariff, "is no item"),
        ([price(FeeKind.PROCESSING_BYTE, "1", 0)], InvalidTariff, "0 bytes have no price"),
        ([price(FeeKind.MANAGEMENT_PRORATED, "1", 2)], InvalidTariff, "Give the price of one period"),
        ([DELIVERY, price(FeeKind.DELIVERY, "1")], InvalidTariff, "DELIVERY has two prices"),
    ],
)
def test_what_can_not_be_a_price(prices: list[Price], error: type[MedbusError], message: str) -> None:
    refused(State(), command(*prices), error, message)


def test_prices_finer_than_a_cent_are_for_what_is_measured() -> None:
    (event,) = decide(State(), command(price(FeeKind.REGISTRATION_IN_USE, "0.00250", 10**9)))
    assert event.prices == (price(FeeKind.REGISTRATION_IN_USE, "0.0025", 10**9),)


def test_each_item_may_have_its_price() -> None:
    both = (price(FeeKind.PROCESSING_IMAGE, "1"), price(FeeKind.PROCESSING_IMAGE, "2", item="mip"))
    (event,) = decide(State(), command(*both))
    assert event.prices == both


@given(st.lists(st.integers(0, 5), max_size=12))
def test_commands_may_be_repeated_at_will(numbers: list[int]) -> None:
    once = after(*(command(number=number) for number in dict.fromkeys(numbers)))
    assert after(*(command(number=number) for number in numbers)) == once


def refused(state: State, given: SetTariff, error: type[MedbusError], message: str) -> None:
    with pytest.raises(error) as caught:
        decide(state, given)
    assert re.search(re.escape(message), str(caught.value)), caught.value
    assert caught.value.advice
