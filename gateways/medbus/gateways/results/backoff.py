"""How long to wait before something is tried again. Pure, but for the dice."""

import random
from collections.abc import Callable


class Backoff:
    """Delays that double, each shortened at random so that those who failed together do not return together.

    Args:
        first: seconds, the first delay at most.
        longest: seconds, any delay at most.
        dice: gives numbers from 0 to 1.
    """

    def __init__(self, first: float, longest: float, *, dice: Callable[[], float] = random.random) -> None:
        self._first = first
        self._longest = longest
        self._dice = dice
        self._next = first

    def delay(self) -> float:
        """The next delay: between half of what it is at most and all of it."""
        whole = self._next
        self._next = min(2 * whole, self._longest)
        return whole * (1 - self._dice() / 2)

    def reset(self) -> None:
        """Begin with the first again: it went well."""
        self._next = self._first
