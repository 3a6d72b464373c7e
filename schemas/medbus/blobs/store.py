"""The blob store, for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import MemoryStore, from_url

from medbus.blobs.blocking import BlockingBlobs, BlockingWriter
from medbus.blobs.remote import Objects, failed
from medbus.blobs.segments import Segments
from medbus.schemas.errors import SettingsError
from medbus.schemas.events.base import Blob

T = TypeVar("T")

THREADS: Final = 16
"""Blobs that are read or written at once; the threads mostly wait for the disk."""


class BlobStore:
    """Immutable runs of bytes, found by their digest, durable before they are acknowledged.

    Get one with `open`. `blocking` is the same store for worker threads.
    """

    def __init__(self, blocking: BlockingBlobs) -> None:
        self.blocking = blocking
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    @classmethod
    async def open(cls, url: str, **options: Any) -> Self:
        """Open a blob store.

        Args:
            url: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix`,
                `az://account/container/prefix`, or `memory:///` (empty, gone with the object).
            options: for object stores, as `obstore.store.from_url` takes them; what is not given comes from
                the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).

        Raises:
            SettingsError: the URL names no store.
            BlobError: the folder can't be used, or the object store does not answer.
        """
        return await asyncio.to_thread(cls._open, url, options)

    @classmethod
    def _open(cls, url: str, options: dict[str, Any]) -> Self:
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path not in ("", "/"):
            return cls(BlockingBlobs(Segments(Path(unquote(parts.path)))))
        if parts.scheme == "memory":
            return cls(BlockingBlobs(Objects(MemoryStore())))
        if parts.scheme not in ("s3", "s3a", "gs", "az", "abfs", "abfss"):
            raise SettingsError(
                f"{url!r} names no blob store.",
                "Use file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix.",
            )
        try:
            remote = from_url(url, **options)
            # Without bucket or credentials this fails now, not at an image.
            obstore.list_with_delimiter(remote)
        except (BaseError, OSError, ValueError) as error:
            raise failed(error) from error
        return cls(BlockingBlobs(Objects(remote)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is being written, and let go of the store."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self.blocking.close)

    def writer(self, transfer_syntax_uid: str) -> "Writer":
        """Begin a blob: `async with store.writer(uid) as w: await w.write(chunk); blob = await w.finish()`.

        Args:
            transfer_syntax_uid: of the data set or header that the blob holds; it is only noted.
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

    @asynccontextmanager
    async def view(self, digest: str) -> AsyncIterator[memoryview]:
        """All the bytes of a blob, verified, in memory that is used again afterwards. Errors as `stream`."""
        opened = self.blocking.view(digest)

        def leave(entering: asyncio.Future[memoryview]) -> None:
            if not entering.cancelled() and entering.exception() is None:
                opened.__exit__(None, None, None)

        entering = asyncio.get_running_loop().run_in_executor(self._threads, opened.__enter__)
        try:
            view = await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(leave)
            raise
        try:
            yield view
        finally:
            opened.__exit__(None, None, None)

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes of a blob, in chunks. The last one is handed out only if all of them have the digest.

        Raises:
            BlobNotFound: there is none.
            BlobCorrupted: its bytes are others, or fewer.
            BlobError: the store fails.
        """
        chunks = self.blocking.stream(digest)
        while (chunk := await self._run(next, chunks, None)) is not None:
            yield chunk

    async def read(self, digest: str) -> bytes:
        """All the bytes of a blob. Errors as `stream`."""
        return await self._run(self.blocking.read, digest)

    async def read_range(self, digest: str, start: int, length: int) -> bytes:
        """Some bytes of a blob. They can't be verified.

        Raises:
            BlobNotFound: there is none.
            BlobError: the store fails, or the blob has no such bytes.
        """
        return await self._run(self.blocking.read_range, digest, start, length)

    async def size(self, digest: str) -> int | None:
        """How many bytes a blob has; None if there is none.

        Raises:
            BlobError: the store fails.
        """
        return await self._run(self.blocking.size, digest)

    async def exists(self, digest: str) -> bool:
        """Whether there is such a blob. Errors as `size`."""
        return await self.size(digest) is not None

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


class Writer:
    """Writes one blob of which neither size nor digest are known in advance.

    Bytes are copied once, into a buffer, and hashed; while it is written in a thread the next one fills.
    Leaving the context without `finish` aborts, also when the task is cancelled.
    """

    def __init__(self, writer: BlockingWriter, threads: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._threads = threads
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
        writer = self._writer
        writer.check_open()
        view = memoryview(chunk)
        count = writer.fill(view)
        while writer.full:
            await self._wait()
            self._running = asyncio.get_running_loop().run_in_executor(
                self._threads, writer.put, writer.take()
            )
            view = view[count:]
            if not view:
                return
            count = writer.fill(view)

    async def finish(self) -> Blob:
        """Make the blob durable: when this returns, no crash loses it.

        Raises:
            BlobStoreFull, BlobError: as `write`; nothing is kept.
        """
        self._writer.check_open()
        await self._wait()
        self._running = asyncio.get_running_loop().run_in_executor(self._threads, self._writer.finish)
        blob: Blob = await asyncio.shield(self._running)
        return blob

    async def abort(self) -> None:
        """Leave nothing behind. Does nothing after `finish`, and a second time. Cancelled, it goes on."""
        if self._running is None or self._running.done():
            self._heed()
            if self._writer.closed:
                return
        await asyncio.shield(asyncio.ensure_future(self._abort()))

    async def _abort(self) -> None:
        if self._running is not None and not self._running.done():
            await asyncio.wait((self._running,))
        self._heed()
        if not self._writer.closed:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._writer.abort)

    def _heed(self) -> None:
        """Whatever went wrong in a thread: the blob is given up."""
        if self._running is not None and not self._running.cancelled():
            self._running.exception()

    async def _wait(self) -> None:
        """Wait until what was begun is written; cancelled, it goes on, and `abort` waits for it."""
        if self._running is not None:
            await asyncio.shield(self._running)
            self._running = None
