"""Blobs in an object store (S3, Google Cloud Storage, Azure), or in memory.

Small ones are put under their address at once. Of a large one the address is known only when its last byte
has come: it goes in parts to an object in `incoming` and is copied, within the store, to its address. Objects
appear whole or not at all. What a process that died left in `incoming`, and uploads that it began, should
expire by a lifecycle rule of the bucket.
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError

from medbus.blobs.address import Digest, address_of, key_of
from medbus.blobs.buffers import PAGE
from medbus.blobs.errors import BlobCorrupted, BlobError, BlobNotFound

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import ObjectStore

PART: Final = 8 * 1024 * 1024
"""Bytes that are sent at once; smaller blobs need no parts."""

_PARTS_IN_FLIGHT: Final = 2


class Objects:
    """Blobs as objects. Any number of threads may use it.

    Args:
        store: where they are.
    """

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store

    def close(self) -> None:
        """Nothing is held."""

    def begin(self, transfer_syntax_uid: str) -> "ObjectUpload":
        """Begin a blob."""
        return ObjectUpload(self._store)

    def size(self, address: str) -> int | None:
        """How many bytes a blob has; None if there is none."""
        try:
            return obstore.head(self._store, key_of(address))["size"]
        except (FileNotFoundError, BlobNotFound):
            return None
        except (BaseError, OSError) as error:
            raise failed(error) from error

    @contextmanager
    def view(self, address: str) -> Iterator[memoryview]:
        """All bytes of a blob, which are those of its address.

        Raises:
            BlobNotFound, BlobCorrupted, BlobError.
        """
        with _translated(address):
            data = memoryview(obstore.get(self._store, key_of(address)).bytes())
        if (found := address_of(data)) != address:
            raise BlobCorrupted(address, found)
        yield data

    def chunks(self, address: str, length: int) -> Iterator[bytes]:
        """The bytes of a blob, about so many at once; they are not verified."""
        with _translated(address):
            for chunk in obstore.get(self._store, key_of(address)).stream(length):
                yield bytes(chunk)

    def read_range(self, address: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: the store fails, or the blob has no such bytes.
        """
        with _translated(address):
            return bytes(obstore.get_range(self._store, key_of(address), start=start, length=length))


class ObjectUpload:
    """One blob on its way into an object store. Holds few parts in memory. One thread at a time."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store
        self._buffer = bytearray()
        self._staged = f"incoming/{uuid4().hex}"
        self._file: WritableFile | None = None

    def write(self, buffer: memoryview, count: int) -> None:
        """Append so many bytes of a buffer, from its second page on.

        Raises:
            BlobError: the store does not take them.
        """
        self._buffer += buffer[PAGE : PAGE + count]
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

    def commit(self, digest: Digest, buffer: memoryview, count: int) -> None:
        """Append the last bytes, and make the blob durable. One that is there already stays as it is.

        Raises:
            BlobError: the store does not take it.
        """
        self.write(buffer, count)
        key = key_of(digest.address)
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


@contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobNotFound(address) from error
    except (BaseError, OSError, ValueError) as error:
        raise failed(error) from error


def failed(error: Exception) -> BlobError:
    """What an error of the object store means for the blob store."""
    said = str(error).strip().splitlines()
    return BlobError(
        f"The blob store does not answer as it should: {said[0] if said else type(error).__name__}.",
        "Check its URL, its credentials and that it can be reached.",
    )
