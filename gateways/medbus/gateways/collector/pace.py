"""When to look next. Pure."""

LONGEST = 3600.0
"""Seconds: what fails is tried again after this long at most, unless it is looked at more seldom anyway."""

_MOST_DOUBLINGS = 32


def pause(every_seconds: float, failures: int = 0) -> float:
    """Seconds to the next look.

    Args:
        every_seconds: what the contract says; at least one second.
        failures: how many looks in a row failed; from the second one on each doubles the time.
    """
    every = max(1.0, float(every_seconds))
    if failures < 2:
        return every
    return min(every * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), max(every, LONGEST))
