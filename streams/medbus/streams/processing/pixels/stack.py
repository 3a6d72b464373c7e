"""Pixels in a regular grid: what goes into an operation, and what comes out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbus.streams.processing.pixels.errors import UnsuitableStack

Frame = NDArray[np.float32]
"""Modality values of one slice, (rows, columns)."""

AXES = "zyx"
"""The axes of a stack in the order of its array: z across the slices, y down the rows, x along a row."""

STORED_TYPES = frozenset(
    np.dtype(each) for each in (np.int8, np.int16, np.int32, np.uint8, np.uint16, np.float32)
)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Stack:
    """Pixels in a regular grid, in modality units once slope and intercept are applied.

    Attributes:
        stored: (slices, rows, columns), int8, int16, int32, uint8, uint16 or float32, in the byte order of
            this machine; read-only. What is not contiguous in memory is copied once.
        slope: modality value = stored * slope + intercept (PS3.3 C.11.1.1.2); not 0.
        intercept: see there.
        spacing: mm between slices, rows and columns, from centre to centre; greater than 0.
        units: of the modality value: "HU", "BQML" (PS3.3 C.11.1.1.2, C.8.9.1); empty if nobody said.

    Raises:
        UnsuitableStack: the array has no three dimensions, no pixels or another type; the spacing, the slope
            or the intercept is no such number.
    """

    stored: NDArray[Any]
    slope: float = 1.0
    intercept: float = 0.0
    spacing: tuple[float, float, float]
    units: str = ""

    def __post_init__(self) -> None:
        if self.stored.ndim != 3 or self.stored.size == 0:
            raise UnsuitableStack(
                f"A stack has slices, rows and columns; these pixels have the shape {self.stored.shape}.",
                "Give a single image as one slice; separate the planes of a colour image.",
            )
        if self.stored.dtype not in STORED_TYPES:
            raise UnsuitableStack(
                f"Pixels of the type {self.stored.dtype} can't be processed.",
                f"Types are {', '.join(sorted(str(each) for each in STORED_TYPES))}.",
            )
        if len(self.spacing) != 3 or not all(math.isfinite(each) and each > 0 for each in self.spacing):
            raise UnsuitableStack(
                f"The spacing {self.spacing} is not three distances in mm.",
                "Each is greater than 0. A single image may have any distance between slices.",
            )
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope):
            raise UnsuitableStack(
                f"Slope {self.slope} and intercept {self.intercept} give no modality values.",
                "Both are finite and the slope is not 0.",
            )
        view = np.ascontiguousarray(self.stored).view()
        view.flags.writeable = False
        object.__setattr__(self, "stored", view)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self.stored.shape
        return slices, rows, columns

    def values(self) -> NDArray[np.float32]:
        """Modality values, (slices, rows, columns); integers beyond 2**24 are rounded to float32."""
        values = self.stored.astype(np.float32)
        self.scale(values)
        return values

    def load(self, index: int, into: Frame | None = None) -> Frame:
        """Modality values of one slice, in a new array or in this one."""
        frame = np.empty(self.shape[1:], np.float32) if into is None else into
        np.copyto(frame, self.stored[index], casting="unsafe")
        self.scale(frame)
        return frame

    def scale(self, values: NDArray[np.floating[Any]]) -> None:
        """Turn stored values into modality values, in place."""
        if self.slope != 1:
            values *= self.slope
        if self.intercept != 0:
            values += self.intercept

    def least(self) -> float:
        """The least modality value."""
        stored = self.stored.min() if self.slope > 0 else self.stored.max()
        return float(stored) * self.slope + self.intercept

    def like(
        self, stored: NDArray[Any], *, spacing: Sequence[float] | None = None, units: str | None = None
    ) -> "Stack":
        """A stack of modality values that comes from this one; spacing and units stay unless given."""
        across, down, along = self.spacing if spacing is None else spacing
        return Stack(
            stored=stored, spacing=(across, down, along), units=self.units if units is None else units
        )

    def unscaled(self, stored: NDArray[Any], *, spacing: Sequence[float] | None = None) -> "Stack":
        """A stack of stored values of this one: type, slope and intercept stay."""
        across, down, along = self.spacing if spacing is None else spacing
        return Stack(
            stored=stored,
            slope=self.slope,
            intercept=self.intercept,
            spacing=(across, down, along),
            units=self.units,
        )

    def units_per(self, lengths: str) -> str:
        """The unit of a derivative: "HU/mm"; empty if the unit of the values is not known."""
        return f"{self.units}/{lengths}" if self.units else ""
