"""Blobs in an object store (S3, Google Cloud Storage, Azure), or in memory.

Small ones are put under their address at once. Of a large one the address is known only when its last byte
has come: it goes in parts to an object in `incoming` and is copied, within the store, to its address. Objects
appear whole or not at all. What a process that died left in `incoming`, and uploads that it began, should
expire by a lifecycle rule of the bucket.
"""

import contextlib
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError

from medbus.gateways.blobs.address import key_of
from medbus.gateways.blobs.errors import BlobError

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import ObjectStore

PART: Final = 8 * 1024 * 1024
"""Bytes that are sent at once; smaller blobs need no parts."""

_PARTS_IN_FLIGHT: Final = 2


class ObjectUpload:
    """One blob on its way into an object store. Holds few parts in memory. One thread at a time."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store
        self._buffer = bytearray()
        self._staged = f"incoming/{uuid4().hex}"
        self._file: WritableFile | None = None

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            BlobError: the store does not take them.
        """
        self._buffer += chunk
        if len(self._buffer) <= PART:
            return
        try:
            if self._file is None:
                self._file = obstore.open_writer(
                    self._store, self._staged, buffer_size=PART, max_concurrency=_PARTS_IN_FLIGHT
                )
            self._file.write(bytes(self._buffer))
        except (BaseError, OSError) as error:
            raise failed(error) from error
        self._buffer.clear()

    def commit(self, address: str) -> None:
        """Make the blob durable under its address. Putting one that is there already changes nothing.

        Raises:
            BlobError: the store does not take it.
        """
        key = key_of(address)
        try:
            if self._file is None:
                obstore.put(self._store, key, bytes(self._buffer), use_multipart=False)
                return
            self._file.write(bytes(self._buffer))
            self._file.close()
            obstore.copy(self._store, self._staged, key)
            obstore.delete(self._store, self._staged)
        except (BaseError, OSError) as error:
            raise failed(error) from error

    def abort(self) -> None:
        """Leave nothing behind, as far as the store can be reached."""
        self._buffer.clear()
        if self._file is not None:
            with contextlib.suppress(BaseError, OSError):
                self._file.close()  # an upload that is never closed would be kept, unseen and paid for
            with contextlib.suppress(BaseError, OSError):
                obstore.delete(self._store, self._staged)


def failed(error: Exception) -> BlobError:
    """What an error of the object store means for the blob store."""
    said = str(error).strip().splitlines()
    return BlobError(
        f"The blob store does not answer as it should: {said[0] if said else type(error).__name__}.",
        "Check its URL, its credentials and that it can be reached.",
    )
