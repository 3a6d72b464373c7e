"""What an object says about its pixels, before any is decoded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import items, text, whole
from medbus.streams.processing.dicom.errors import UnusableImage

MONOCHROME = frozenset(("MONOCHROME1", "MONOCHROME2"))
COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"))
"""Photometric interpretations that become red, green and blue (PS3.3 C.7.6.3.1.2)."""

_NO_INTENSITIES = {
    "SEG": "A segmentation says which structure a pixel belongs to: it has no intensities.",
    "RTDOSE": "A dose grid has a scale and offsets of its own: it is no image series.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The Image Pixel module (PS3.3 C.7.6.3), checked.

    Attributes:
        frames: at least 1.
        rows: pixels down.
        columns: pixels along a row.
        photometric: the photometric interpretation.
        allocated: bits of a cell: 8, 16 or 32.
        stored: bits of a value.
        high: the highest bit of a value.
        signed: whether values are two's complement.
        real: whether values are 32-bit floating point.
        table: whether values go through a Modality LUT Sequence.
    """

    frames: int
    rows: int
    columns: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    real: bool
    table: bool

    @property
    def colour(self) -> bool:
        """Whether a pixel is a colour."""
        return self.photometric in COLOUR

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Of a stack of its frames: stored values, or what the Modality LUT makes of them."""
        if self.real:
            return np.dtype(np.float32)
        if self.colour:
            return np.dtype(np.uint8)
        if self.table:
            return np.dtype(np.uint16)
        if self.allocated == 32:
            return np.dtype(np.int32)
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")


def image_of(dataset: Dataset) -> Image:
    """Read the Image Pixel module. The pixels themselves need not be there.

    Raises:
        UnusableImage: there are no pixels, or of a kind that is not processed: single bits, 64 bits, more
            than 8 bits for each of red, green and blue, or numbers that are no intensities (segmentations,
            dose).
    """
    modality = text(dataset, "Modality")
    if modality in _NO_INTENSITIES:
        raise UnusableImage(_NO_INTENSITIES[modality], "Choose the images that it was made from.")
    photometric = text(dataset, "PhotometricInterpretation")
    real = "FloatPixelData" in dataset
    if "DoubleFloatPixelData" in dataset:
        raise UnusableImage("Pixels of 64-bit floating point are not processed.", "32 bits are.")
    if not photometric or "Rows" not in dataset or "Columns" not in dataset:
        raise UnusableImage(
            f"The object {text(dataset, 'SOPInstanceUID')} has no image.",
            "Choose images, no reports or plans.",
        )
    if photometric not in MONOCHROME | COLOUR:
        raise UnusableImage(
            f"Pixels in {photometric} are not processed.", "Grey, palette and RGB or YBR colour are."
        )
    allocated = whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored", allocated)
    image = Image(
        frames=max(1, whole(dataset, "NumberOfFrames", 1)),
        rows=whole(dataset, "Rows"),
        columns=whole(dataset, "Columns"),
        photometric=photometric,
        allocated=allocated,
        stored=stored,
        high=whole(dataset, "HighBit", stored - 1),
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
        real=real,
        table=bool(items(dataset, "ModalityLUTSequence")),
    )
    _check(image, whole(dataset, "SamplesPerPixel", 1))
    return image


def _check(image: Image, samples: int) -> None:
    if image.rows < 1 or image.columns < 1:
        raise UnusableImage(f"The image has {image.rows} rows of {image.columns} pixels.", "Send it again.")
    if image.allocated not in (8, 16, 32) or not image.high < image.allocated:
        raise UnusableImage(
            f"Pixels of {image.allocated} bits with the highest bit {image.high} are not processed.",
            "8, 16 and 32 bits allocated are.",
        )
    if not 1 <= image.stored <= image.high + 1:
        raise UnusableImage(
            f"{image.stored} bits do not end at bit {image.high}.", "The header contradicts itself."
        )
    expected = 3 if image.colour and image.photometric != "PALETTE COLOR" else 1
    if samples != expected:
        raise UnusableImage(
            f"{image.photometric} has {expected} samples per pixel, this image {samples}.",
            "The header contradicts itself.",
        )
    if expected == 3 and image.allocated != 8:
        raise UnusableImage(
            f"Colour with {image.allocated} bits for each of red, green and blue is not processed.",
            "8 bits are.",
        )
