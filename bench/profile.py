"""Where the time of the ingest goes: CPU of each process, and what gateway and projector do."""

import re
from collections import Counter
from collections.abc import Callable, Mapping

from bench import blast, sampler, service
from bench.association import Association
from bench.process import cpu_seconds
from bench.sampler import Samples, Stack
from bench.service import Service
from bench.stage import Stage
from medbus.compose.service import DICOM, PROJECTOR

SAMPLED = (DICOM, PROJECTOR)
WARM_UP = 50
ALWAYS = 0.98
"""A function that is on a thread's stack for so much of the time tells nothing."""

ROWS = 10
LEAST_MS = 0.05


def ingest(stage: Stage) -> str:
    """Send studies over one association to a service that samples itself; returns the report."""
    folder = stage.new_folder("samples")
    stage.say("starting medbus with samplers in it")
    counts: dict[str, Counter[tuple[str, Stack]]] = {name: Counter() for name in SAMPLED}
    looks: Counter[str] = Counter()
    cpu: Counter[str] = Counter()
    images = 0
    seconds = 0.0
    # One process does all the work that is looked at.
    environment = {**sampler.environment(folder, *SAMPLED), "MEDBUS_DICOM_WORKERS": "1"}
    with Service(stage.new_folder("medbus"), stage.destinations, environment) as running:
        blast.blast(running.port, service.AE_TITLE, stage.study()[:WARM_UP])
        for _ in range(stage.repetitions):
            slices = stage.study()
            stage.say(f"sending {len(slices)} images")
            with Association(
                running.port, service.AE_TITLE, blast.CALLING, blast.storage(slices)
            ) as association:
                messages = blast.encoded(slices, [each.data_set() for each in slices], association.limit)
                cpu.subtract(_cpu(running))
                for name in SAMPLED:
                    sampler.start(folder / name)
                stored = blast.send(association, slices, messages)
                for name in SAMPLED:
                    samples = sampler.collect(folder / name)
                    counts[name].update(samples.counts)
                    looks[name] += samples.looks
                cpu.update(_cpu(running))
            images += len(slices)
            seconds += stored[-1].answered - stored[0].sent
        running.verify()
    found = {name: Samples(counts[name], looks[name]) for name in SAMPLED}
    return report(found, cpu, images=images, seconds=seconds)


def _cpu(running: Service) -> dict[str, float]:
    # The supervisor's would be that of all.
    return {name: cpu_seconds(pid) for name, pid in running.pids.items() if name != service.SUPERVISOR}


def report(samples: Mapping[str, Samples], cpu: Mapping[str, float], *, images: int, seconds: float) -> str:
    """The profile as text.

    Args:
        samples: of each process that was sampled, taken while the images were sent.
        cpu: of each process, in seconds.
        images: how many were sent, one after the other.
        seconds: from the first byte of the first to the response to the last.
    """
    image = seconds / images * 1e3
    lines = [
        f"{images} images of 512 KiB over one association: {image:.2f} ms an image, with the samplers.",
        "All times are ms an image. Those of threads and tasks are wall time: they count waiting as well.",
        "What is always the same, as the first function of a thread, is left out.",
        "",
        "CPU of each process",
        *_rows({name: each / images * 1e3 for name, each in cpu.items()}),
    ]
    for process, each in samples.items():
        for thread in sorted({_kind(name) for name, _ in each.counts}):
            lines += _thread(f"{process}, {thread}", thread, each, image)
    return "\n".join(lines) + "\n"


def _thread(title: str, thread: str, samples: Samples, image: float) -> list[str]:
    stacks: Counter[Stack] = Counter()
    for (name, stack), count in samples.counts.items():
        if _kind(name) == thread:
            stacks[stack] += count
    ours, innermost = (
        {
            function: count / samples.looks * image
            for function, count in _sum(stacks, of).items()
            if count < ALWAYS * samples.looks
        }
        for of in (_ours, _innermost)
    )
    rows = _rows(ours)
    if not rows:
        return []
    return [
        "",
        f"{title}: in our functions, with what they call",
        *rows,
        f"{title}: in which function at last",
        *_rows(innermost),
    ]


def _kind(thread: str) -> str:
    """A thread's name without what tells it from others of its kind."""
    inside = re.search(r"\((.+)\)", thread)
    return inside[1] if inside else re.sub(r"[@_-]\d+$", "", thread)


def _ours(stack: Stack) -> set[str]:
    return {function for function in stack if function.startswith("medbus/")}


def _innermost(stack: Stack) -> set[str]:
    return set(stack[-1:])


def _sum(stacks: Mapping[Stack, int], of: Callable[[Stack], set[str]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for stack, count in stacks.items():
        for function in of(stack):
            sums[function] += count
    return sums


def _rows(values: Mapping[str, float]) -> list[str]:
    ranked = sorted(values.items(), key=lambda each: (-each[1], each[0]))[:ROWS]
    return [f"{ms:9.2f}  {name}" for name, ms in ranked if ms >= LEAST_MS]
