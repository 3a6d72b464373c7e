"""Every processing type by its name."""

from collections.abc import Mapping
from types import MappingProxyType

from medbus.streams.processing.pixels.bands import BAND_PASS
from medbus.streams.processing.pixels.combining import ADD, SUBTRACT
from medbus.streams.processing.pixels.derivatives import DERIVATIVE, GRADIENT_MAGNITUDE, LAPLACIAN, LOG
from medbus.streams.processing.pixels.edges import CANNY, SOBEL
from medbus.streams.processing.pixels.operation import Operation, settings
from medbus.streams.processing.pixels.projecting import MEAN_PROJECTION, MINIP, MIP
from medbus.streams.processing.pixels.ranking import MEDIAN
from medbus.streams.processing.pixels.reformatting import MPR
from medbus.streams.processing.pixels.sharpening import UNSHARP
from medbus.streams.processing.pixels.smoothing import GAUSSIAN, MEAN

__all__ = ["OPERATIONS", "settings"]

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        each.name: each
        for each in (
            GAUSSIAN,
            MEAN,
            MEDIAN,
            DERIVATIVE,
            GRADIENT_MAGNITUDE,
            LAPLACIAN,
            LOG,
            SOBEL,
            CANNY,
            BAND_PASS,
            UNSHARP,
            ADD,
            SUBTRACT,
            MIP,
            MINIP,
            MEAN_PROJECTION,
            MPR,
        )
    }
)
