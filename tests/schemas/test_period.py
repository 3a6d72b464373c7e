"""Periods of the calendar, in UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.schemas import period
from medbus.schemas.period import InvalidPeriod

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "start", "length"),
    [
        ("2026-10", datetime(2026, 10, 1, tzinfo=UTC), 31 * DAY),
        ("2026-02", datetime(2026, 2, 1, tzinfo=UTC), 28 * DAY),
        ("2024-02", datetime(2024, 2, 1, tzinfo=UTC), 29 * DAY),
        ("2026-12", datetime(2026, 12, 1, tzinfo=UTC), 31 * DAY),
        ("2028", datetime(2028, 1, 1, tzinfo=UTC), 366 * DAY),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC), DAY),
        ("2026-10-31T23", datetime(2026, 10, 31, 23, tzinfo=UTC), timedelta(hours=1)),
        ("2026-10-31T23:59", datetime(2026, 10, 31, 23, 59, tzinfo=UTC), timedelta(minutes=1)),
    ],
)
def test_a_name_says_when(name: str, start: datetime, length: timedelta) -> None:
    found = period.named(name)
    assert (found.name, found.start, found.end - found.start) == (name, start, length)


@pytest.mark.parametrize(
    "name",
    ["", "october", "2026-13", "2026-00", "2026-2-1", "2025-02-29", "2026-10-31T24", "0000", "9999", "26-10"],
)
def test_what_is_no_period_is_refused(name: str) -> None:
    with pytest.raises(InvalidPeriod) as caught:
        period.named(name)
    assert "2026-10" in caught.value.advice


@given(
    st.integers(0, 900 * 365 * 86_400).map(lambda seconds: EPOCH + timedelta(seconds=seconds)),
    st.sampled_from(period.UNITS),
)
def test_periods_of_a_length_follow_each_other(at: datetime, unit: str) -> None:
    found = period.containing(at, unit)
    assert found.start <= at < found.end
    assert period.unit(found) == unit
    assert period.named(found.name) == found
    assert period.before(found).end == found.start


def test_an_instant_of_another_zone_is_in_the_period_of_utc() -> None:
    zone = datetime.fromisoformat("2026-11-01T00:30+01:00")
    assert period.containing(zone, "month").name == "2026-10"
