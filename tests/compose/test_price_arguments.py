"""Prices as people write them: in arguments and in TOML."""

from datetime import UTC, datetime

import pytest

from medbus.compose.cli import price
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import FeeKind, Price
from medbus.streams.tariffs.kinds import COUNTING


@pytest.mark.parametrize(
    ("text", "kind", "item", "number", "per"),
    [
        ("delivery=0.05", FeeKind.DELIVERY, "", "0.05", 1),
        ("subscription=100", FeeKind.SUBSCRIPTION, "", "100", 1),
        ("Management-Prorated = 30.00", FeeKind.MANAGEMENT_PRORATED, "", "30", 1),
        ("registration-in-use=0.002/GB", FeeKind.REGISTRATION_IN_USE, "", "0.002", 10**9),
        ("registration_in_use=0.002/GB-day", FeeKind.REGISTRATION_IN_USE, "", "0.002", 10**9),
        ("registration_allocated=1.5/TB", FeeKind.REGISTRATION_ALLOCATED, "", "1.5", 10**12),
        ("registration_allocated=0.10/100 GiB", FeeKind.REGISTRATION_ALLOCATED, "", "0.1", 100 * 2**30),
        ("processing_byte=0.02/MB", FeeKind.PROCESSING_BYTE, "", "0.02", 10**6),
        ("processing_byte=0.02/0.5kB", FeeKind.PROCESSING_BYTE, "", "0.02", 500),
        ("processing_byte=0.02/1000000", FeeKind.PROCESSING_BYTE, "", "0.02", 10**6),
        ("processing_second=0.10/60", FeeKind.PROCESSING_SECOND, "", "0.1", 60),
        ("processing_second=0.10/min", FeeKind.PROCESSING_SECOND, "", "0.1", 60),
        ("PROCESSING_SECOND=9/2h", FeeKind.PROCESSING_SECOND, "", "9", 7200),
        ("PROCESSING_IMAGE:denoise=0.02", FeeKind.PROCESSING_IMAGE, "denoise", "0.02", 1),
        ("software_run:a=b:c=0.5", FeeKind.SOFTWARE_RUN, "a=b:c", "0.5", 1),
        ("connection=0", FeeKind.CONNECTION, "", "0", 1),
    ],
)
def test_an_argument_is_read(text: str, kind: FeeKind, item: str, number: str, per: int) -> None:
    assert price.price(text) == Price(kind=kind, item=item, price=number, per=per)


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("delivery", "'delivery' is no price of anything", "delivery=0.05"),
        ("postage=1", "no kind of fee 'postage'", "delivery"),
        ("unspecified=1", "no kind of fee", "delivery"),
        ("=1", "no kind of fee ''", "delivery"),
        ("delivery=", "'' is no price", "0.05"),
        ("delivery=-1", "'-1' is no price", "0.05"),
        ("delivery=0,05", "'0,05' is no price", "0.05"),
        ("delivery=1e-2", "'1e-2' is no price", "0.05"),
        ("delivery=NaN", "'NaN' is no price", "0.05"),
        ("delivery=0.0000000000001", "more than 12 decimals", "more units"),
        ("delivery=0.05/", "'' is no number of images", "1000"),
        ("delivery=0.05/GB", "'GB' is no number of images", "1000"),
        ("registration_in_use=0.002/0", "'0' is no number of byte-days", "GB"),
        ("registration_in_use=0.002/-1", "'-1' is no number of byte-days", "GB"),
        ("processing_byte=1/0.0001kB", "no number of bytes", "MB"),
        ("processing_second=0.10/MB", "'MB' is no number of seconds", "min"),
        ("processing_second=0.10/60/60", "no number of seconds", "min"),
    ],
)
def test_what_can_not_be_read_is_told_with_what_to_write(text: str, said: str, advice: str) -> None:
    with pytest.raises(MedbusError) as caught:
        price.price(text)

    assert said in caught.value.message
    assert advice in caught.value.advice


def test_every_kind_can_be_written_as_it_is_shown() -> None:
    for kind in COUNTING:
        what, _ = price.text_of(Price(kind=kind, price="1", per=1))
        assert price.price(f"{what}=1").kind is kind


@pytest.mark.parametrize(
    ("number", "per", "unit", "shown"),
    [
        ("0.05", 1, "image", "0.05 per image"),
        ("1", 1000, "image", "1 per 1000 images"),
        ("0.002", 10**9, "byte-day", "0.002 per GB-day"),
        ("0.002", 5 * 10**12, "byte-day", "0.002 per 5 TB-day"),
        ("0.02", 10**6, "byte", "0.02 per MB"),
        ("0.02", 2**20, "byte", "0.02 per 1048576 bytes"),
        ("0.1", 60_000, "millisecond", "0.1 per 60 seconds"),
        ("30", 30 * 86_400_000, "millisecond", "30 per 30 days"),
        ("30", 86_400_001, "millisecond", "30 per 86400001 milliseconds"),
    ],
)
def test_a_unit_price_is_shown_as_people_say_it(number: str, per: int, unit: str, shown: str) -> None:
    assert price.unit_price(number, per, unit) == shown


def test_a_file_is_read() -> None:
    found = price.read(
        """
        currency = "EUR"
        from = 2027-01-01
        [prices]
        subscription = "100"
        registration_in_use = "0.002/GB"
        "processing_image:denoise" = "0.02"
        """
    )

    assert found == price.PriceFile(
        currency="EUR",
        valid_from=datetime(2027, 1, 1, tzinfo=UTC),
        prices=(
            Price(kind=FeeKind.SUBSCRIPTION, price="100", per=1),
            Price(kind=FeeKind.REGISTRATION_IN_USE, price="0.002", per=10**9),
            Price(kind=FeeKind.PROCESSING_IMAGE, item="denoise", price="0.02", per=1),
        ),
    )


@pytest.mark.parametrize(
    "written", ['"2027-01-01"', "2027-01-01", "2027-01-01T00:00:00", "2027-01-01T02:00:00+02:00"]
)
def test_a_time_may_be_written_in_all_ways_of_toml(written: str) -> None:
    assert price.read(f"from = {written}").valid_from == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("[prices]\ndelivery = 0.05", "binary fraction", '"delivery" = "0.05"'),
        ("[prices]\ndelivery = 5", "price of delivery is no text", "quotes"),
        ("[prices]\ndelivery = ['0.05']", "price of delivery is no text", "quotes"),
        ("[prices]\npostage = '1'", "no kind of fee 'postage'", "delivery"),
        ("prices = '1'", "are a table", "[prices]"),
        ("currency = 978", "currency 978 is no text", '"EUR"'),
        ("from = 7", "7 is no time", "2027-01-01"),
        ("valid = 1", "has no 'valid'", "currency, from"),
        ("delivery = ", "can't be read", "Correct"),
        ("[prices]\ndelivery = '1'\ndelivery = '2'", "can't be read", "Correct"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text: str, said: str, advice: str) -> None:
    with pytest.raises(MedbusError) as caught:
        price.read(text)

    assert said in caught.value.message
    assert advice in caught.value.advice
