"""Money: whole minor units, rounded once, never a binary fraction."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.schemas import money
from medbus.schemas.events import Money
from medbus.schemas.money import InvalidMoney


@pytest.mark.parametrize(
    ("currency", "decimals"), [("EUR", 2), ("JPY", 0), ("BHD", 3), ("CLF", 4), ("CHF", 2), ("KRW", 0)]
)
def test_currencies_have_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert money.decimals(currency) == decimals
    assert money.policy(currency) == f"half-up-{decimals}"


@pytest.mark.parametrize("text", ["", "EURO", "eur", "XXQ", "XAU", "€"])
def test_what_nobody_pays_with_is_no_currency(text: str) -> None:
    with pytest.raises(InvalidMoney, match="is no currency") as caught:
        money.decimals(text)
    assert "ISO 4217" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.05", "0.05"),
        ("007.1000", "7.1"),
        ("12", "12"),
        ("0.000", "0"),
        (" 3.50 ", "3.5"),
        ("1000", "1000"),
    ],
)
def test_a_price_has_one_form(text: str, shown: str) -> None:
    assert money.price(text) == shown


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "1,50", "NaN", "0x10", ".5", "1.", "٣", "0." + "0" * 12 + "1"]
)
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(InvalidMoney) as caught:
        money.price(text)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.5", "EUR", 1250),
        ("-3", "JPY", -3),
        ("0.001", "BHD", 1),
        ("+7.10", "USD", 710),
        ("1.000", "JPY", 1),
    ],
)
def test_an_amount_is_in_whole_minor_units(text: str, currency: str, minor: int) -> None:
    assert money.amount(text, currency) == Money(minor_units=minor, currency=currency)


@pytest.mark.parametrize(
    ("text", "currency"), [("0.001", "EUR"), ("0.5", "JPY"), ("ten", "EUR"), ("1", "XXX")]
)
def test_what_can_not_be_paid_is_no_amount(text: str, currency: str) -> None:
    with pytest.raises(InvalidMoney):
        money.amount(text, currency)


@pytest.mark.parametrize(
    ("quantity", "price", "per", "policy", "minor"),
    [
        (3, "0.05", 1, "half-up-2", 15),
        # 0.745 exactly, which no binary fraction is: half a cent goes up.
        (149, "0.005", 1, "half-up-2", 75),
        (1, "0.004999", 1, "half-up-2", 0),
        (1, "0.5", 1, "half-up-0", 1),
        (1, "0.0005", 1, "half-up-3", 1),
        # 37.4 MB at 0.02 by MB: 0.748.
        (37_400_000, "0.02", 1_000_000, "half-up-2", 75),
        (1, "1", 3, "half-up-2", 33),
        (2, "1", 3, "half-up-2", 67),
        (-1, "0.005", 1, "half-up-2", -1),
        (0, "9.99", 1, "half-up-2", 0),
    ],
)
def test_amounts_are_rounded_half_up(quantity: int, price: str, per: int, policy: str, minor: int) -> None:
    assert money.rounded(quantity, price, per, policy, "EUR") == Money(minor_units=minor, currency="EUR")


@given(
    quantity=st.integers(0, 10**15),
    price=st.decimals(0, 1000, places=6).map(lambda each: money.price(f"{each:f}")),
    per=st.sampled_from([1, 3, 60, 1000, 10**9, 2_678_400_000]),
    decimals=st.integers(0, 4),
)
def test_rounding_is_that_of_decimal_arithmetic(quantity: int, price: str, per: int, decimals: int) -> None:
    try:
        found = money.rounded(quantity, price, per, f"half-up-{decimals}", "EUR")
    except InvalidMoney:
        assert quantity * Decimal(price) / per * 10**decimals > 2**62
        return
    with localcontext() as context:
        context.prec = 60
        exact = (Decimal(quantity) * Decimal(price) / per).quantize(
            Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP
        )
        assert found.minor_units == exact.scaleb(decimals)


def test_a_policy_of_the_future_is_not_guessed() -> None:
    with pytest.raises(InvalidMoney, match="no way to round"):
        money.rounded(1, "1", 1, "half-even-2", "EUR")


def test_what_is_beyond_all_measure_is_refused() -> None:
    with pytest.raises(InvalidMoney, match="beyond all measure"):
        money.rounded(10**18, "999999", 1, "half-up-2", "EUR")


def test_amounts_are_shown_with_all_their_decimals() -> None:
    assert money.text_of(Money(minor_units=1250, currency="EUR")) == "12.50 EUR"
    assert money.text_of(Money(minor_units=-5, currency="EUR")) == "-0.05 EUR"
    assert money.text_of(Money(minor_units=7, currency="JPY")) == "7 JPY"
    assert money.text_of(Money(minor_units=1, currency="BHD")) == "0.001 BHD"


def test_currencies_are_not_added_to_each_other() -> None:
    euro, yen = Money(minor_units=1, currency="EUR"), Money(minor_units=2, currency="JPY")
    assert money.total([euro, euro], "EUR") == Money(minor_units=2, currency="EUR")
    with pytest.raises(InvalidMoney, match="can't be added"):
        money.total([euro, yen], "EUR")
