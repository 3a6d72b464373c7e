"""A processor that works, and one that only lives."""

import asyncio
import threading
import time

import pytest

from medbus.bus import Partition
from medbus.streams.watchdog import EXIT_BLOCKED, Progress, unblocked

P0, P1 = Partition("requests", 0), Partition("requests", 1)


def test_a_partition_without_work_may_stand_still() -> None:
    progress = Progress(limit=10)
    assert progress.observe(0, {P0: 5}, {P0: 5}) == ()
    assert progress.observe(1000, {P0: 5}, {P0: 5}) == ()


def test_a_partition_with_work_must_get_on() -> None:
    progress = Progress(limit=10)
    assert progress.observe(0, {P0: 5}, {P0: 6}) == ()
    assert progress.observe(10, {P0: 5}, {P0: 7}) == ()
    assert progress.observe(10.1, {P0: 5}, {P0: 8}) == (P0,)


def test_any_progress_will_do() -> None:
    progress = Progress(limit=10)
    for now in range(0, 100, 9):
        assert progress.observe(now, {P0: now}, {P0: 1000}) == ()


def test_work_that_comes_after_a_pause_is_given_its_time() -> None:
    progress = Progress(limit=10)
    assert progress.observe(0, {P0: 5}, {P0: 6}) == ()
    assert progress.observe(5, {P0: 6}, {P0: 6}) == ()
    assert progress.observe(100, {P0: 6}, {P0: 7}) == ()
    assert progress.observe(110, {P0: 6}, {P0: 7}) == ()
    assert progress.observe(111, {P0: 6}, {P0: 7}) == (P0,)


def test_each_partition_counts_for_itself() -> None:
    progress = Progress(limit=10)
    progress.observe(0, {P1: 1}, {P0: 3, P1: 3})
    assert progress.observe(11, {P1: 2}, {P0: 3, P1: 3}) == (P0,)


def test_a_partition_that_went_and_came_back_begins_anew() -> None:
    progress = Progress(limit=10)
    progress.observe(0, {}, {P0: 3})
    progress.observe(5, {}, {})
    assert progress.observe(11, {}, {P0: 3}) == ()


async def test_a_loop_that_is_free_is_left_alone() -> None:
    codes: list[int] = []
    with unblocked(0.3, codes.append):
        await asyncio.sleep(0.6)
    assert codes == []


async def test_a_loop_that_is_blocked_is_the_end() -> None:
    codes: list[int] = []
    with unblocked(0.2, codes.append):
        await asyncio.sleep(0.01)
        time.sleep(0.6)  # noqa: ASYNC251
    assert codes == [EXIT_BLOCKED]


async def test_nothing_is_left_behind() -> None:
    with pytest.raises(ZeroDivisionError), unblocked(0.2):
        raise ZeroDivisionError
    await asyncio.sleep(0.1)
    assert [thread.name for thread in threading.enumerate() if thread.name == "watchdog"] == []
