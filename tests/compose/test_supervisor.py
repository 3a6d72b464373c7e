"""The supervisor with real processes: order, restart, stop, and children that never outlive their parent."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from medbus.compose.component import ProcessComponent, StartFailed
from medbus.compose.supervisor import Supervisor

READY = """
import json, os, pathlib, sys, time
from medbus.compose import lifeline
lifeline.hold(grace=1)
pathlib.Path(sys.argv[1]).write_text(json.dumps({"address": f"pid {os.getpid()}"}))
time.sleep(60)
"""


MEET = """
import pathlib, sys, time
mine = pathlib.Path(sys.argv[1])
mine.with_suffix(".begun").touch()
while len(list(mine.parent.glob("*.begun"))) < 2:
    time.sleep(0.01)
"""
"""Goes on when two of them have begun."""


class Watch:
    """Keeps what a supervisor tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def __call__(self, component: str, state: str, detail: str) -> None:
        self.told.append((component, state, detail))

    def states(self, component: str) -> list[str]:
        return [state for name, state, _ in self.told if name == component]


def process(tmp_path: Path, name: str, program: str = READY, **options: Any) -> ProcessComponent:
    ready = tmp_path / f"{name}.ready"
    return ProcessComponent(
        name,
        ["-c", program, str(ready)],
        environment=dict,
        ready_file=ready,
        logs=tmp_path,
        **options,
    )


async def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        await asyncio.sleep(0.02)


async def test_components_start_in_order_and_stop_in_the_opposite_order(tmp_path: Path) -> None:
    watch, stop = Watch(), asyncio.Event()
    supervisor = Supervisor([[process(tmp_path, "one")], [process(tmp_path, "two")]], watch)

    await asyncio.wait_for(supervisor.run(stop, stop.set), 30)

    assert [(name, state) for name, state, _ in watch.told] == [
        ("one", "starting"),
        ("one", "up"),
        ("two", "starting"),
        ("two", "up"),
        ("two", "stopping"),
        ("two", "stopped"),
        ("one", "stopping"),
        ("one", "stopped"),
    ]


async def test_components_of_a_stage_start_together(tmp_path: Path) -> None:
    watch, stop = Watch(), asyncio.Event()
    stage = [process(tmp_path, name, MEET + READY) for name in ("one", "two")]
    last = process(tmp_path, "last")

    await asyncio.wait_for(Supervisor([stage, [last]], watch).run(stop, stop.set), 30)

    told = [(name, state) for name, state, _ in watch.told]
    assert set(told[:2]) == {("one", "starting"), ("two", "starting")}
    assert set(told[2:4]) == {("one", "up"), ("two", "up")}
    assert told[4:6] == [("last", "starting"), ("last", "up")]


async def test_one_of_a_stage_that_fails_takes_the_others_with_it(tmp_path: Path) -> None:
    slow = process(tmp_path, "slow", "import time; time.sleep(60)")
    bad = process(tmp_path, "bad", "raise SystemExit('no licence to run')")
    never = process(tmp_path, "never")
    watch = Watch()

    with pytest.raises(StartFailed, match="no licence to run"):
        await asyncio.wait_for(
            Supervisor([[slow, bad], [never]], watch).run(asyncio.Event(), lambda: None), 30
        )

    assert slow.pids == ()
    assert watch.states("never") == []


async def test_a_killed_component_is_started_again(tmp_path: Path) -> None:
    watch, stop, up = Watch(), asyncio.Event(), asyncio.Event()
    component = process(tmp_path, "one")
    supervisor = Supervisor([[component]], watch)
    running = asyncio.create_task(supervisor.run(stop, up.set))
    await asyncio.wait_for(up.wait(), 30)
    first = component.pids[0]

    os.kill(first, signal.SIGKILL)
    await until(lambda: watch.states("one").count("up") == 2, "a second start")

    assert component.pids[0] != first
    assert supervisor.entries[0].restarts == 1
    assert any("SIGKILL" in detail for _, state, detail in watch.told if state == "restarting")
    stop.set()
    await asyncio.wait_for(running, 30)
    assert not psutil.pid_exists(first)
    assert component.pids == ()


async def test_a_component_that_ends_at_once_says_what_it_said(tmp_path: Path) -> None:
    watch = Watch()
    good, bad = process(tmp_path, "good"), process(tmp_path, "bad", "raise SystemExit('no licence to run')")

    with pytest.raises(StartFailed, match=r"exit code 1.*\n.*no licence to run") as caught:
        await asyncio.wait_for(Supervisor([[good], [bad]], watch).run(asyncio.Event(), lambda: None), 30)

    assert str(tmp_path / "bad.log") in caught.value.advice
    assert (tmp_path / "bad.log").read_text().strip() == "no licence to run"
    assert watch.states("good")[-1] == "stopped"


async def test_a_component_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    slow = process(tmp_path, "slow", "import time; time.sleep(60)", start_seconds=0.5)

    with pytest.raises(StartFailed, match="not ready after"):
        await asyncio.wait_for(Supervisor([[slow]], Watch()).run(asyncio.Event(), lambda: None), 30)

    assert slow.pids == ()


async def test_a_component_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = process(
        tmp_path,
        "stubborn",
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}",
        stop_seconds=0.5,
    )
    stop = asyncio.Event()

    await asyncio.wait_for(Supervisor([[stubborn]], Watch()).run(stop, stop.set), 30)

    assert stubborn.pids == ()


async def test_stopping_while_a_component_starts_leaves_nothing(tmp_path: Path) -> None:
    slow = process(tmp_path, "slow", "import time; time.sleep(60)")
    stop = asyncio.Event()
    running = asyncio.create_task(Supervisor([[slow]], Watch()).run(stop, lambda: None))
    await until(lambda: bool(slow.pids), "the process")
    pid = slow.pids[0]

    stop.set()
    await asyncio.wait_for(running, 30)

    assert not psutil.pid_exists(pid)


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = f"""
import asyncio, pathlib
from medbus.compose.component import ProcessComponent
async def main():
    ready = pathlib.Path({str(tmp_path / "child.ready")!r})
    child = ProcessComponent("child", ["-c", {READY!r}, str(ready)], environment=dict,
                             ready_file=ready, logs=pathlib.Path({str(tmp_path)!r}))
    await child.start()
    pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(child.pids[0]))
    await asyncio.sleep(60)
asyncio.run(main())
"""
    running = subprocess.Popen([sys.executable, "-c", parent])
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline, "the child did not start within 20 s"
            time.sleep(0.02)
        pid = int((tmp_path / "pid").read_text())
        assert json.loads((tmp_path / "child.ready").read_text()) == {"address": f"pid {pid}"}
    finally:
        running.kill()
        running.wait()

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=10)
    assert not psutil.pid_exists(pid)
