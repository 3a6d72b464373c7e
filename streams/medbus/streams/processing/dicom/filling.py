"""Decoding the frames of an arranged stack."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.geometry import (
    Finding,
    Irregularity,
    StackGeometry,
    affine_of,
)
from medbus.streams.processing.dicom.image import Image, image_of
from medbus.streams.processing.dicom.pixels import Colour, Frame, frame_of
from medbus.streams.processing.dicom.resampling import Grid, grid, resampled
from medbus.streams.processing.dicom.scale import Scale
from medbus.streams.processing.dicom.series import Arrangement
from medbus.streams.processing.pixels.stack import Stack

RESAMPLED = frozenset((Irregularity.GAP, Irregularity.UNEVEN, Irregularity.TILT, Irregularity.SHIFT))
"""What resampling puts right."""


class Padding:
    """Where a stack has no pixels: a bit for each of them, in the slices that have such places."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._bits: dict[int, NDArray[np.uint8]] = {}

    def __bool__(self) -> bool:
        return bool(self._bits)

    def put(self, index: int, padding: NDArray[np.bool_]) -> None:
        """Remember those of a slice, (rows, columns)."""
        self._bits[index] = np.packbits(padding)

    def slices(self) -> list[int]:
        """Those that have such places."""
        return sorted(self._bits)

    def of(self, index: int) -> NDArray[np.bool_] | None:
        """Those of a slice, (rows, columns); None if it has none."""
        bits = self._bits.get(index)
        if bits is None:
            return None
        rows, columns = self._shape
        return np.unpackbits(bits, count=rows * columns).view(np.bool_).reshape(rows, columns)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Volume:
    """Decoded frames, ready to be processed.

    Attributes:
        stacks: one; red, green and blue where channels were asked for.
        geometry: where they lie, and their sources.
        padding: where there are no pixels.
        findings: what is irregular.
    """

    stacks: tuple[Stack, ...]
    geometry: StackGeometry
    padding: Padding
    findings: tuple[Finding, ...]

    @property
    def stack(self) -> Stack:
        """The stack of a grey image.

        Raises:
            UnusableImage: there are three.
        """
        if len(self.stacks) != 1:
            raise UnusableImage("There are stacks for red, green and blue.", "Process each of them.")
        return self.stacks[0]


def fill(
    arrangement: Arrangement,
    read: Callable[[int], Dataset],
    *,
    colour: Colour = Colour.REFUSE,
    resample: bool = False,
) -> Volume:
    """Decode a stack. CPU-bound: run it in a thread.

    Padding (Pixel Padding Value) becomes the value nearest to it that a pixel of the stack has: -2000 beside
    air of -1024 HU becomes -1024. So nothing beyond the values of the stack smears into a result; at the edge
    of the padding, filters see that value continued. `derived.derive` makes padding of it again where the
    grid stays.

    Memory: the stack, one object, and an eighth of a byte for each pixel of slices with padding; another
        stack
    while it is resampled.

    Args:
        arrangement: from `series.arrange`.
        read: the object of that index, with pixels and transfer syntax; called once for each object.
        colour: what becomes of colours.
        resample: bring slices with gaps, uneven spacing, a tilt or a shift onto a regular grid at right
            angles, by linear interpolation. The grid has the median spacing and holds all slices; integers
            stay integers, rounded by at most half a stored value; where the stack has no pixel is what
            padding becomes, else the least value.

    Raises:
        UnusableImage: a frame can't be decoded, or is not what its header said when it was arranged.
    """
    channels = 3 if arrangement.image.colour and colour is Colour.CHANNELS else 1
    shape = arrangement.image.rows, arrangement.image.columns
    stored = np.empty((channels, len(arrangement.slots), *shape), arrangement.dtype)
    padding = Padding(shape)
    found = _Range()
    rescaled = len({slot.scale for slot in arrangement.slots}) > 1
    for index, frame in _frames(arrangement, read, colour):
        values = frame.values
        if rescaled:
            scale = arrangement.slots[index].scale
            values = values.astype(np.float64) * scale.slope + scale.intercept
        found.see(values, frame.padding)
        if frame.padding is not None:
            padding.put(index, frame.padding)
        for channel in range(channels):
            stored[channel, index] = values if channels == 1 else values[..., channel]
    for index in padding.slices():
        np.copyto(stored[0, index], stored.dtype.type(found.nearest), where=padding.of(index))
    scale = arrangement.slots[0].scale
    if rescaled:
        scale = Scale(units=scale.units)
    geometry, findings = arrangement.geometry, arrangement.findings
    if resample and any(each.kind in RESAMPLED for each in findings):
        outside = found.nearest if padding else found.least if scale.slope > 0 else found.greatest
        onto = grid(geometry.planes, shape)
        stored = np.stack([resampled(each.__getitem__, onto, outside, stored.dtype) for each in stored])
        geometry, findings = _regular(geometry, findings, onto)
        padding = Padding(shape)
    return Volume(
        stacks=tuple(_stack(each, scale, geometry) for each in stored),
        geometry=geometry,
        padding=padding,
        findings=findings,
    )


