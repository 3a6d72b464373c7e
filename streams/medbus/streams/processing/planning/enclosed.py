"""Reading which image an enclosed object is: of its header, no more than is needed for that."""

import io
import zlib
from typing import Any, BinaryIO, cast

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from medbus.blobs import BlobNotFound, BlockingBlobs
from medbus.schemas.events import Blob
from medbus.streams.processing.dicom.elements import text, whole
from medbus.streams.processing.planning.inputs import Input, is_image, without_image

INSTANCE_NUMBER = 0x00200013
"""The last element that is read."""

PIECE = 64 * 1024
"""Bytes that are read at once: most headers have fewer."""

INFLATED = 1024 * 1024
"""Bytes of a deflated data set that are looked at."""


def input_of(blobs: BlockingBlobs, blob: Blob) -> Input:
    """Read which image a blob is. It takes as long as the blob store does: run it in a thread.

    Args:
        blobs: where it is.
        blob: as the request names it; its true size is noted.

    Returns:
        The image; with a reason against it, if it can't be read or is none.

    Raises:
        BlobNotFound: there is none.
        BlobError: the store fails.
    """
    size = blobs.size(blob.digest)
    if size is None:
        raise BlobNotFound(blob.digest)
    found = Blob(digest=blob.digest, size=size, transfer_syntax_uid=blob.transfer_syntax_uid)
    header = _header(_Bytes(blobs, blob.digest, size), UID(blob.transfer_syntax_uid))
    uid, sop_class = text(header, "SOPInstanceUID"), text(header, "SOPClassUID")
    reason = ""
    if not uid or not sop_class:
        reason = f"The enclosed object {blob.digest} can't be read. Send it again."
    elif not is_image(sop_class):
        reason = without_image(uid, sop_class)
    return Input(
        study_instance_uid=text(header, "StudyInstanceUID"),
        series_instance_uid=text(header, "SeriesInstanceUID"),
        sop_instance_uid=uid,
        sop_class_uid=sop_class,
        instance_number=_number(header),
        blob=found,
        reason=reason,
    )


def _number(header: Dataset) -> int | None:
    number = whole(header, "InstanceNumber", -(2**63))
    return None if number == -(2**63) else number


def _header(data: "_Bytes", syntax: UID) -> Dataset:
    """What can be read of the first elements; nothing of what is no data set."""
    source: io.BufferedIOBase = io.BufferedReader(data, PIECE)
    try:
        if syntax == DeflatedExplicitVRLittleEndian:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            source = io.BytesIO(inflate.decompress(source.read(INFLATED), INFLATED))
        return read_dataset(
            cast(BinaryIO, source),
            is_implicit_VR=syntax == ImplicitVRLittleEndian,
            is_little_endian=syntax != ExplicitVRBigEndian,
            stop_when=lambda tag, vr, length: tag > INSTANCE_NUMBER,
        )
    except _Away as error:
        raise error.error from error
    except Exception:  # whatever a decoder meets in hostile bytes
        return Dataset()


class _Away(Exception):
    """The blob store does not give the bytes: that says nothing about them."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Bytes(io.RawIOBase):
    """A blob as a file."""

    def __init__(self, blobs: BlockingBlobs, digest: str, size: int) -> None:
        super().__init__()
        self._blobs, self._digest, self._size = blobs, digest, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count = min(len(view), self._size - self._place)
        if count <= 0:
            return 0
        try:
            view[:count] = self._blobs.read_range(self._digest, self._place, count)
        except Exception as error:
            raise _Away(error) from error
        self._place += count
        return count
