"""Many images: whether the service stays as fast as it was, and as small."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from bench import service
from bench.blast import blast
from bench.figure import Figure, Target, at_least
from bench.fill import Filled, fill
from bench.ingest import ASSOCIATIONS
from bench.process import resident_megabytes
from bench.stage import Stage
from medbus.compose.service import KAFKA

SHARE = 0.95
"""Of the first rate; the rest is noise."""

FIFTHS = 5
GROWTH_SHARE, GROWTH_MEGABYTES = 0.05, 8.0
"""How much more memory a process may have in the last fifth than in the second is noise as well."""

LEAST_SECONDS = 60.0
"""A shorter run says nothing about growth: it is all warm-up."""


def sustained(stage: Stage) -> Iterator[Figure]:
    """The rate of C-STORE after many images beside the rate before them (--images N)."""
    before = _rates(stage, "before")
    count = stage.size.fill
    stage.say(f"storing {count:,} small images")
    told = 0.0

    def watch(now: Filled) -> None:
        nonlocal told
        if now.seconds > told + 30:
            told = now.seconds
            stage.say(f"{now.images:,} of {count:,}")

    fill((stage.service.port, service.AE_TITLE), stage.small, count, watch=watch)
    after = _rates(stage, "after")
    for associations in ASSOCIATIONS:
        yield Figure(
            name=f"sustained/{associations}/after-{count}/images",
            unit="images/s",
            values=after[associations],
            peer="medbus before them",
            peer_values=before[associations],
            target=at_least(SHARE, before[associations]),
        )
    stage.service.verify()


def endurance(stage: Stage) -> Iterator[Figure]:
    """Many small images at full speed for a time (--seconds N), and the memory of each process meanwhile."""
    size = stage.size
    stage.say(f"storing small images for {size.seconds:.0f} s, {size.endurance:,} at most")
    progress: list[Filled] = []
    memory: dict[str, list[float]] = defaultdict(list)
    pids = stage.service.pids
    told = 0.0

    def watch(now: Filled) -> None:
        nonlocal told
        progress.append(now)
        for name, pid in pids.items():
            memory[name].append(resident_megabytes(pid)[0])
        if now.seconds > told + 60:
            told = now.seconds
            stage.say(f"{now.images:,} images, {sum(each[-1] for each in memory.values()):.0f} MB in all")

    server = (stage.service.port, service.AE_TITLE)
    done = fill(server, stage.small, size.endurance, seconds=size.seconds, watch=watch)
    stage.service.verify()
    yield Figure(name="endurance/images", unit="images", values=[done.images])
    rates = _by_fifths(
        [(now.images - then.images) / (now.seconds - then.seconds) for then, now in pairwise(progress)]
    )
    first = "medbus in the second fifth"
    long = done.seconds >= LEAST_SECONDS
    yield Figure(
        name="endurance/rate",
        unit="images/s",
        values=[rates[-1]],
        peer=first,
        peer_values=[rates[1]],
        target=at_least(SHARE, [rates[1]]) if long else None,
    )
    for name, values in memory.items():
        fifths = _by_fifths(values)
        bound = fifths[1] * (1 + GROWTH_SHARE) + GROWTH_MEGABYTES
        yield Figure(
            name=f"endurance/memory/{name}",
            unit="MB",
            values=[fifths[-1]],
            peer=first,
            peer_values=[fifths[1]],
            # The broker's Java machine takes what it is allowed to before it tidies up.
            target=Target(bound, at_most=True) if long and name != KAFKA else None,
        )


def _rates(stage: Stage, when: str) -> dict[int, list[float]]:
    rates: dict[int, list[float]] = defaultdict(list)
    # The first is not counted: it warms up.
    for repetition in range(stage.repetitions + 1):
        for associations in ASSOCIATIONS:
            stage.say(f"{associations} associations, {when} ({repetition} of {stage.repetitions})")
            os.sync()
            run = blast(stage.service.port, service.AE_TITLE, stage.study(), associations)
            if repetition > 0:
                rates[associations].append(run.images_per_second)
    return rates


def _by_fifths(values: list[float]) -> list[float]:
    """The median of each fifth of the values."""
    length = len(values)
    parts = [values[length * each // FIFTHS : length * (each + 1) // FIFTHS] for each in range(FIFTHS)]
    return [statistics.median(part or values) for part in parts]
