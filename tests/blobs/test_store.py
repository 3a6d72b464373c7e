"""What every blob store does: in memory, in a folder, on S3."""

import asyncio
import threading
import tracemalloc
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medbus.blobs import BlobError, BlobNotFound, BlobStore, address_of
from medbus.blobs.blocking import WRITTEN_AT_ONCE
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import Blob

EXPLICIT = "1.2.840.10008.1.2.1"
MIB = 1 << 20
NONE = "blake3:" + "0" * 64
AROUND_WHAT_IS_WRITTEN_AT_ONCE = [n * WRITTEN_AT_ONCE + more for n in (1, 2) for more in (-1, 0, 1)]


def pattern(size: int) -> bytes:
    """Bytes that are nowhere the same."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


async def collect(store: BlobStore, digest: str) -> list[bytes]:
    return [chunk async for chunk in store.stream(digest)]


@pytest.mark.parametrize(
    "size", [0, 1, 4095, 4096, 4097, 524_288, MIB, 9 * MIB, *AROUND_WHAT_IS_WRITTEN_AT_ONCE]
)
async def test_gives_back_what_was_put_in(store: BlobStore, size: int) -> None:
    data = pattern(size)
    blob = await store.put(data, EXPLICIT)
    assert blob == Blob(digest=f"blake3:{blake3(data).hexdigest()}", size=size, transfer_syntax_uid=EXPLICIT)
    assert await store.size(blob.digest) == size
    assert await store.read(blob.digest) == data
    assert store.blocking.read(blob.digest) == data


@pytest.mark.parametrize("store", ["folder", "s3"], indirect=True)
async def test_streams_in_chunks(store: BlobStore) -> None:
    data = pattern(3 * MIB)
    blob = await store.put(data, EXPLICIT)
    chunks = await collect(store, blob.digest)
    assert b"".join(chunks) == data
    assert len(chunks) > 1
    assert all(type(chunk) is bytes for chunk in chunks)


@pytest.mark.parametrize("size", [16_384, MIB, 3 * MIB])
async def test_takes_chunks_as_they_arrive(store: BlobStore, size: int) -> None:
    data = pattern(20 * MIB)
    async with store.writer(EXPLICIT) as writer:
        for start in range(0, len(data), size):
            await writer.write(memoryview(data)[start : start + size])
        blob = await writer.finish()
    assert blob.digest == address_of(data)
    assert await store.read(blob.digest) == data


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.binary(max_size=2000), max_size=20))
def test_how_the_bytes_arrive_makes_no_difference(store: BlobStore, chunks: list[bytes]) -> None:
    with store.blocking.writer(EXPLICIT) as writer:
        for chunk in chunks:
            writer.write(chunk)
        blob = writer.finish()
    assert blob.digest == address_of(b"".join(chunks))
    assert blob.size == sum(map(len, chunks))
    assert store.blocking.read(blob.digest) == b"".join(chunks)


async def test_the_caller_may_reuse_its_buffer(store: BlobStore) -> None:
    buffer = bytearray(b"first")
    async with store.writer(EXPLICIT) as writer:
        await writer.write(buffer)
        buffer[:] = b"other"
        blob = await writer.finish()
    assert await store.read(blob.digest) == b"first"


@pytest.mark.parametrize("size", [1000, 10 * MIB])
async def test_putting_the_same_again_changes_nothing(store: BlobStore, size: int) -> None:
    data = pattern(size)
    first = await store.put(data, EXPLICIT)
    assert await store.put(data, EXPLICIT) == first
    assert await store.read(first.digest) == data


async def test_the_same_from_many_at_once_is_one_blob(store: BlobStore) -> None:
    data = pattern(100_000)
    blobs = await asyncio.gather(*(store.put(data, EXPLICIT) for _ in range(8)))
    assert len(set(blobs)) == 1
    assert await store.read(blobs[0].digest) == data


async def test_different_ones_from_many_threads_at_once(store: BlobStore) -> None:
    made: dict[int, Blob] = {}

    def put(number: int) -> None:
        made[number] = store.blocking.put(number.to_bytes(4) * 1000, EXPLICIT)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, 30)
    for number in range(16):
        assert await store.read(made[number].digest) == number.to_bytes(4) * 1000


@pytest.mark.parametrize(
    "digest", [NONE, "blake3:../../../etc/passwd", "sha256:" + "0" * 64, "", "blake3:" + "A" * 64]
)
async def test_what_is_not_there_is_not_found(store: BlobStore, digest: str) -> None:
    assert await store.size(digest) is None
    assert not await store.exists(digest)
    with pytest.raises(BlobNotFound):
        await store.read(digest)
    with pytest.raises(BlobNotFound):
        store.blocking.read(digest)
    with pytest.raises(BlobNotFound):
        await store.read_range(digest, 0, 1)


@pytest.mark.parametrize("size", [1000, 20 * MIB])
async def test_leaving_without_finish_leaves_nothing(store: BlobStore, size: int) -> None:
    data = pattern(size)
    async with store.writer(EXPLICIT) as writer:
        await writer.write(data)
    with store.blocking.writer(EXPLICIT) as blocking:
        blocking.write(data)
    assert not await store.exists(address_of(data))
    with pytest.raises(BlobError, match="finished or given up"):
        await writer.finish()


async def test_an_error_in_the_middle_leaves_nothing(store: BlobStore) -> None:
    data = pattern(2 * MIB)

    async def receive() -> None:
        async with store.writer(EXPLICIT) as writer:
            await writer.write(data)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await receive()

    assert not await store.exists(address_of(data))


async def test_a_cancelled_task_leaves_nothing(store: BlobStore) -> None:
    data = pattern(2 * MIB)
    written = asyncio.Event()

    async def write() -> None:
        async with store.writer(EXPLICIT) as writer:
            await writer.write(data)
            written.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await store.exists(address_of(data))


async def test_cancelling_while_a_thread_writes_is_safe(store: BlobStore) -> None:
    data = pattern(12 * MIB)

    async def write() -> Blob:
        async with store.writer(EXPLICIT) as writer:
            await writer.write(data)
            return await writer.finish()

    for delay in (0.0, 0.001, 0.005, 0.02):
        task = asyncio.create_task(write())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await write()).digest == address_of(data)
    assert await store.read(address_of(data)) == data


async def test_a_finished_writer_takes_no_more(store: BlobStore) -> None:
    with store.blocking.writer(EXPLICIT) as writer:
        writer.write(b"one")
        writer.finish()
        with pytest.raises(BlobError, match="finished or given up"):
            writer.write(b"two")


@pytest.mark.parametrize("size", [0, 1, 4096, 524_288, 3 * MIB])
async def test_shows_a_blob_without_copying_it(store: BlobStore, size: int) -> None:
    data = pattern(size)
    blob = await store.put(data, EXPLICIT)
    async with store.view(blob.digest) as view:
        assert view == data
    with pytest.raises(BlobNotFound):
        async with store.view(NONE):
            pass


async def test_what_was_shown_can_not_be_looked_at_afterwards(folder: BlobStore) -> None:
    """Its memory shows another blob by then."""
    blob = await folder.put(b"first", EXPLICIT)
    async with folder.view(blob.digest) as view:
        pass
    with pytest.raises(ValueError, match="released"):
        bytes(view)


async def test_many_are_shown_at_once(store: BlobStore) -> None:
    blobs = [await store.put(bytes([number]) * 10_000, EXPLICIT) for number in range(40)]

    async def look(number: int) -> None:
        async with store.view(blobs[number].digest) as view:
            await asyncio.sleep(0.01)
            assert view == bytes([number]) * 10_000

    await asyncio.gather(*(look(number) for number in range(40)))


async def test_cancelling_while_a_blob_is_read_is_safe(folder: BlobStore) -> None:
    data = pattern(MIB)
    blob = await folder.put(data, EXPLICIT)

    async def look() -> bytes:
        async with folder.view(blob.digest) as view:
            return bytes(view)

    for delay in (0.0, 0.0002, 0.0005, 0.001):
        task = asyncio.create_task(look())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await look() == data


async def test_reads_ranges(store: BlobStore) -> None:
    data = pattern(10_000)
    blob = await store.put(data, EXPLICIT)
    assert await store.read_range(blob.digest, 0, 4) == data[:4]
    assert await store.read_range(blob.digest, 9_000, 1_000) == data[9_000:]
    with pytest.raises(BlobError):
        await store.read_range(blob.digest, 10_001, 4)


@pytest.mark.parametrize("store", ["folder"], indirect=True)  # the S3 server of the tests is in this process
async def test_a_large_blob_needs_little_memory(store: BlobStore) -> None:
    chunk = pattern(MIB)
    tracemalloc.start()
    try:
        async with store.writer(EXPLICIT) as writer:
            for _ in range(64):
                await writer.write(chunk)
            blob = await writer.finish()
        async for _ in store.stream(blob.digest):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert blob.size == 64 * MIB
    assert peak < 8 * MIB


@pytest.mark.parametrize(
    "url", ["", "/var/blobs", "file://host/var/blobs", "file:///", "ftp://host/blobs", "blobs"]
)
async def test_a_url_that_names_no_store_is_refused_with_advice(url: str) -> None:
    with pytest.raises(SettingsError, match="Use file:///folder"):
        await BlobStore.open(url)


async def test_a_bucket_that_is_not_there_is_refused_at_once(s3: dict[str, Any]) -> None:
    with pytest.raises(BlobError, match="Check its URL"):
        await BlobStore.open("s3://no-such-bucket", **s3)


async def test_an_object_store_that_does_not_answer_is_refused_at_once() -> None:
    with pytest.raises(BlobError, match="does not answer"):
        await BlobStore.open(
            "s3://blobs",
            config={
                "endpoint": "http://127.0.0.1:1",
                "access_key_id": "x",
                "secret_access_key": "x",
                "region": "x",
            },
            client_options={"allow_http": True, "connect_timeout": "1s"},
            retry_config={"max_retries": 0},
        )
