"""What stored values mean: the Modality LUT, rescaling, units, padding."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import items, macro, number, numbers, text, texts, value_of
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.image import MONOCHROME, Image


class Scale(NamedTuple):
    """Modality value = stored value * slope + intercept (PS3.3 C.11.1.1.2).

    Attributes:
        slope: not 0.
        intercept: see there.
        units: "HU", "BQML", "OD"; empty if nobody said ("US" is that as well).
    """

    slope: float = 1.0
    intercept: float = 0.0
    units: str = ""


class PaddingRange(NamedTuple):
    """Stored values that say "no pixel here" (PS3.3 C.7.5.1.1.2), the least and the greatest."""

    least: int
    greatest: int


def scale_of(dataset: Dataset, frame: int, image: Image) -> Scale:
    """The scale of a frame.

    From its Pixel Value Transformation (PS3.3 C.7.6.16.2.9) if it has one, else from the data set. A Modality
    LUT Sequence is applied while decoding and leaves the scale 1. Colours have none. Without a Rescale Type,
    CT is in HU unless it is a localizer (PS3.3 C.8.2.1.1.5) and PET in what Units says.

    Args:
        dataset: the object.
        frame: from 0.
        image: what `image_of` says of it.

    Raises:
        UnusableImage: the slope is 0.
    """
    if image.colour:
        return Scale()
    if image.table:
        return Scale(units=_known(text(items(dataset, "ModalityLUTSequence")[0], "ModalityLUTType")))
    source = macro(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    if slope == 0:
        raise UnusableImage("The rescale slope is 0: every pixel has the same value.", "Correct the header.")
    units = _known(text(source, "RescaleType"))
    if not units and slope is not None and "RescaleType" not in source:
        units = _units_by_modality(dataset)
    return Scale(1.0 if slope is None else slope, 0.0 if intercept is None else intercept, units)


def _units_by_modality(dataset: Dataset) -> str:
    match text(dataset, "Modality"):
        case "CT" if "LOCALIZER" not in texts(dataset, "ImageType"):
            return "HU"
        case "PT":
            return _known(text(dataset, "Units"))
    return ""


def _known(units: str) -> str:
    """Nothing for what says in words that there is no unit."""
    said = units.upper()
    return "" if said == "US" or "UNITLESS" in said or said.startswith("UNSPEC") else units


def padding_range(dataset: Dataset, image: Image) -> PaddingRange | None:
    """The stored values that are padding, read as pixels are whatever representation they were written in.

    A Pixel Padding Value of 63536 in an object with signed pixels is -2000.
    """
    if image.photometric not in MONOCHROME or image.real:
        return None
    padding = number(dataset, "PixelPaddingValue")
    if padding is None:
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    ends = [_as_stored(int(each), image) for each in (padding, padding if limit is None else limit)]
    return PaddingRange(min(ends), max(ends))


def _as_stored(value: int, image: Image) -> int:
    value &= (1 << image.stored) - 1
    if image.signed and value >> (image.stored - 1):
        value -= 1 << image.stored
    return value


def through_table(stored: NDArray[Any], dataset: Dataset, image: Image) -> NDArray[np.uint16]:
    """What the Modality LUT Sequence makes of stored values (PS3.3 C.11.1.1.1).

    Values below the first one mapped become the first entry, those beyond the last one the last entry.

    Raises:
        UnusableImage: the table is incomplete.
    """
    item = items(dataset, "ModalityLUTSequence")[0]
    descriptor = numbers(item, "LUTDescriptor", 3)
    if descriptor is None:
        raise UnusableImage("The Modality LUT has no descriptor.", "Correct the header.")
    count, first = int(descriptor[0]) or 1 << 16, int(descriptor[1])
    if image.signed and first > np.iinfo(np.int16).max:
        first -= 1 << 16  # written as US where SS was meant
    entries = value_of(item, "LUTData")
    if isinstance(entries, bytes):
        order = "<" if dataset.original_encoding[1] is not False else ">"
        entries = np.frombuffer(entries, np.uint8 if len(entries) < 2 * count else f"{order}u2")
    table = np.asarray([] if entries is None else entries)[:count]
    if len(table) < count:
        raise UnusableImage(f"The Modality LUT has {len(table)} of {count} entries.", "Correct the header.")
    return table.astype(np.uint16)[np.clip(stored.astype(np.int64) - first, 0, count - 1)]
