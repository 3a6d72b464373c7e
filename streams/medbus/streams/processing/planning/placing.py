"""In which slots work items are put, so that servers share them by partition and load. Pure."""

from collections.abc import Mapping
from heapq import heapify, heapreplace
from math import gcd

GOLDEN = 0.618
"""Steps of this share of a circle leave no large gap on it, however many they are."""


class Slots:
    """Slots, and how much waits in each.

    Whichever has least comes next. Of those that have the same, neighbours do not follow one another: a
    server has neighbouring partitions, or every second one, and each server is to have some.

    Args:
        load: items that wait, by slot modulo the number of slots.
        count: how many slots there are.
        begin: the slot that comes first of those with the same load.
    """

    def __init__(self, load: Mapping[int, int], count: int, begin: int = 0) -> None:
        waiting = [0] * count
        for slot, items in load.items():
            waiting[slot % count] += items
        step = _step(count)
        turn = [(begin + step * number) % count for number in range(count)]
        self._heap = [(waiting[slot], number, slot) for number, slot in enumerate(turn)]
        heapify(self._heap)

    def take(self) -> int:
        """The slot for the next item."""
        waiting, number, slot = self._heap[0]
        heapreplace(self._heap, (waiting + 1, number, slot))
        return slot


def _step(count: int) -> int:
    """About `GOLDEN` of the slots; all of them are visited before one is visited again."""
    step = max(1, round(count * GOLDEN))
    while gcd(step, count) > 1:
        step -= 1
    return step
