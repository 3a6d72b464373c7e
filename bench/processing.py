"""How long each image operation takes on a volume, beside SimpleITK and bare numpy with as many threads."""

import importlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure, Target
from bench.stage import Stage
from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.grid import planes
from medbus.streams.processing.pixels.operation import settings
from medbus.streams.processing.pixels.stack import Stack

SHAPE = (200, 512, 512)
SPACING = (2.5, 0.7, 0.7)
READING = 1.3
"""So many times as long as reading the volume once may the greatest value along an axis take."""

PLANES = 100
"""Of a reformatted volume."""

Run = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An operation of ours, and the same of SimpleITK.

    Attributes:
        name: of the figure.
        operation: ours.
        given: its settings, as they are written.
        peer: SimpleITK's, given its module and an image.
        reading: whether it must take no longer than reading the volume; else no longer than the peer.
    """

    name: str
    operation: str
    given: dict[str, str]
    peer: Callable[[Any, Any], object]
    reading: bool = False


def _projection(axis: str, number: int) -> Compared:
    return Compared(
        name=f"mip-{axis}",
        operation="mip",
        given={"axis": axis},
        peer=lambda itk, image: itk.MaximumProjection(image, number),
        reading=True,
    )


def _frames(image: Any) -> Iterator[Any]:
    return (image[:, :, number] for number in range(SHAPE[0]))


def _differences_of_gaussians(itk: Any, image: Any) -> object:
    """Another band filter, but the fastest one there, frame by frame; its FFT takes twice as long."""
    smooth = itk.SmoothingRecursiveGaussian
    return [smooth(frame, 1.0) - smooth(frame, 3.0) for frame in _frames(image)]


def _canny(itk: Any, image: Any) -> object:
    return [itk.CannyEdgeDetection(frame, 50, 150, [1.96] * 2, [0.01] * 2) for frame in _frames(image)]


def _subtract_shifted(itk: Any, image: Any) -> object:
    moved = itk.TranslationTransform(3, (SPACING[2] / 2, SPACING[1] / 2, 0.0))
    return itk.Subtract(image, itk.Resample(image, moved))


def _turned_projection(itk: Any, image: Any) -> object:
    turn = itk.Euler3DTransform()
    middle = [(each - 1) / 2 for each in SHAPE[::-1]]
    turn.SetCenter(image.TransformContinuousIndexToPhysicalPoint(middle))
    turn.SetRotation(0.0, 0.0, math.radians(30))
    return itk.MaximumProjection(itk.Resample(image, turn), 1)


def _reformatted(row: str, column: str) -> Compared:
    """The same planes on both sides: SimpleITK is given the places that ours are at."""

    def peer(itk: Any, image: Any) -> object:
        vectors = (tuple(map(float, words.split(","))) for words in (row, column))
        along, down = ((x, y, z) for x, y, z in vectors)
        empty = Stack(stored=np.broadcast_to(np.uint8(0), SHAPE), spacing=SPACING)
        grid = planes(empty, row=along, column=down, count=PLANES)
        move = itk.AffineTransform(3)
        # In its coordinates x comes first, and in mm.
        mm = np.array(SPACING)
        matrix = (grid.affine[:3, :3] * mm[:, np.newaxis])[::-1, ::-1]
        move.SetMatrix(matrix.ravel().tolist())
        move.SetTranslation((grid.affine[:3, 3] * mm)[::-1].tolist())
        ones, none = (1.0,) * 3, (0.0,) * 3
        straight = np.eye(3).ravel().tolist()
        return itk.Resample(image, grid.shape[::-1], move, itk.sitkLinear, none, ones, straight, -1000.0)

    return Compared(
        name=f"mpr-{'one' if '0,1,0' in column else 'two'}-tilts",
        operation="mpr",
        given={"row": row, "column": column, "planes": str(PLANES)},
        peer=peer,
    )


COMPARED = (
    _projection("z", 2),
    _projection("y", 1),
    _projection("x", 0),
    Compared(
        name="gaussian",
        operation="gaussian",
        given={"sigma": "1.4", "extent": "volume"},
        peer=lambda itk, image: itk.DiscreteGaussian(image, 1.96, 32, 0.01, True),
    ),
    Compared(
        name="gradient-magnitude",
        operation="gradient-magnitude",
        given={"extent": "volume"},
        peer=lambda itk, image: itk.GradientMagnitude(image),
    ),
    Compared(
        name="laplacian",
        operation="laplacian",
        given={"extent": "volume"},
        peer=lambda itk, image: itk.Laplacian(image),
    ),
    Compared(
        name="sobel",
        operation="sobel",
        given={"extent": "volume"},
        peer=lambda itk, image: itk.SobelEdgeDetection(image),
    ),
    Compared(
        name="median",
        operation="median",
        given={"width": "3", "extent": "volume"},
        peer=lambda itk, image: itk.Median(image, [1, 1, 1]),
    ),
    Compared(
        name="band-pass",
        operation="band-pass",
        given={"low": "2", "high": "10"},
        peer=_differences_of_gaussians,
    ),
    Compared(
        name="mean",
        operation="mean",
        given={"pixels": "5", "extent": "volume"},
        peer=lambda itk, image: itk.BoxMean(image, [2, 2, 2]),
    ),
    Compared(
        name="derivative",
        operation="derivative",
        given={"axis": "x"},
        peer=lambda itk, image: itk.Derivative(image, 0, 1, True),
    ),
    Compared(
        name="log",
        operation="log",
        given={"sigma": "1.4", "extent": "volume"},
        peer=lambda itk, image: itk.LaplacianRecursiveGaussian(image, 1.4),
    ),
    Compared(
        name="canny",
        operation="canny",
        given={"sigma": "1.4", "low": "50", "high": "150"},
        peer=_canny,
    ),
    Compared(
        name="unsharp",
        operation="unsharp",
        given={"radius": "1.4", "extent": "volume"},
        peer=lambda itk, image: itk.UnsharpMask(image, [1.4] * 3, 1.0, 0.0),
    ),
    Compared(
        name="add",
        operation="add",
        given={},
        peer=lambda itk, image: itk.SumProjection(image, 2),
    ),
    Compared(
        name="subtract",
        operation="subtract",
        given={},
        peer=lambda itk, image: itk.Subtract(image, image),
    ),
    Compared(
        name="subtract-shifted",
        operation="subtract",
        given={"shift-rows": "0.5", "shift-columns": "0.5"},
        peer=_subtract_shifted,
    ),
    Compared(
        name="minip-z",
        operation="minip",
        given={"axis": "z"},
        peer=lambda itk, image: itk.MinimumProjection(image, 2),
    ),
    Compared(
        name="mean-projection-z",
        operation="mean-projection",
        given={"axis": "z"},
        peer=lambda itk, image: itk.MeanProjection(image, 2),
    ),
    Compared(
        name="mip-turned",
        operation="mip",
        given={"axis": "y", "about": "z", "angle": "30"},
        peer=_turned_projection,
    ),
    _reformatted("0.8776,0,0.4794", "0,1,0"),
    _reformatted("1,0.3,0.5", "-0.45,1,0.3"),
)


def processing(stage: Stage) -> Iterator[Figure]:
    """Image operations on 200 slices of 512 x 512, with one thread and two, beside SimpleITK and numpy."""
    values = np.random.default_rng(5).integers(-1000, 2000, SHAPE, np.int16)
    for threads in (1, 2):
        stage.say(f"processing a volume with {threads} threads")
        comparison = Comparison(stage, Stack(stored=values, spacing=SPACING), threads)
        for each in COMPARED:
            yield comparison.figure(each)


class Comparison:
    """Operations on one stack, with so many threads.

    Args:
        stage: says how often.
        stack: of 16-bit integers.
        threads: ours and the peer's.
    """

    def __init__(self, stage: Stage, stack: Stack, threads: int) -> None:
        self._stage = stage
        self._stack = stack
        self._threads = threads
        self._itk = _simpleitk()
        self._reading = statistics.median(_times(stage, stack.stored.max))

    def figure(self, compared: Compared) -> Figure:
        """How long an operation takes here and there."""
        operation = OPERATIONS[compared.operation]
        read = settings(operation, compared.given)
        stacks = (self._stack,) * operation.inputs
        mine = _times(self._stage, lambda: operation.run(stacks, read, workers=self._threads))
        peer = self._peer(compared)
        bound = READING * self._reading if compared.reading else statistics.median(peer or [0])
        return Figure(
            name=f"processing/{self._threads}-threads/{compared.name}",
            unit="ms",
            values=mine,
            peer="SimpleITK",
            peer_values=peer,
            target=Target(bound, at_most=True) if bound else None,
        )

    def _peer(self, compared: Compared) -> list[float]:
        if self._itk is None:
            return []
        self._itk.ProcessObject.SetGlobalDefaultNumberOfThreads(self._threads)
        as_it_is = compared.reading or compared.name == "median"
        image = _image(self._itk, self._stack.stored, floats=not as_it_is)
        return _times(self._stage, lambda: compared.peer(self._itk, image))


def _times(stage: Stage, run: Run) -> list[float]:
    """Milliseconds, after a first time that does not count."""
    run()
    found = []
    for _ in range(stage.repetitions):
        begin = time.perf_counter()
        run()
        found.append(1000 * (time.perf_counter() - begin))
    return found


def _image(itk: Any, values: NDArray[Any], *, floats: bool) -> Any:
    image = itk.GetImageFromArray(values.astype(np.float32) if floats else values)
    image.SetSpacing(SPACING[::-1])
    return image


def _simpleitk() -> Any:
    """The module; None where it is not installed."""
    try:
        return importlib.import_module("SimpleITK")
    except ImportError:
        return None
