"""The blob store for worker threads: every call returns when it is done."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from medbus.blobs.address import Digest
from medbus.blobs.buffers import PAGE, Buffers
from medbus.blobs.errors import BlobCorrupted, BlobError
from medbus.schemas.events.base import Blob

CHUNK: Final = 1024 * 1024
"""Bytes that are read and handed out at once."""

_BUFFER: Final = 640 * 1024
_BUFFERS_KEPT: Final = 32

WRITTEN_AT_ONCE: Final = _BUFFER - PAGE
"""Bytes that are collected before they are hashed and written. Most images are fewer: they take one write,
which costs far less of the processor than several that overlap with what arrives."""

_HASHED_AT_ONCE: Final = 64 * 1024
"""Bytes: BLAKE3 takes many lanes at once only of a longer piece."""

buffers: Final = Buffers(_BUFFER, _BUFFERS_KEPT)
"""What writers collect bytes in, from the second page on: the first is left for whatever may stand before
them."""


class Upload(Protocol):
    """One blob on its way into the store."""

    def write(self, buffer: memoryview, count: int) -> None:
        """Append so many bytes of a buffer, from its second page on."""

    def commit(self, digest: Digest, buffer: memoryview, count: int) -> None:
        """Append the last bytes, and make the blob durable."""

    def abort(self) -> None:
        """Leave nothing behind."""


class Backend(Protocol):
    """A place for blobs."""

    def close(self) -> None:
        """Let go of what it holds."""

    def begin(self, transfer_syntax_uid: str) -> Upload:
        """Begin a blob."""

    def size(self, address: str) -> int | None:
        """How many bytes a blob has; None if there is none."""

    def view(self, address: str) -> AbstractContextManager[memoryview]:
        """All bytes of a blob, verified."""

    def chunks(self, address: str, length: int) -> Iterator[bytes]:
        """The bytes of a blob, about so many at once, not verified."""

    def read_range(self, address: str, start: int, length: int) -> bytes:
        """Some bytes of a blob, not verified."""


class BlockingWriter:
    """Writes one blob of which neither size nor digest are known in advance. One thread at a time.

    Leaving the context without `finish` aborts.
    """

    def __init__(self, upload: Upload, transfer_syntax_uid: str) -> None:
        self._upload = upload
        self._transfer_syntax_uid = transfer_syntax_uid
        self._digest = Digest()
        self._buffer: memoryview | None = None
        self._filled = self._hashed = 0
        self._closed = False
        self._failed = False

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
        self.check_open()
        view = memoryview(chunk).cast("B")
        while view:
            view = view[self.fill(view) :]
            if self.full:
                self.put(self.take())

    def finish(self) -> Blob:
        """Make the blob durable: when this returns, no crash loses it.

        Raises:
            BlobStoreFull, BlobError: as `write`; nothing is kept.
        """
        self.check_open()
        if self._failed:
            raise BlobError("Bytes of this blob could not be written.", "Give it up and begin another one.")
        buffer, count = self.take()
        if buffer is None:
            buffer = buffers.take()
        try:
            self._upload.commit(self._digest, buffer, count)
        finally:
            buffers.give(buffer)
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
            self._give_back()
            self._upload.abort()

    # The steps of `write`, for a writer that does them in different threads:

    @property
    def closed(self) -> bool:
        """Whether it was finished or given up."""
        return self._closed

    @property
    def full(self) -> bool:
        """Whether what was collected has to be put away before more goes into it."""
        return self._filled == WRITTEN_AT_ONCE

    def fill(self, view: memoryview) -> int:
        """Copy as much as there is room for; how many bytes that were."""
        if self._buffer is None:
            self._buffer = buffers.take()
        start = self._filled
        count = min(len(view), WRITTEN_AT_ONCE - start)
        self._buffer[PAGE + start : PAGE + start + count] = view[:count]
        self._filled = start + count
        if self._filled - self._hashed >= _HASHED_AT_ONCE:
            self._hash()
        return count

    def take(self) -> tuple[memoryview | None, int]:
        """What was collected, to be given to `put`."""
        self._hash()
        taken = self._buffer, self._filled
        self._buffer, self._filled, self._hashed = None, 0, 0
        return taken

    def _hash(self) -> None:
        """Hash what was collected, while the processor's cache still has it."""
        if self._buffer is not None and self._filled > self._hashed:
            self._digest.update(self._buffer[PAGE + self._hashed : PAGE + self._filled])
            self._hashed = self._filled

    def put(self, taken: tuple[memoryview | None, int]) -> None:
        """Write what was collected. Errors as `write`."""
        buffer, count = taken
        if buffer is None:
            return
        try:
            self._upload.write(buffer, count)
        except BaseException:
            self._failed = True
            raise
        finally:
            buffers.give(buffer)

    def check_open(self) -> None:
        """Raises BlobError if it was finished or given up."""
        if self._closed:
            raise BlobError("This blob was finished or given up.", "Begin another one.")

    def _give_back(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffers.give(buffer)


class BlockingBlobs:
    """A blob store, for worker threads. Any number of threads may use it.

    Args:
        backend: where the blobs are.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def close(self) -> None:
        """Let go of what it holds."""
        self._backend.close()

    def writer(self, transfer_syntax_uid: str) -> BlockingWriter:
        """Begin a blob: `with blobs.writer(uid) as writer: writer.write(chunk); blob = writer.finish()`.

        Args:
            transfer_syntax_uid: of the data set or header that the blob holds; it is only noted.
        """
        return BlockingWriter(self._backend.begin(transfer_syntax_uid), transfer_syntax_uid)

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
        found, held = Digest(), b""
        for chunk in self._backend.chunks(digest, CHUNK):
            found.update(chunk)
            if held:
                yield held
            held = chunk
        if found.address != digest:
            raise BlobCorrupted(digest, found.address)
        if held:
            yield held

    def view(self, digest: str) -> AbstractContextManager[memoryview]:
        """All the bytes of a blob, verified, in memory that is used again afterwards. Errors as `stream`."""
        return self._backend.view(digest)

    def read(self, digest: str) -> bytes:
        """All the bytes of a blob. Errors as `stream`."""
        with self._backend.view(digest) as view:
            return bytes(view)

    def read_range(self, digest: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: the store fails, or the blob has no such bytes.
        """
        return self._backend.read_range(digest, start, length)

    def size(self, digest: str) -> int | None:
        """How many bytes a blob has; None if there is none.

        Raises:
            BlobError: the store fails.
        """
        return self._backend.size(digest)

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob. Errors as `size`."""
        return self.size(digest) is not None
