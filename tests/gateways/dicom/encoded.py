"""Small data sets to test with, and their encoded forms."""

import struct
import zlib

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import generate_uid

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def ct(**changes: object) -> Dataset:
    """A CT slice: 4 by 4, 16 bits unsigned, of DOE^JANE; keyword arguments set attributes, None deletes."""
    dataset = Dataset()
    dataset.SOPClassUID = CT_IMAGE_STORAGE
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality = "CT"
    dataset.PatientName = "DOE^JANE"
    dataset.PatientID = "4711"
    dataset.StudyDate = "19990101"
    dataset.KVP = "120"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = 4
    dataset.Columns = 4
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(range(32))
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """The encoded form of a data set."""
    out = DicomBytesIO()
    out.is_little_endian = transfer_syntax_uid != BIG_ENDIAN
    out.is_implicit_VR = transfer_syntax_uid == IMPLICIT
    dataset = Dataset(dataset)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    write_dataset(out, dataset)
    encoded = out.getvalue()
    if transfer_syntax_uid != DEFLATED:
        return encoded
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(encoded) + deflater.flush()


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element in explicit VR little endian, of any stated length."""
    length = len(value) if length is None else length
    group, number = tag >> 16, tag & 0xFFFF
    if vr in {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}:
        return struct.pack("<HH2sHL", group, number, vr.encode(), 0, length) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), length) + value


def item(value: bytes, length: int | None = None) -> bytes:
    """An item of a sequence, or a fragment; of any stated length."""
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(value) if length is None else length) + value


ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


def identified(*elements: bytes) -> bytes:
    """Elements in explicit VR little endian, of group 0020 and above, after those that identify an image."""
    return (
        element(0x00080016, "UI", CT_IMAGE_STORAGE.encode() + b"\0")
        + element(0x00080018, "UI", b"1.2.3.40")
        + element(0x00080060, "CS", b"CT")
        + element(0x0020000D, "UI", b"1.2.3.10")
        + element(0x0020000E, "UI", b"1.2.3.20")
        + b"".join(elements)
    )
