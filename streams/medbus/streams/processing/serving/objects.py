"""The objects of a work item, read from the blob store when they are needed."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from medbus.blobs import BlockingBlobs
from medbus.schemas.events import Blob
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.pixels import opened
from medbus.streams.processing.serving.scratch import nameless

SPOOLED: Final = 64 * 1024**2
"""Bytes from which on an object is copied into a file and decoded from there, frame by frame."""

_GROUP = 0x7FE0
_PIXEL_DATA = Tag(0x7FE0, 0x0010)


class Objects:
    """Objects in a fixed order.

    Args:
        blobs: where they are.
        addresses: of the objects.
        folder: for those that are large; None for the system's.
    """

    def __init__(self, blobs: BlockingBlobs, addresses: Sequence[Blob], folder: Path | None) -> None:
        self._blobs, self._addresses, self._folder = blobs, addresses, folder
        self._only: Dataset | None = None
        if len(addresses) == 1:
            # A single one is read once, pixels and all.
            self._only = self._read(addresses[0])
            self.headers: Sequence[Dataset] = (self._only,)
        else:
            self.headers = tuple(_standard(self._read(each, pixels=False)) for each in addresses)

    def __call__(self, index: int) -> Dataset:
        """The object of that number with its pixels.

        Raises:
            BlobError: it is not there, or its bytes are others.
            UnusableImage: it can't be read.
        """
        return self._only if self._only is not None else self._read(self._addresses[index])

    def _read(self, address: Blob, *, pixels: bool = True) -> Dataset:
        syntax = UID(address.transfer_syntax_uid)
        if syntax.is_private:
            raise UnusableImage(
                f"The transfer syntax {syntax} is private: nobody says how pixels are written.",
                "Send the image in another transfer syntax.",
            )
        if address.size > SPOOLED and syntax != DeflatedExplicitVRLittleEndian:
            return self._spooled(address, syntax, pixels=pixels)
        with self._blobs.view(address.digest) as view:
            data = bytes(view)
        return opened(data, address.transfer_syntax_uid, pixels=pixels)

    def _spooled(self, address: Blob, syntax: UID, *, pixels: bool) -> Dataset:
        """An object whose pixels stay in a file."""
        file = nameless(self._folder)
        for chunk in self._blobs.stream(address.digest):
            file.write(chunk)
        file.seek(0)
        try:
            return _parsed(file, syntax, pixels=pixels)
        except UnusableImage:
            raise
        except Exception as error:  # whatever its bytes make of a reader
            raise UnusableImage(f"The object can't be read: {error}.", "Send it again.") from error


def _standard(header: Dataset) -> Dataset:
    """A header without private elements: no result has them, and some are large."""
    for tag in [tag for tag in header.keys() if tag.is_private]:  # noqa: SIM118  iterating decodes all
        del header[tag]
    return header


def _parsed(file: BinaryIO, syntax: UID, *, pixels: bool) -> Dataset:
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dataset: Dataset = read_dataset(
        file, implicit, little, stop_when=lambda tag, vr, length: tag >> 16 == _GROUP
    )
    if pixels:
        head = file.read(8 if implicit else 12)
        group, element = struct.unpack_from("<HH" if little else ">HH", head)
        if Tag(group, element) != _PIXEL_DATA:
            raise UnusableImage(
                "In a large object, the pixels do not begin where they should.",
                "Send it again, without extended offset tables.",
            )
        vr = "OW" if implicit else head[4:6].decode("ascii", "replace")
        dataset[_PIXEL_DATA] = DataElement(_PIXEL_DATA, vr, file)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset
