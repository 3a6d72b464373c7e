"""Where the time of the ingest goes: CPU of each process, and what the gateway's threads do."""

import re
from collections import Counter
from collections.abc import Callable, Mapping

from bench import blast, sampler, service
from bench.association import Association
from bench.process import cpu_seconds
from bench.sampler import Samples, Stack
from bench.service import Service
from bench.stage import Stage
from medbus.compose.service import DICOM

ALWAYS = 0.98
"""A function that is on a thread's stack for so much of the time tells nothing."""

ROWS = 16
LEAST_MS = 0.02


def ingest(stage: Stage) -> str:
    """Send studies over one association to a service whose gateway samples itself; returns the report."""
    folder = stage.new_folder("samples")
    environment = sampler.environment(folder, DICOM)
    stage.say("starting medbus with a sampler in its gateway")
    counts: Counter[tuple[str, Stack]] = Counter()
    cpu: Counter[str] = Counter()
    looks = images = 0
    seconds = 0.0
    with Service(stage.new_folder("medbus"), stage.destinations, environment) as running:
        blast.blast(running.port, service.AE_TITLE, stage.study()[:50])
        for _ in range(stage.repetitions):
            slices = stage.study()
            stage.say(f"sending {len(slices)} images")
            with Association(
                running.port, service.AE_TITLE, blast.CALLING, blast.storage(slices)
            ) as association:
                messages = blast.encoded(slices, [each.data_set() for each in slices], association.limit)
                cpu.subtract(_cpu(running))
                sampler.start(folder)
                stored = blast.send(association, slices, messages)
                samples = sampler.collect(folder)
                cpu.update(_cpu(running))
            counts.update(samples.counts)
            looks += samples.looks
            images += len(slices)
            seconds += stored[-1].answered - stored[0].sent
        running.verify()
    return report(Samples(counts, looks), cpu, images=images, seconds=seconds)


def _cpu(running: Service) -> dict[str, float]:
    # The supervisor's would be that of all.
    return {name: cpu_seconds(pid) for name, pid in running.pids.items() if name != service.SUPERVISOR}


def report(samples: Samples, cpu: Mapping[str, float], *, images: int, seconds: float) -> str:
    """The profile as text.

    Args:
        samples: of the gateway, taken while the images were sent.
        cpu: of each process, in seconds.
        images: how many were sent, one after the other.
        seconds: from the first byte of the first to the response to the last.
    """
    image = seconds / images * 1e3
    lines = [
        f"{images} images of 512 KiB over one association: {image:.2f} ms an image, with the sampler.",
        "All times are ms an image. Those of threads and tasks are wall time: they count waiting as well.",
        "What is always the same, as the first function of a thread, is left out.",
        "",
        "CPU of each process",
        *_rows({name: each / images * 1e3 for name, each in cpu.items()}),
    ]
    for thread in sorted({_kind(name) for name, _ in samples.counts}):
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
        if rows := _rows(ours):
            lines += ["", f"{thread}: in our functions, with what they call", *rows]
            lines += [f"{thread}: in which function at last", *_rows(innermost)]
    return "\n".join(lines) + "\n"


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
