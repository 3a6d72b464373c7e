"""Which image an enclosed object is, read from its header."""

import zlib
from collections.abc import Iterator

import pytest
from obstore.store import MemoryStore
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from tests.synthetic import ct

from medbus.blobs import BlobError, BlobNotFound, BlockingBlobs
from medbus.blobs.remote import Objects
from medbus.schemas.events import Blob
from medbus.streams.processing.planning.enclosed import PIECE, input_of


@pytest.fixture
def blobs() -> Iterator[BlockingBlobs]:
    store = BlockingBlobs(Objects(MemoryStore()))
    yield store
    store.close()


def encoded(dataset: Dataset, syntax: UID) -> bytes:
    """A data set without preamble and file meta information."""
    target = DicomBytesIO()
    target.is_implicit_VR = syntax == ImplicitVRLittleEndian
    target.is_little_endian = syntax != ExplicitVRBigEndian
    write_dataset(target, dataset)
    data = target.getvalue()
    if syntax == DeflatedExplicitVRLittleEndian:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflate.compress(data) + deflate.flush()
    return data


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEGBaseline8Bit,
    ],
)
def test_the_header_says_which_image_it_is(blobs: BlockingBlobs, syntax: UID) -> None:
    image = ct(InstanceNumber=12)
    stored = blobs.put(encoded(image, syntax), syntax)
    found = input_of(blobs, stored)
    assert (found.study_instance_uid, found.series_instance_uid) == (
        image.StudyInstanceUID,
        image.SeriesInstanceUID,
    )
    assert (found.sop_instance_uid, found.sop_class_uid) == (image.SOPInstanceUID, image.SOPClassUID)
    assert (found.instance_number, found.blob, found.reason) == (12, stored, "")


def test_pixels_are_not_read_and_a_long_header_is(blobs: BlockingBlobs) -> None:
    image = ct(PixelData=bytes(64 * PIECE))
    image.add_new(0x00091010, "OB", bytes(3 * PIECE))
    stored = blobs.put(encoded(image, ExplicitVRLittleEndian), ExplicitVRLittleEndian)
    read: list[int] = []
    inner = blobs.read_range

    def read_range(digest: str, start: int, length: int) -> bytes:
        read.append(length)
        return inner(digest, start, length)

    blobs.read_range = read_range  # type: ignore[method-assign]
    assert input_of(blobs, stored).instance_number == 1
    assert sum(read) <= 5 * PIECE


def test_a_report_has_no_image(blobs: BlockingBlobs) -> None:
    report = ct(SOPClassUID=BasicTextSRStorage)
    found = input_of(blobs, blobs.put(encoded(report, ExplicitVRLittleEndian), ExplicitVRLittleEndian))
    assert "has no image to process: it is Basic Text SR Storage" in found.reason


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what it can't read
@pytest.mark.parametrize("data", [b"", b"no DICOM", bytes(1000), b"\xff" * 1000])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, "nonsense"])
def test_what_can_not_be_read_has_the_reason(blobs: BlockingBlobs, data: bytes, syntax: str) -> None:
    stored = blobs.put(data, syntax)
    found = input_of(blobs, stored)
    assert found.reason == f"The enclosed object {stored.digest} can't be read. Send it again."
    assert found.blob == stored


def test_a_number_that_is_none_is_no_number(blobs: BlockingBlobs) -> None:
    image = ct()
    del image.InstanceNumber
    assert (
        input_of(
            blobs, blobs.put(encoded(image, ExplicitVRLittleEndian), "1.2.840.10008.1.2.1")
        ).instance_number
        is None
    )


def test_the_true_size_is_noted(blobs: BlockingBlobs) -> None:
    stored = blobs.put(encoded(ct(), ExplicitVRLittleEndian), ExplicitVRLittleEndian)
    claimed = Blob(digest=stored.digest, size=7, transfer_syntax_uid=ExplicitVRLittleEndian)
    assert input_of(blobs, claimed).blob == stored


def test_a_blob_that_is_not_there_and_a_store_that_fails_are_told_apart(blobs: BlockingBlobs) -> None:
    missing = Blob(digest="blake3:" + "0" * 64, size=7, transfer_syntax_uid=ExplicitVRLittleEndian)
    with pytest.raises(BlobNotFound):
        input_of(blobs, missing)
    stored = blobs.put(encoded(ct(), ExplicitVRLittleEndian), ExplicitVRLittleEndian)

    def fail(digest: str, start: int, length: int) -> bytes:
        raise BlobError("The disk is away.")

    blobs.read_range = fail  # type: ignore[method-assign]
    with pytest.raises(BlobError, match="The disk is away"):
        input_of(blobs, stored)
