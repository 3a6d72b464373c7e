"""The blob store for worker threads: every call returns when it is done."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import obstore
from obstore.exceptions import BaseError

from medbus.gateways.blobs.address import Digest, address_of, key_of
from medbus.gateways.blobs.errors import BlobCorrupted, BlobError, BlobNotFound
from medbus.gateways.blobs.local import Folder
from medbus.gateways.blobs.remote import failed
from medbus.schemas.events.base import Blob

if TYPE_CHECKING:
    from obstore import Bytes
    from obstore.store import ObjectStore

CHUNK: Final = 1024 * 1024
"""Bytes that are read and handed out at once."""

BATCH: Final = 1024 * 1024
"""Bytes that are collected before they are hashed and written: both take half the time for larger pieces."""


class Upload(Protocol):
    """One blob on its way into the store."""

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append bytes."""

    def commit(self, address: str) -> None:
        """Make the blob durable under its address."""

    def abort(self) -> None:
        """Leave nothing behind."""


class BlockingWriter:
    """Writes one blob of which neither size nor digest are known in advance. One thread at a time.

    Leaving the context without `finish` aborts.
    """

    def __init__(self, transfer_syntax_uid: str, begin: Callable[[], Upload]) -> None:
        self._transfer_syntax_uid = transfer_syntax_uid
        self._digest = Digest()
        self._begin = begin
        self._upload: Upload | None = None
        self._closed = False
        self._chunks: list[bytes] = []
        self._collected = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append bytes; whatever their number, little of them stays in memory.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: the store does not take them, or the writer is closed.
        """
        self._check_open()
        self._chunks.append(bytes(chunk))
        self._collected += len(self._chunks[-1])
        if self._collected >= BATCH:
            self._flush()

    def finish(self) -> Blob:
        """Make the blob durable: when this returns, no crash loses it.

        Raises:
            BlobStoreFull, BlobError: as `write`; nothing is kept.
        """
        self._check_open()
        self._flush().commit(self._digest.address)
        self._closed = True
        return Blob(
            digest=self._digest.address,
            size=self._digest.size,
            transfer_syntax_uid=self._transfer_syntax_uid,
        )

    def abort(self) -> None:
        """Leave nothing behind. Does nothing after `finish`, and a second time."""
        if not self._closed:
            self._closed = True
            self._chunks = []
            if self._upload is not None:
                self._upload.abort()

    @property
    def is_open(self) -> bool:
        """Whether anything was begun that `abort` would have to clean up."""
        return self._upload is not None and not self._closed

    def _check_open(self) -> None:
        if self._closed:
            raise BlobError("This blob was finished or given up.", "Begin another one.")

    def _flush(self) -> Upload:
        if self._upload is None:
            self._upload = self._begin()
        if self._chunks:
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks, self._collected = [], 0
            self._digest.update(data)
            self._upload.write(data)
        return self._upload


class BlockingBlobs:
    """A blob store, for worker threads. Any number of threads may use it."""

    def __init__(
        self, store: "ObjectStore", begin: Callable[[], Upload], folder: Folder | None = None
    ) -> None:
        self._store = store
        self._begin = begin
        self._folder = folder

    def writer(self, transfer_syntax_uid: str) -> BlockingWriter:
        """Begin a blob: `with blobs.writer(uid) as writer: writer.write(chunk); blob = writer.finish()`.

        Args:
            transfer_syntax_uid: of the data set or header that the blob holds; it is only noted in the Blob.
        """
        return BlockingWriter(transfer_syntax_uid, self._begin)

    def put(self, data: bytes | bytearray | memoryview, transfer_syntax_uid: str) -> Blob:
        """Write a blob that is in memory. Errors as BlockingWriter."""
        with self.writer(transfer_syntax_uid) as writer:
            writer.write(data)
            return writer.finish()

    def stream(self, digest: str) -> Iterator[bytes]:
        """The bytes of a blob, in chunks. The last one is handed out only if all of them have the digest.

        Raises:
            BlobNotFound: there is none.
            BlobCorrupted: its bytes are others, or fewer.
            BlobError: the store fails.
        """
        held = Verified(digest)
        try:
            for chunk in self._chunks(key_of(digest)):
                yield from held.feed(bytes(chunk))
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        except (BaseError, OSError) as error:
            raise failed(error) from error
        yield from held.finish()

    def _chunks(self, key: str) -> "Iterable[bytes | Bytes]":
        if self._folder is None:
            return obstore.get(self._store, key).stream(CHUNK)
        size = obstore.head(self._store, key)["size"]
        return (obstore.get_range(self._store, key, start=at, length=n) for at, n in pieces(size))

    def read(self, digest: str) -> bytes:
        """All the bytes of a blob. Errors as `stream`."""
        try:
            data = bytes(obstore.get(self._store, key_of(digest)).bytes())
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        except (BaseError, OSError) as error:
            raise failed(error) from error
        return verified(data, digest)

    def read_range(self, digest: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: the store fails, or the blob has no such bytes.
        """
        try:
            return bytes(obstore.get_range(self._store, key_of(digest), start=start, length=length))
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        except (BaseError, OSError, ValueError) as error:
            raise failed(error) from error

    def size(self, digest: str) -> int | None:
        """How many bytes a blob has; None if there is none.

        Raises:
            BlobError: the store fails.
        """
        try:
            return obstore.head(self._store, key_of(digest))["size"]
        except (FileNotFoundError, BlobNotFound):
            return None
        except (BaseError, OSError) as error:
            raise failed(error) from error

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob. Errors as `size`."""
        return self.size(digest) is not None

    def path(self, digest: str) -> Path | None:
        """The file of a blob; None if the store is no folder, or has no such blob. Nothing is verified."""
        if self._folder is None:
            return None
        try:
            path = self._folder.path(digest)
        except BlobNotFound:
            return None
        return path if path.is_file() else None


def pieces(size: int) -> Iterator[tuple[int, int]]:
    """Start and length of the chunks of a file: obstore reads them ten times faster than it streams one."""
    return ((at, min(CHUNK, size - at)) for at in range(0, size, CHUNK))


def verified(data: bytes, digest: str) -> bytes:
    """The bytes themselves.

    Raises:
        BlobCorrupted: they have another digest.
    """
    found = address_of(data)
    if found != digest:
        raise BlobCorrupted(digest, found)
    return data


class Verified:
    """Holds back the latest chunk until it is known that all of them have the digest."""

    def __init__(self, digest: str) -> None:
        self._address = digest
        self._digest = Digest()
        self._held = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk; give out the one before."""
        self._digest.update(chunk)
        given, self._held = self._held, chunk
        return [given] if given else []

    def finish(self) -> list[bytes]:
        """Give out the last chunk.

        Raises:
            BlobCorrupted: the digest is another.
        """
        if self._digest.address != self._address:
            raise BlobCorrupted(self._address, self._digest.address)
        return [self._held] if self._held else []
