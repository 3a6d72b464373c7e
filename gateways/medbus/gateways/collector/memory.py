"""What the collector remembers of a source. It may forget: the catalog says what is registered."""

from collections import OrderedDict
from typing import NamedTuple

from medbus.gateways.collector.pace import pause

MOST = 100_000
"""How many images, and how many studies and series, are remembered of each source."""

COMPLETE_SECONDS = 3600.0
"""A study or series of which all is known is looked into again after this long, whatever it counts."""


class Denial(NamedTuple):
    """An image that did not come, or was refused: how often, and when to try again; None for never."""

    times: int
    again: float | None


class Memory:
    """Of one source, under one state of its contract.

    Args:
        every_seconds: from look to look.
    """

    def __init__(self, every_seconds: float) -> None:
        self.files: set[int] = set()
        """Hashes of the sightings of files that are done with."""
        self._every = every_seconds
        self._denied: OrderedDict[str, Denial] = OrderedDict()
        self._complete: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def deny(self, name: str, now: float, *, final: bool) -> None:
        """An image or file was refused for good (`final`), or for now."""
        times = self.denied(name) + 1
        self._denied[name] = Denial(times, None if final else now + pause(self._every, times))
        _bound(self._denied)

    def denied(self, name: str) -> int:
        """How often it was refused."""
        found = self._denied.get(name)
        return 0 if found is None else found.times

    def waits(self, name: str, now: float) -> bool:
        """Whether it is not to be tried now."""
        found = self._denied.get(name)
        return found is not None and (found.again is None or now < found.again)

    def lost(self, name: str) -> bool:
        """Whether it was refused for good."""
        found = self._denied.get(name)
        return found is not None and found.again is None

    def completed(self, uid: str, count: int | None, now: float) -> None:
        """All images of a study or series are known, or refused for good; it has so many."""
        if count is not None:
            self._complete[uid] = (count, now + COMPLETE_SECONDS)
            self._complete.move_to_end(uid)
            _bound(self._complete)

    def complete(self, uid: str, count: int | None, now: float) -> bool:
        """Whether a study or series that has so many images needs no look into it."""
        known, until = self._complete.get(uid, (-1, 0.0))
        return count == known and now < until


def _bound(remembered: "OrderedDict[str, Denial] | OrderedDict[str, tuple[int, float]]") -> None:
    while len(remembered) > MOST:
        remembered.popitem(last=False)
