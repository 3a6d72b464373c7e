"""The machine, and how much of it others used while we measured."""

import os
import platform
import resource
import time

import psutil


class Watch:
    """Watches the processors from its making on."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy = _busy_seconds()

    def report(self) -> str:
        """What machine it is, and what others used; to be asked when all that was started has ended."""
        seconds = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        others = max(0.0, _busy_seconds() - self._busy - _own_seconds()) / seconds
        return (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python "
            f"{platform.python_version()}. Other programs took {others:.0%} of the processors meanwhile."
        )


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
