"""The frames of an object in stored values, and which of them are padding."""

import zlib
from enum import StrEnum
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medbus.streams.processing.dicom.elements import text
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.image import Image, image_of
from medbus.streams.processing.dicom.scale import padding_range, through_table


class Colour(StrEnum):
    """What becomes of a colour image, a palette one included. Nothing happens to colours unless it is
    said."""

    REFUSE = "refuse"
    CHANNELS = "channels"
    """Red, green and blue as three stacks, each processed alone."""
    LUMINANCE = "luminance"
    """0.299 R + 0.587 G + 0.114 B, rounded (PS3.3 C.7.6.3.1.2, as the Y of YBR_FULL)."""


class Frame(NamedTuple):
    """A decoded frame.

    Attributes:
        values: (rows, columns) stored values, or what the Modality LUT makes of them; (rows, columns, 3)
            uint8 red, green and blue where channels are asked for. Unused bits are no part of them.
        padding: (rows, columns), where there is no pixel; None if there is a pixel everywhere.
    """

    values: NDArray[Any]
    padding: NDArray[np.bool_] | None


_LUMINANCE = np.array((0.299, 0.587, 0.114))


def opened(data: bytes, transfer_syntax_uid: str, *, pixels: bool = True) -> Dataset:
    """Read an encoded data set, without preamble or file meta information.

    Args:
        data: as it was received.
        transfer_syntax_uid: in which it is.
        pixels: False leaves them out; the rest is enough for `series.arrange`.

    Raises:
        UnusableImage: it can't be read.
    """
    syntax = UID(transfer_syntax_uid)
    try:
        if syntax == DeflatedExplicitVRLittleEndian:
            data = zlib.decompress(data, -zlib.MAX_WBITS)
        dataset: Dataset = read_dataset(
            BytesIO(data),
            is_implicit_VR=syntax == ImplicitVRLittleEndian,
            is_little_endian=syntax != ExplicitVRBigEndian,
            stop_when=None if pixels else lambda tag, vr, length: tag >> 16 == 0x7FE0,
        )
    except Exception as error:
        raise UnusableImage(f"The object can't be read: {error}.", "Send it again.") from error
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def frame_of(dataset: Dataset, index: int, *, colour: Colour = Colour.REFUSE) -> Frame:
    """Decode a frame.

    Args:
        dataset: with pixels, and the transfer syntax in its file meta information.
        index: from 0.
        colour: what becomes of colours.

    Raises:
        UnusableImage: it can't be decoded, there is no such frame, or colours are refused.
    """
    image = image_of(dataset)
    if image.colour and colour is Colour.REFUSE:
        raise UnusableImage(
            f"The image is in colour ({image.photometric}): a pixel is no intensity.",
            "Ask for channels to process red, green and blue alone, or for luminance.",
        )
    values = _decoded(dataset, index, image)
    if image.colour:
        return Frame(_coloured(values, dataset, image, colour), None)
    padded = padding_range(dataset, image)
    padding = None
    if padded is not None:
        found = (values >= padded.least) & (values <= padded.greatest)
        padding = found if found.any() else None
    if image.table:
        values = through_table(values, dataset, image)
    return Frame(values.astype(image.dtype, copy=False), padding)


def _decoded(dataset: Dataset, index: int, image: Image) -> NDArray[Any]:
    if index >= image.frames:
        raise UnusableImage(
            f"There is no frame {index + 1}: the image has {image.frames}.", "Choose another."
        )
    syntax = _transfer_syntax(dataset)
    decoder = _decoder(syntax)
    # pydicom takes the highest bit to be the last of those stored; where it is not, bits are moved here.
    cells = not syntax.is_encapsulated or syntax == RLELossless
    moved = cells and not image.real and image.high != image.stored - 1
    options: dict[str, Any] = {"allow_excess_frames": False}
    if moved or image.real:
        options["correct_unused_bits"] = False
    try:
        # as_array and not iter_array, which fails to correct the sign of what GDCM decodes.
        values, properties = decoder.as_array(dataset, index=index, **options)
    except Exception as error:  # pydicom and the codecs raise whatever they meet
        raise UnusableImage(
            f"Frame {index + 1} of {text(dataset, 'SOPInstanceUID')} ({syntax.name}) can't be decoded: "
            f"{error}.",
            "Send the image again, or without compression.",
        ) from error
    if image.colour and image.photometric != "PALETTE COLOR":
        decoded = str(properties["photometric_interpretation"])
        if decoded not in ("RGB", "YBR_ICT", "YBR_RCT"):  # J2K codecs undo the latter two themselves
            raise UnusableImage(f"{image.photometric} came out as {decoded}.", "Send the image as RGB.")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if moved:
        values = (values << (image.allocated - 1 - image.high)) >> (image.allocated - image.stored)
    if values.dtype == np.uint32 and values.max(initial=0) > np.iinfo(np.int32).max:
        raise UnusableImage(f"Pixels up to {values.max()} are not processed.", "31 bits are.")
    return values


def _transfer_syntax(dataset: Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    if meta is None or "TransferSyntaxUID" not in meta:
        raise UnusableImage(
            "Nothing says in which transfer syntax the pixels are.", "Open objects with `opened`."
        )
    return UID(meta.TransferSyntaxUID)


def _decoder(syntax: UID) -> Decoder:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnusableImage(
            f"There is no decoder for {syntax.name}.", "Send the image in another transfer syntax."
        ) from None
    if not decoder.is_available:
        missing = "; ".join(decoder.missing_dependencies)
        raise UnusableImage(f"The decoder for {syntax.name} is not installed: {missing}.", "Install it.")
    return decoder


def _coloured(values: NDArray[Any], dataset: Dataset, image: Image, colour: Colour) -> NDArray[np.uint8]:
    if image.photometric == "PALETTE COLOR":
        try:
            values = apply_color_lut(values, dataset)
        except Exception as error:
            raise UnusableImage(f"The palette can't be used: {error}.", "Send the image as RGB.") from error
        if values.dtype != np.uint8:
            values = values >> 8  # PS3.3 C.7.6.3.1.5: 16-bit entries span the whole range
        values = values[..., :3]
    if colour is Colour.LUMINANCE:
        values = np.rint(values @ _LUMINANCE)
    return values.astype(np.uint8, copy=False)
