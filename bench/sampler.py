"""A sampling profiler that runs inside another process, which need not know of it.

The process is started with a folder on its PYTHONPATH that holds `sitecustomize.py`; Python runs that at the
start, and it calls `begin`. While a switch file is there, a thread looks at what every thread does, some
hundred times a second.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

FOLDER = "MEDBUS_BENCH_SAMPLES"
SITECUSTOMIZE = "from bench.sampler import begin\n\nbegin()\n"
INTERVAL = 0.002
SECONDS = 20.0
SWITCH_INTERVAL = 0.0005
"""How long a thread may keep the interpreter: short, so that samples do not fall on waits alone."""

TASKS = 0
"""In the place of a thread's number: the tasks of the event loop."""

Stack = tuple[str, ...]
"""Functions from the outermost to the innermost, as `FILE:FUNCTION`, the file below its source root."""


class Samples(NamedTuple):
    """What was seen.

    Attributes:
        counts: thread name (or `tasks`) and stack to how often it was seen.
        looks: how often all threads were looked at.
    """

    counts: dict[tuple[str, Stack], int]
    looks: int


def environment(folder: Path, *components: str) -> dict[str, str]:
    """The environment that makes the processes of components sample themselves.

    Args:
        folder: it must be there; the samples of each component go into a folder of its name in it.
        components: words of the command line by which the processes are known.
    """
    for component in components:
        (folder / component).mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    root = Path(__file__).parent.parent
    path = os.pathsep.join([str(folder), str(root), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {"PYTHONPATH": path, FOLDER: str(folder)}


def begin() -> None:
    """Sample this process if it is one that is meant."""
    for folder in Path(os.environ[FOLDER]).iterdir() if FOLDER in os.environ else ():
        if folder.is_dir() and folder.name in sys.orig_argv:
            threading.Thread(target=_sample, args=(folder,), name="sampler", daemon=True).start()


def start(folder: Path) -> None:
    """Turn sampling on; returns when it is.

    Raises:
        TimeoutError: the process does not sample itself.
    """
    _switch(folder).touch()
    _wait_for(_sign(folder))


def collect(folder: Path) -> Samples:
    """Turn sampling off and return what was seen since `start`.

    Raises:
        TimeoutError: the process has gone.
    """
    _switch(folder).unlink()
    file = folder / "samples.json"
    _wait_for(file)
    found = json.loads(file.read_text())
    file.unlink()
    counts = {(thread, tuple(stack)): count for thread, stack, count in found["counts"]}
    return Samples(counts, found["looks"])


def _switch(folder: Path) -> Path:
    return folder / "on"


def _sign(folder: Path) -> Path:
    return folder / "sampling"


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the sampled process wrote no {file.name} within {SECONDS:.0f} s")
        time.sleep(0.01)


def _sample(folder: Path) -> None:
    counts: Counter[tuple[int, Stack]] = Counter()
    names = {TASKS: "tasks"}
    loop: asyncio.AbstractEventLoop | None = None
    looks = 0
    usual = sys.getswitchinterval()
    while True:
        if _switch(folder).exists():
            if not looks:
                _sign(folder).touch()
            sys.setswitchinterval(SWITCH_INTERVAL)
            looks += 1
            names |= {each.ident: each.name for each in threading.enumerate() if each.ident is not None}
            frames = sys._current_frames()
            for ident, frame in frames.items():
                if ident != threading.get_ident():
                    counts[ident, _stack(frame)] += 1
            loop = loop or _loop(frames.get(threading.main_thread().ident or 0))
            for stack in _tasks(loop):
                counts[TASKS, stack] += 1
            time.sleep(INTERVAL)
            continue
        if looks:
            sys.setswitchinterval(usual)
            _sign(folder).unlink()
            _write(folder, counts, names, looks)
            counts.clear()
            looks = 0
        time.sleep(0.01)


def _stack(frame: FrameType | None) -> Stack:
    functions: list[str] = []
    while frame is not None:
        functions.append(_function(frame.f_code))
        frame = frame.f_back
    return tuple(reversed(functions))


def _loop(frame: FrameType | None) -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in a thread, found in its frames: no one else may tell another thread."""
    while frame is not None:
        if isinstance(found := frame.f_locals.get("self"), asyncio.AbstractEventLoop):
            return found
        frame = frame.f_back
    return None


def _tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[Stack]:
    """Where the tasks of a loop are; most wait, and then they are on no thread's stack."""
    if loop is None:
        return
    try:
        tasks = asyncio.all_tasks(loop)
    except RuntimeError:  # tasks came and went while we looked
        return
    for task in tasks:
        functions: list[str] = []
        awaited: Any = task.get_coro()
        while (code := getattr(awaited, "cr_code", None) or getattr(awaited, "gi_code", None)) is not None:
            functions.append(_function(code))
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
        yield tuple(functions)


def _function(code: CodeType) -> str:
    return f"{_short(code.co_filename)}:{code.co_name}"


def _short(file: str) -> str:
    for root in ("/site-packages/", "/medbus/"):
        _, found, rest = file.rpartition(root)
        if found:
            return f"medbus/{rest}" if root == "/medbus/" else rest
    return "/".join(Path(file).parts[-2:])


def _write(folder: Path, counts: Counter[tuple[int, Stack]], names: dict[int, str], looks: int) -> None:
    listed = [(names.get(ident, "?"), stack, count) for (ident, stack), count in counts.items()]
    part = folder / "samples.part"
    part.write_text(json.dumps({"counts": listed, "looks": looks}))
    part.replace(folder / "samples.json")
