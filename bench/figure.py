"""What is measured: figures, their result lines, and the table."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Target(NamedTuple):
    """What a figure has to reach: at most, or at least, this."""

    bound: float
    at_most: bool

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {number(self.bound)}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A quantity that was measured once or several times, here and at a peer.

    Attributes:
        name: words from the general to the special, separated by slashes.
        unit: of the values.
        values: ours, one for each repetition.
        peer: who else did the same; None if nobody did.
        peer_values: the peer's, one for each repetition.
        target: what ours has to reach.
    """

    name: str
    unit: str
    values: Sequence[float]
    peer: str | None = None
    peer_values: Sequence[float] = ()
    target: Target | None = None

    @property
    def value(self) -> float:
        """The median of ours."""
        return statistics.median(self.values)

    @property
    def peer_value(self) -> float | None:
        """The median of the peer's."""
        return statistics.median(self.peer_values) if self.peer_values else None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's: above 1 is better for a rate, below 1 for a time or a size."""
        return self.value / self.peer_value if self.peer_value else None

    def line(self) -> str:
        """The figure as one line of JSON; what concerns the peer is null where there is none."""
        there = self.peer_value is not None
        return json.dumps(
            {
                "name": self.name,
                "value": significant(self.value),
                "unit": self.unit,
                "peer": self.peer if there else None,
                "peer_value": None if self.peer_value is None else significant(self.peer_value),
                "ratio": None if self.ratio is None else significant(self.ratio),
            }
        )


class Results:
    """Gathers figures; each is in the file as soon as it is known.

    Args:
        path: of the file, one JSON object per line; what was in it is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: list[Figure] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def add(self, figures: Iterable[Figure]) -> None:
        for figure in figures:
            self.figures.append(figure)
            with self.path.open("a") as file:
                file.write(figure.line() + "\n")

    def table(self, console: Console) -> None:
        """Print all figures: median, least and greatest of ours and of the peer's."""
        table = Table(title="Median (least to greatest)", title_justify="left")
        table.add_column("figure", no_wrap=True)
        for column in ("medbus", "peer", "ratio"):
            table.add_column(column, justify="right", no_wrap=True)
        for column in ("unit", "target", "who is the peer"):
            table.add_column(column, no_wrap=True)
        for figure in self.figures:
            target = figure.target
            missed = target is not None and not target.reached(figure.value)
            table.add_row(
                figure.name,
                spread(figure.values),
                spread(figure.peer_values),
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
                figure.unit,
                "" if target is None else f"{target}{' missed' if missed else ''}",
                figure.peer if figure.peer_values else "",
                style="red" if missed else None,
            )
        console.print(table)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed (nearest rank).

    Args:
        values: one or more.
        share: above 0, up to 1.
    """
    ranked = sorted(values)
    rank = -int(-(share * len(ranked)) // 1)  # rounded up
    return ranked[max(rank, 1) - 1]


def percentiles(
    name: str,
    runs: Sequence[Sequence[float]],
    *,
    peer: str | None = None,
    peer_runs: Sequence[Sequence[float]] = (),
    p50_target: float | None = None,
    p99_target: float | None = None,
) -> list[Figure]:
    """Figures of the median and the 99th percentile of each run, in ms; the times are in seconds."""

    def of(runs: Sequence[Sequence[float]], share: float) -> list[float]:
        return [percentile(run, share) * 1e3 for run in runs]

    return [
        Figure(
            name=f"{name}/{rank}",
            unit="ms",
            values=of(runs, share),
            peer=peer,
            peer_values=of(peer_runs, share),
            target=None if bound is None else Target(bound, at_most=True),
        )
        for rank, share, bound in (("p50", 0.5, p50_target), ("p99", 0.99, p99_target))
    ]


def at_least(factor: float, peer_values: Sequence[float]) -> Target | None:
    """So many times the median of the peer's; no target where there is no peer."""
    return Target(factor * statistics.median(peer_values), at_most=False) if peer_values else None


def significant(value: float, digits: int = 4) -> float:
    """The value rounded to that many significant digits; integers are never shortened."""
    rounded = float(f"{value:.{digits}g}")
    return rounded if abs(value) < 10**digits else float(round(value))


def number(value: float) -> str:
    """A value for people: 12,345  123  12.3  1.23  1."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float], show: Callable[[float], str] = number) -> str:
    """Median, least and greatest of the values; empty if there are none."""
    if not values:
        return ""
    middle = show(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))} to {show(max(values))})"
