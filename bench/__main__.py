"""Measure: `python -m bench` from the root of the repository, or `make bench`."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import profile
from bench.billing import billing
from bench.decision import decision
from bench.endurance import endurance, sustained
from bench.figure import Figure, Results
from bench.footprint import footprint
from bench.ingest import client_limit, ingest, many_associations
from bench.log import log
from bench.machine import Watch
from bench.processing import processing
from bench.processing_service import processing_service
from bench.retrieval import find, retrieval
from bench.stage import FULL, QUICK, Size, Stage
from bench.visibility import visibility
from medbus.schemas.errors import MedbusError

RESULTS = Path(__file__).parent / "results"

MEASUREMENTS: Mapping[str, Callable[[Stage], Iterator[Figure]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        log,
        client_limit,
        decision,
        billing,
        processing,
        processing_service,
        ingest,
        retrieval,
        find,
        visibility,
        footprint,
        many_associations,
        sustained,
        endurance,
    )
}

TABLE_WIDTH = 160
"""Columns that the table needs; a narrower terminal breaks its lines."""

console = Console(highlight=False)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures medbus beside its peers on this machine: one JSON line per figure in "
        "bench/results/latest.jsonl, and a table. Peers that are not installed leave their fields null.",
        epilog="Examples: python -m bench --quick; python -m bench --only ingest visibility; "
        "python -m bench profile",
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=["figures", "profile"],
        default="figures",
        help="figures (the default), or a profile of where the time of the ingest goes",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=list(MEASUREMENTS), help="measure these, see --list"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of everything that is compared (3)")
    parser.add_argument("--quick", action="store_true", help="fewer images and events: under two minutes")
    parser.add_argument(
        "--images", type=int, metavar="N", help="small images before the rate is looked at again"
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="how long memory is watched")
    parser.add_argument("--list", action="store_true", help="say what can be measured")
    return parser.parse_args()


def main() -> int:
    """Entry point; returns the exit code."""
    given = arguments()
    if given.list:
        for name, measurement in MEASUREMENTS.items():
            console.print(f"{name:14} {measurement.__doc__}", soft_wrap=True)
        return 0
    # A request to end is handled as Ctrl-C is: everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - start:6.1f} s  {text}", style="dim", soft_wrap=True)

    watch = Watch()
    try:
        with Stage(size(given), max(1, given.repetitions), say) as stage:
            code = (
                write_profile(stage)
                if given.what == "profile"
                else measure(stage, given.only or list(MEASUREMENTS))
            )
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    except MedbusError as error:
        console.print(f"Error: {error}", style="bold red", markup=False)
        return 1
    console.print(watch.report(), soft_wrap=True)
    return code


def size(given: argparse.Namespace) -> Size:
    """How much is measured."""
    chosen = QUICK if given.quick else FULL
    if given.images is not None:
        chosen = replace(chosen, fill=max(0, given.images))
    return chosen if given.seconds is None else replace(chosen, seconds=max(1.0, given.seconds))


def write_profile(stage: Stage) -> int:
    """Profile the ingest."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "ingest-profile.txt"
    file.write_text(profile.ingest(stage))
    console.print(file.read_text(), soft_wrap=True, markup=False)
    console.print(f"This is in {file}.")
    return 0


def measure(stage: Stage, names: list[str]) -> int:
    """Measure what is named; one that fails does not keep the others from being measured."""
    results = Results(RESULTS / "latest.jsonl")
    failed = []
    for name in names:
        try:
            results.add(MEASUREMENTS[name](stage))
        except Exception as error:  # whatever it was, the rest can still be measured
            failed.append(name)
            what = str(error) if isinstance(error, MedbusError) else repr(error)
            console.print(f"{name} failed: {what}", style="bold red", markup=False)
    results.table(Console(width=max(TABLE_WIDTH, console.width)))
    console.print(f"{len(results.figures)} figures are in {results.path}.")
    if failed:
        console.print(f"Not measured: {', '.join(failed)}.", style="bold red")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
