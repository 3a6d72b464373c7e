"""What the measurements share, each part made when it is first asked for, and all of it gone at the end."""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from bench import dcmqrscp, fill, orthanc, sink
from bench.dcmqrscp import Dcmqrscp
from bench.orthanc import Orthanc
from bench.series import Series, small
from bench.service import Service
from bench.sink import Sink
from bench.slice import Slice
from medbus.schemas.errors import MedbusError


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        slices: of a CT study of 512 KiB each.
        events: for replay and rebuild.
        requests: one after the other, where latencies are measured.
        fill: small images between the first and the second look at the rate.
        endurance: small images while memory is watched, at most.
        seconds: for them, at most.
    """

    slices: int
    events: int
    requests: int
    fill: int
    endurance: int = 2_000_000
    seconds: float = 15.0


FULL = Size(slices=400, events=60_000, requests=300, fill=4_000)
QUICK = Size(slices=100, events=8_000, requests=100, fill=500, seconds=5.0)

COPIES = 70
"""The studies that all servers together keep until the end, rounded up."""

SMALL_BYTES = 16_384
"""What a small image takes on the disk with its events and rows, rounded up."""

IMAGES_A_SECOND = 3_000
"""More small images a second than any server here takes."""


class Stage:
    """Use with `with`.

    Args:
        size: how much is measured.
        repetitions: of everything that is compared.
        say: tells the person who waits.

    Raises:
        MedbusError: on entering, if the disk has too little room.
    """

    def __init__(self, size: Size, repetitions: int, say: Callable[[str], None]) -> None:
        self.size = size
        self.repetitions = repetitions
        self.say = say
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(
            self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="medbus-bench-", ignore_cleanup_errors=True)
            )
        )
        try:
            self._check_space()
        except MedbusError:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # One Ctrl-C is enough: a second one would leave processes and folders behind.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        self.say("stopping what was started")
        self._stack.close()

    def _check_space(self) -> None:
        size = self.size
        few = size.fill + min(size.endurance, int(size.seconds * IMAGES_A_SECOND))
        needed = size.slices * COPIES * 512 * 1024 + few * SMALL_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise MedbusError(
                f"{self.folder.parent} has {free / 1e9:.1f} GB free; {needed / 1e9:.1f} GB are needed.",
                "Name another folder in TMPDIR, or measure with --quick.",
            )

    @cached_property
    def series(self) -> Series:
        """The synthetic CT series, its files written."""
        self.say(f"making {self.size.slices} CT slices")
        series = Series(self.new_folder("series"), self.size.slices)
        assert series.files
        return series

    def study(self) -> list[Slice]:
        """A study that nobody has seen yet."""
        return self.series.study(uuid4().hex)

    @cached_property
    def small(self) -> Slice:
        """What any number of small images can be made from."""
        return small(self.new_folder("small"))

    def small_images(self) -> Iterator[Slice]:
        """Endless small images that nobody has seen yet, in studies of `fill.STUDY_IMAGES`."""
        return fill.images(self.small, uuid4().hex)

    @cached_property
    def destinations(self) -> dict[str, int]:
        """Where C-MOVE may send to: AE title to port of loopback."""
        return {sink.AE_TITLE: self._stack.enter_context(Sink(self.new_folder("destination"))).port}

    @cached_property
    def service(self) -> Service:
        """The whole of medbus, running."""
        self.say("starting medbus")
        return self._stack.enter_context(Service(self.new_folder("medbus"), self.destinations))

    @cached_property
    def orthanc(self) -> Orthanc | None:
        """The peer, running; None if it is not installed."""
        program = orthanc.program()
        if program is None:
            self.say(orthanc.INSTALL)
            return None
        return self._stack.enter_context(Orthanc(program, self.new_folder("orthanc"), self.destinations))

    @cached_property
    def dcmqrscp(self) -> Dcmqrscp | None:
        """The peer for what goes out, running; None if it is not installed."""
        if not dcmqrscp.installed():
            self.say(dcmqrscp.INSTALL)
            return None
        return self._stack.enter_context(Dcmqrscp(self.new_folder("dcmqrscp"), self.destinations))

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        folder = self.folder / name
        folder.mkdir()
        return folder
