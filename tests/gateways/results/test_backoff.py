"""Delays before something is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from medbus.gateways.results.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(1.0, 10.0, dice=lambda: 0.0)
    assert [backoff.delay() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.delay() == 1


def test_the_dice_shorten_a_delay_by_half_at_most() -> None:
    backoff = Backoff(1.0, 10.0, dice=lambda: 1.0)
    assert [backoff.delay() for _ in range(5)] == [0.5, 1, 2, 4, 5]


@given(st.floats(0.001, 10), st.floats(1, 1000), st.lists(st.floats(0, 1, exclude_max=True), min_size=1))
def test_no_delay_is_nothing_or_longer_than_the_longest(
    first: float, factor: float, thrown: list[float]
) -> None:
    dice = iter(thrown)
    backoff = Backoff(first, first * factor, dice=lambda: next(dice))
    delays = [backoff.delay() for _ in thrown]
    assert all(first / 2 <= delay <= first * factor for delay in delays)
