"""From one transfer syntax to another where the image stays what it is. Pure; CPU-bound: run it in a thread.

Uncompressed data sets are rewritten in another encoding, compressed pixels are decoded. Nothing is ever
compressed, and no colours are converted.
"""

import struct
import zlib
from collections.abc import Collection
from io import BytesIO
from itertools import chain

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_data_element
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import decompress
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from medbus.schemas.errors import MedbusError

TARGETS = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(DeflatedExplicitVRLittleEndian))
"""What can be converted to; the first that is accepted is taken."""

_NATIVE = frozenset(
    (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    )
)

LARGEST_PIXELS = 1024 * 1024 * 1024
"""Bytes: decoding more than this would need too much memory at once."""

_WORD_BYTES = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OL", "OF"), 4),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), 8),
}
"""How many bytes each word of a value has, for the value representations that have an order of bytes."""


class NotConvertible(MedbusError):
    """A data set can't be brought into any transfer syntax that the recipient takes."""


def target(stored: str, accepted: Collection[str]) -> str | None:
    """The transfer syntax to send in: as stored where accepted, else one that it can be converted to.

    Args:
        stored: the transfer syntax of the data set.
        accepted: what the recipient takes for its SOP class.

    Returns:
        None if there is none.
    """
    if stored in accepted:
        return stored
    if UID(stored) not in _NATIVE and not _decodable(stored):
        return None
    return next((syntax for syntax in TARGETS if syntax in accepted), None)


def convert(data: bytes, stored: str, wanted: str) -> bytes:
    """The same data set in another transfer syntax.

    Args:
        data: the encoded data set.
        stored: its transfer syntax.
        wanted: one of `TARGETS`.

    Raises:
        NotConvertible: it can't be read, or its pixels can't be decoded.
    """
    if stored == wanted:
        return data
    if wanted not in TARGETS:
        raise NotConvertible(f"Nothing is converted to {wanted}.")
    try:
        dataset = _read(data, UID(stored))
        if UID(stored) not in _NATIVE and "PixelData" in dataset:
            _decode(dataset, UID(stored))
        converted = _write(dataset, UID(wanted), swap=UID(stored) == ExplicitVRBigEndian)
        return _deflated(converted) if UID(wanted) == DeflatedExplicitVRLittleEndian else converted
    except NotConvertible:
        raise
    except Exception as error:  # pydicom and the codecs raise whatever they meet
        raise NotConvertible(f"{UID(stored).name} does not become {UID(wanted).name}: {error}.") from error


def _decodable(syntax: str) -> bool:
    try:
        return bool(get_decoder(UID(syntax)).is_available)
    except NotImplementedError:
        return False


def _read(data: bytes, syntax: UID) -> Dataset:
    if syntax == DeflatedExplicitVRLittleEndian:
        data = zlib.decompress(data, -zlib.MAX_WBITS)
    big = syntax == ExplicitVRBigEndian
    dataset: Dataset = read_dataset(
        BytesIO(data), is_implicit_VR=syntax == ImplicitVRLittleEndian, is_little_endian=not big
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if big and int(dataset.get("BitsAllocated") or 0) > 16:
        raise NotConvertible("Pixels over 16 bits have no agreed order of words in big endian.")
    return dataset


def _deflated(data: bytes) -> bytes:
    """Without zlib's header, and of even length (PS3.5 A.5)."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflate.compress(data) + deflate.flush()
    return deflated + b"\0" * (len(deflated) % 2)


def _decode(dataset: Dataset, syntax: UID) -> None:
    size = (
        int(dataset.get("Rows") or 0)
        * int(dataset.get("Columns") or 0)
        * int(dataset.get("SamplesPerPixel") or 1)
        * int(dataset.get("BitsAllocated") or 8)
        * int(dataset.get("NumberOfFrames") or 1)
        // 8
    )
    if size > LARGEST_PIXELS:
        raise NotConvertible(f"{size} bytes of pixels are too many to decode at once.")
    decompress(dataset, as_rgb=False, generate_instance_uid=False)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        dataset.PhotometricInterpretation = "YBR_FULL"  # decoders give every pixel its own chrominance


def _write(dataset: Dataset, syntax: UID, *, swap: bool, parent: Dataset | None = None) -> bytes:
    """Encode a data set; values that were not decoded stay the bytes that they were.

    pydicom's own writer would decode and encode every text again, and what is not in the character set that
    the data set names would be lost.
    """
    implicit = syntax == ImplicitVRLittleEndian
    out = DicomBytesIO()
    out.is_little_endian = True
    out.is_implicit_VR = implicit
    for tag in sorted(dataset.keys()):
        if tag.element == 0:  # group lengths are retired, and wrong in another encoding (PS3.5 7.2)
            continue
        element = dataset.get_item(tag)
        vr = _vr(tag, element.VR, dataset, parent)
        if vr == "SQ":
            items = (_write(item, syntax, swap=swap, parent=dataset) for item in dataset[tag].value)
            value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
        elif isinstance(element, RawDataElement):
            value = element.value or b""
            if swap and (width := _WORD_BYTES.get(vr)):
                value = _swapped(value, width)
        else:
            write_data_element(out, element, _character_sets(dataset))
            continue
        out.write(_prefix(tag, vr, len(value), implicit=implicit))
        out.write(value)
    return out.getvalue()


def _character_sets(dataset: Dataset) -> str | list[str]:
    names = dataset.original_character_set
    return names if isinstance(names, str) else list(names)


def _prefix(tag: BaseTag, vr: str, length: int, *, implicit: bool) -> bytes:
    """Tag, value representation and length of an element (PS3.5 7.1)."""
    if implicit:
        return struct.pack("<HHI", tag.group, tag.element, length)
    if length > 0xFFFF and vr not in EXPLICIT_VR_LENGTH_32:
        vr = "UN"  # PS3.5 6.2.2
    if vr in EXPLICIT_VR_LENGTH_32:
        return struct.pack("<HH2sHI", tag.group, tag.element, vr.encode(), 0, length)
    return struct.pack("<HH2sH", tag.group, tag.element, vr.encode(), length)


def _vr(tag: BaseTag, vr: str | None, dataset: Dataset, parent: Dataset | None) -> str:
    """The value representation of an element; where the dictionary names several, one with these bytes."""
    if vr is None or " or " in vr:
        try:
            vr = ("LO" if tag.is_private_creator else "UN") if tag.is_private else dictionary_VR(tag)
        except KeyError:
            vr = "UN"
    if " or " not in vr:
        return str(vr)
    if "OW" in vr:
        return "OW"
    signed = dataset.get("PixelRepresentation", None)
    if signed is None and parent is not None:
        signed = parent.get("PixelRepresentation", None)
    return "SS" if signed == 1 else "US"


def _swapped(value: bytes, width: int) -> bytes:
    """The same words in the other order of bytes (PS3.5 7.3)."""
    whole = len(value) // width * width
    columns = [value[offset:whole:width] for offset in reversed(range(width))]
    return bytes(chain.from_iterable(zip(*columns, strict=True))) + value[whole:]
