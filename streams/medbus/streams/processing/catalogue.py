"""Every processing type by its name."""

from collections.abc import Mapping
from types import MappingProxyType

from medbus.streams.processing.bands import BAND_PASS
from medbus.streams.processing.combining import ADD, SUBTRACT
from medbus.streams.processing.derivatives import DERIVATIVE, GRADIENT_MAGNITUDE, LAPLACIAN, LOG
from medbus.streams.processing.edges import CANNY, SOBEL
from medbus.streams.processing.operation import Operation, settings
from medbus.streams.processing.projecting import MEAN_PROJECTION, MINIP, MIP
from medbus.streams.processing.ranking import MEDIAN
from medbus.streams.processing.reformatting import MPR
from medbus.streams.processing.sharpening import UNSHARP
from medbus.streams.processing.smoothing import GAUSSIAN, MEAN

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
