"""What an operation is in DICOM's words, and whether values still mean what they did."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.pixels.parameter import Settings


class Code(NamedTuple):
    """A coded concept (PS3.3 8.8)."""

    value: str
    meaning: str
    scheme: str = "DCM"


class Meaning(NamedTuple):
    """What an operation is.

    Attributes:
        term: for the Image Type, at most 16 characters.
        codes: of CID 7203 (image derivation).
        keeps: whether a value of the result means what one of the source does.
        window: whether the window of the source shows it, if `keeps`. Along a ray the greatest is mostly
            bone, and white in the window of a slice.
    """

    term: str
    codes: tuple[Code, ...]
    keeps: bool
    window: bool = True


PROCESSING_EQUIPMENT = Code("109102", "Processing Equipment")
SOURCE_IMAGE = Code("121322", "Source image for image processing operation")
MASK_IMAGE = Code("121321", "Mask image for image processing operation")
RESAMPLING = Code("113085", "Spatial resampling")
_EDGES = Code("113086", "Edge enhancement")
_SMOOTHING = Code("113087", "Smoothing")
_GAUSSIAN = Code("113088", "Gaussian blur")
_MEAN = Code("113049", "Pixel by pixel mean")

MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "gaussian": Meaning("GAUSSIAN", (_GAUSSIAN,), keeps=True),
        "mean": Meaning("MEAN", (_SMOOTHING,), keeps=True),
        "median": Meaning("MEDIAN", (_SMOOTHING,), keeps=True),
        "derivative": Meaning("DERIVATIVE", (_EDGES,), keeps=False),
        "gradient-magnitude": Meaning("GRADIENT", (_EDGES,), keeps=False),
        "laplacian": Meaning("LAPLACIAN", (_EDGES,), keeps=False),
        "log": Meaning("LOG", (_GAUSSIAN, _EDGES), keeps=False),
        "sobel": Meaning("SOBEL", (_EDGES,), keeps=False),
        "canny": Meaning("CANNY", (_GAUSSIAN, _EDGES), keeps=False),
        "band-pass": Meaning("BAND_PASS", (_SMOOTHING, _EDGES), keeps=False),
        "unsharp": Meaning("UNSHARP", (Code("113089", "Unsharp mask"),), keeps=True),
        "add": Meaning("ADDITION", (Code("113042", "Pixel by pixel addition"),), keeps=False),
        "subtract": Meaning("SUBTRACTION", (Code("113062", "Pixel by pixel subtraction"),), keeps=False),
        "mip": Meaning("MIP", (Code("113078", "Maximum intensity projection"),), keeps=True, window=False),
        "minip": Meaning(
            "MINIP", (Code("113079", "Minimum intensity projection"),), keeps=True, window=False
        ),
        "mean-projection": Meaning("MEAN_PROJECTION", (_MEAN,), keeps=True),
        "mpr": Meaning("MPR", (Code("113072", "Multiplanar reformatting"),), keeps=True),
    }
)


def meaning_of(operation: str, settings: Settings) -> Meaning:
    """What an operation is with these settings.

    Raises:
        UnusableImage: nobody said what it is in DICOM.
    """
    if operation == "add" and settings.word("how") == "mean":
        return Meaning("ADDITION", (_MEAN,), keeps=True)
    found = MEANINGS.get(operation)
    if found is None:
        raise UnusableImage(f"{operation} has no DICOM code.", "Add it to the table of meanings.")
    return found
