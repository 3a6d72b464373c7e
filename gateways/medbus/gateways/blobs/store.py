"""The blob store, for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, from_url

from medbus.gateways.blobs.address import key_of
from medbus.gateways.blobs.blocking import BATCH, CHUNK, BlockingBlobs, BlockingWriter, Verified, pieces
from medbus.gateways.blobs.errors import BlobNotFound
from medbus.gateways.blobs.local import STALE, FileUpload, Folder
from medbus.gateways.blobs.remote import ObjectUpload, failed
from medbus.schemas.errors import SettingsError
from medbus.schemas.events.base import Blob

if TYPE_CHECKING:
    from obstore import Bytes
    from obstore.store import ObjectStore

T = TypeVar("T")

THREADS: Final = 16
"""Blobs that are written at once; the threads mostly wait for the disk."""


class BlobStore:
    """Immutable runs of bytes, found by their digest, durable before they are acknowledged.

    Get one with `open`. `blocking` is the same store for worker threads.
    """

    def __init__(self, store: "ObjectStore", blocking: BlockingBlobs) -> None:
        self._store = store
        self.blocking = blocking
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    @classmethod
    async def open(cls, url: str, *, stale: float = STALE, **options: Any) -> Self:
        """Open a blob store.

        Args:
            url: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix`,
                `az://account/container/prefix`, or `memory:///` (empty, gone with the object).
            stale: seconds after which an unfinished file of a process that died is removed from a folder.
            options: for object stores, as `obstore.store.from_url` takes them; what is not given comes from
                the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).

        Raises:
            SettingsError: the URL names no store.
            BlobError: the folder can't be used, or the object store does not answer.
        """
        return await asyncio.to_thread(cls._open, url, stale, options)

    @classmethod
    def _open(cls, url: str, stale: float, options: dict[str, Any]) -> Self:
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path not in ("", "/"):
            folder = Folder(Path(unquote(parts.path)), stale=stale)
            local = LocalStore(folder.root)
            return cls(local, BlockingBlobs(local, lambda: FileUpload(folder), folder))
        if parts.scheme == "memory":
            memory = MemoryStore()
            return cls(memory, BlockingBlobs(memory, lambda: ObjectUpload(memory)))
        if parts.scheme not in ("s3", "s3a", "gs", "az", "abfs", "abfss"):
            raise SettingsError(
                f"{url!r} names no blob store.",
                "Use file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix.",
            )
        try:
            remote = from_url(url, **options)
            obstore.list_with_delimiter(
                remote
            )  # without bucket or credentials this fails now, not at an image
        except (BaseError, OSError, ValueError) as error:
            raise failed(error) from error
        return cls(remote, BlockingBlobs(remote, lambda: ObjectUpload(remote)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.to_thread(self._threads.shutdown)

    def writer(self, transfer_syntax_uid: str) -> "Writer":
        """Begin a blob: `async with store.writer(uid) as w: await w.write(chunk); blob = await w.finish()`.

        Args:
            transfer_syntax_uid: of the data set or header that the blob holds; it is only noted in the Blob.
        """
        return Writer(self.blocking.writer(transfer_syntax_uid), self._threads)

    async def put(self, data: bytes, transfer_syntax_uid: str) -> Blob:
        """Write a blob that is in memory; durable when it returns.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: the store does not take it.
        """
        async with self.writer(transfer_syntax_uid) as writer:
            await writer.write(data)
            return await writer.finish()

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes of a blob, in chunks. The last one is handed out only if all of them have the digest.

        Raises:
            BlobNotFound: there is none.
            BlobCorrupted: its bytes are others, or fewer.
            BlobError: the store fails.
        """
        held = Verified(digest)
        try:
            async for chunk in self._chunks(key_of(digest)):
                for given in held.feed(bytes(chunk)):
                    yield given
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error
        except (BaseError, OSError) as error:
            raise failed(error) from error
        for given in held.finish():
            yield given

    async def _chunks(self, key: str) -> AsyncIterator["bytes | Bytes"]:
        if isinstance(self._store, LocalStore):
            size = (await obstore.head_async(self._store, key))["size"]
            for at, length in pieces(size):
                yield await obstore.get_range_async(self._store, key, start=at, length=length)
        else:
            async for chunk in (await obstore.get_async(self._store, key)).stream(CHUNK):
                yield chunk

    async def read(self, digest: str) -> bytes:
        """All the bytes of a blob. Errors as `stream`."""
        return await asyncio.to_thread(self.blocking.read, digest)

    async def read_range(self, digest: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: the store fails, or the blob has no such bytes.
        """
        return await asyncio.to_thread(self.blocking.read_range, digest, start, length)

    async def size(self, digest: str) -> int | None:
        """How many bytes a blob has; None if there is none.

        Raises:
            BlobError: the store fails.
        """
        return await asyncio.to_thread(self.blocking.size, digest)

    async def exists(self, digest: str) -> bool:
        """Whether there is such a blob. Errors as `size`."""
        return await self.size(digest) is not None

    def path(self, digest: str) -> Path | None:
        """The file of a blob; None if the store is no folder, or has no such blob. Nothing is verified."""
        return self.blocking.path(digest)


class Writer:
    """Writes one blob of which neither size nor digest are known in advance.

    Leaving the context without `finish` aborts, also when the task is cancelled.
    """

    def __init__(self, writer: BlockingWriter, threads: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._threads = threads
        self._chunks: list[bytes] = []
        self._collected = 0
        self._running: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append bytes; whatever their number, little of them stays in memory.

        Raises:
            BlobStoreFull: no space is left.
            BlobError: the store does not take them, or the writer is closed.
        """
        self._chunks.append(bytes(chunk))
        self._collected += len(self._chunks[-1])
        if self._collected >= BATCH:
            await self._run(self._write, self._taken())

    async def finish(self) -> Blob:
        """Make the blob durable: when this returns, no crash loses it.

        Raises:
            BlobStoreFull, BlobError: as `write`; nothing is kept.
        """
        return await self._run(self._finish, self._taken())

    async def abort(self) -> None:
        """Leave nothing behind. Does nothing after `finish`, and a second time."""
        self._taken()
        if self._running is not None and not self._running.done():
            await asyncio.wait([self._running])
            self._running.exception()  # whatever it was, the blob is given up
        if self._writer.is_open:
            await self._run(self._writer.abort)
        else:
            self._writer.abort()

    def _taken(self) -> list[bytes]:
        chunks, self._chunks, self._collected = self._chunks, [], 0
        return chunks

    def _write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._writer.write(chunk)

    def _finish(self, chunks: list[bytes]) -> Blob:
        self._write(chunks)
        return self._writer.finish()

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run in a thread. If the task is cancelled meanwhile, the call goes on, and `abort` waits for it."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        self._running = running
        return await asyncio.shield(running)
