"""How long to wait, and what is remembered of a source."""

from hypothesis import given
from hypothesis import strategies as st

from medbus.gateways.collector import memory as remembered
from medbus.gateways.collector.memory import COMPLETE_SECONDS, Memory
from medbus.gateways.collector.pace import LONGEST, pause


def test_a_source_that_fails_is_asked_more_and_more_seldom() -> None:
    assert [pause(60, failures) for failures in range(9)] == [60, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert pause(0) == 1
    assert pause(86_400, 5) == 86_400


@given(every=st.integers(-5, 10**6), failures=st.integers(0, 10**6))
def test_the_pause_is_never_shorter_than_the_contract_says(every: int, failures: int) -> None:
    assert max(1, every) <= pause(every, failures) <= max(every, LONGEST)
    assert pause(every, failures) <= pause(every, failures + 1)


def test_what_failed_is_tried_again_later_and_what_was_refused_never() -> None:
    memory = Memory(60)
    assert not memory.waits("1.2", 0)
    memory.deny("1.2", 0, final=False)
    assert memory.waits("1.2", 59)
    assert not memory.waits("1.2", 60)
    memory.deny("1.2", 60, final=False)
    assert memory.waits("1.2", 60 + 119)
    assert not memory.lost("1.2")
    memory.deny("1.2", 200, final=True)
    assert memory.waits("1.2", 1e12)
    assert memory.lost("1.2")


def test_a_study_is_complete_while_it_counts_the_same() -> None:
    memory = Memory(60)
    memory.completed("1.2", 5, 0)
    assert memory.complete("1.2", 5, 1)
    assert not memory.complete("1.2", 6, 1)
    assert not memory.complete("1.2", 5, COMPLETE_SECONDS)
    memory.completed("1.3", None, 0)
    assert not memory.complete("1.3", None, 1), "a source that does not count is always looked into"


def test_it_is_bounded() -> None:
    memory = Memory(60)
    for number in range(remembered.MOST + 10):
        memory.deny(str(number), 0, final=True)
    assert not memory.lost("9")
    assert memory.lost(str(remembered.MOST))
