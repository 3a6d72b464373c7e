"""A DICOM file that comes with a request, on its way into the blob store: its data set, exactly as it is."""

from medbus.blobs import BlobStore, Writer
from medbus.gateways.dicom.dataset import HeadScanner
from medbus.gateways.dicom.part10 import NotDicom, Part10Splitter
from medbus.schemas.events import Blob

HEADER_LIMIT = 32 * 1024 * 1024
"""Most bytes of a data set without its bulk data; they are held in memory."""


class EnclosedFile:
    """Takes the bytes of one DICOM file (PS3.10 7) as they come; little of them stays in memory.

    Then `finish` it, or `abandon` it.

    Args:
        blobs: where the data set is kept, without preamble and file meta information.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._splitter = Part10Splitter()
        self._scanner: HeadScanner | None = None
        self._writer: Writer | None = None

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            NotDicom, UnreadableDataSet: they are no DICOM file.
            BlobError: the blob store does not take them.
        """
        data = self._splitter.feed(chunk)
        meta = self._splitter.meta
        if meta is None:
            return
        if self._scanner is None or self._writer is None:
            self._scanner = HeadScanner(meta.transfer_syntax_uid, header_limit=HEADER_LIMIT)
            self._writer = self._blobs.writer(meta.transfer_syntax_uid)
        self._scanner.feed(data)
        await self._writer.write(data)

    async def finish(self) -> Blob:
        """The data set, durable and known to be whole.

        Raises:
            NotDicom, UnreadableDataSet: it is no DICOM file, or cut short, or lacks identifiers.
            BlobError: the blob store does not take it.
        """
        meta = self._splitter.finish()
        if self._scanner is None or self._writer is None:
            raise NotDicom("it holds no data set")
        head = self._scanner.finish()
        if meta.guessed and head.encapsulated:
            raise NotDicom("its pixel data are compressed, and it does not say how")
        return await self._writer.finish()

    async def abandon(self) -> None:
        """Leave nothing behind. Does nothing after `finish`."""
        if self._writer is not None:
            await self._writer.abort()