class _Range:
    """The values of pixels, and of padding, seen so far."""

    def __init__(self) -> None:
        self._least, self._greatest = math.inf, -math.inf
        self._padding = 0.0

    def see(self, values: NDArray[Any], padding: NDArray[np.bool_] | None) -> None:
        valid = values if padding is None else values[~padding]
        if valid.size:
            self._least = min(self._least, float(valid.min()))
            self._greatest = max(self._greatest, float(valid.max()))
        if padding is not None:
            self._padding = float(values[padding].min())

    @property
    def least(self) -> float:
        return self._least if math.isfinite(self._least) else 0.0

    @property
    def greatest(self) -> float:
        return self._greatest if math.isfinite(self._greatest) else 0.0

    @property
    def nearest(self) -> float:
        """What padding becomes; itself if there are no other pixels."""
        if self._least > self._greatest:
            return self._padding
        return min(max(self._padding, self._least), self._greatest)


def _stack(stored: NDArray[Any], scale: Scale, geometry: StackGeometry) -> Stack:
    return Stack(
        stored=stored,
        slope=scale.slope,
        intercept=scale.intercept,
        spacing=geometry.spacing,
        units=scale.units,
    )


def _frames(
    arrangement: Arrangement, read: Callable[[int], Dataset], colour: Colour
) -> Iterator[tuple[int, Frame]]:
    """Slices and their decoded frames, object by object."""
    dataset: Dataset | None = None
    current = -1
    for index in sorted(range(len(arrangement.slots)), key=lambda each: arrangement.slots[each][:2]):
        slot = arrangement.slots[index]
        if dataset is None or slot.object != current:
            dataset, current = read(slot.object), slot.object
            _check_same(image_of(dataset), arrangement.image)
        yield index, frame_of(dataset, slot.frame, colour=colour)


def _check_same(image: Image, expected: Image) -> None:
    if (image.rows, image.columns, image.photometric) != (
        expected.rows,
        expected.columns,
        expected.photometric,
    ):
        raise UnusableImage(
            f"The object has {image.rows} x {image.columns} pixels in {image.photometric}, "
            f"{expected.rows} x {expected.columns} in {expected.photometric} were arranged.",
            "Arrange the objects again.",
        )


def _regular(
    geometry: StackGeometry, findings: Sequence[Finding], onto: Grid
) -> tuple[StackGeometry, tuple[Finding, ...]]:
    sources = tuple(
        tuple(dict.fromkeys(source for index, _ in blend for source in geometry.sources[index]))
        for blend in onto.blends
    )
    text = (
        f"Resampled by linear interpolation onto {len(onto.planes)} slices of {onto.rows} x {onto.columns} "
        f"pixels, {onto.measured.typical:.3f} mm apart at right angles."
    )
    regular = replace(geometry, affine=affine_of(onto.planes), sources=sources, planes=onto.planes)
    return regular, (*findings, Finding(Irregularity.RESAMPLED, text))
