"""Blobs in a folder: damage, killed processes, full disks, and what reaches the disk in which order."""

import asyncio
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.gateways.segments import damage, found, lose, segments

from medbus.blobs import BlobCorrupted, BlobError, BlobNotFound, BlobStore, address_of
from medbus.blobs import segments as segments_module
from medbus.blobs.address import key_of
from medbus.blobs.blocking import WRITTEN_AT_ONCE
from medbus.blobs.buffers import PAGE, rounded
from medbus.blobs.index import remove
from medbus.blobs.segments import Segments

EXPLICIT = "1.2.840.10008.1.2.1"
DATA = bytes(range(256)) * 4096
KILLED = Path(__file__).with_name("killed.py")


async def test_a_segment_says_itself_what_is_in_it(folder: BlobStore, tmp_path: Path) -> None:
    blobs = {(await folder.put(bytes([n]) * n * 1000, EXPLICIT)).digest: n for n in range(1, 9)}
    places = found(tmp_path / "blobs")
    assert {digest: place.contents for digest, place in places.items()} == {
        digest: bytes([n]) * n * 1000 for digest, n in blobs.items()
    }
    assert len(segments(tmp_path / "blobs")) == 1


async def test_a_store_opened_again_has_what_was_put_in(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    again = await BlobStore.open(f"file://{tmp_path}/blobs")
    assert await again.read(blob.digest) == DATA


async def test_folders_may_have_any_name(tmp_path: Path) -> None:
    store = await BlobStore.open(f"file://{tmp_path}/A%20hospital/ブロブ")
    blob = await store.put(DATA, EXPLICIT)
    assert await store.read(blob.digest) == DATA
    assert (tmp_path / "A hospital" / "ブロブ").is_dir()


async def test_it_is_on_the_disk_before_it_is_acknowledged(
    folder: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.put(b"so that there is a segment", EXPLICIT)
    calls: list[tuple[str, int]] = []
    pwrite, fdatasync = os.pwrite, os.fdatasync

    def write(file: int, data: memoryview, offset: int) -> int:
        calls.append(("pwrite", offset))
        return pwrite(file, data, offset)

    def sync(file: int) -> None:
        calls.append(("fdatasync", 0))
        fdatasync(file)

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "fdatasync", sync)
    await folder.put(DATA[:100_000], EXPLICIT)
    begin = 2 * PAGE
    assert calls == [("pwrite", begin), ("fdatasync", 0)], "a small one is one write"
    calls.clear()
    begin += PAGE + rounded(100_000)
    await folder.put(2 * DATA, EXPLICIT)
    assert calls == [
        *(("pwrite", begin + PAGE + at) for at in range(0, 2 * len(DATA), WRITTEN_AT_ONCE)),
        ("pwrite", begin),
        ("fdatasync", 0),
    ], "the bytes, then the header, then all of it to the disk"


# Damage


@pytest.mark.parametrize(
    "damaged",
    [DATA[:-1] + b"\0", b"\1" + DATA[1:], DATA[:-1] + b"\1", bytes(len(DATA))],
    ids=["last byte", "first byte", "cut short", "zeros"],
)
async def test_damage_is_seen_before_the_last_chunk_is_handed_out(
    folder: BlobStore, tmp_path: Path, damaged: bytes
) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    damage(tmp_path / "blobs", blob.digest, damaged)
    received: list[bytes] = []

    async def receive() -> None:
        async for chunk in folder.stream(blob.digest):
            received.append(chunk)

    with pytest.raises(BlobCorrupted, match=blob.digest):
        await receive()
    assert damaged.startswith(b"".join(received))
    assert sum(map(len, received)) < max(1, len(damaged))
    with pytest.raises(BlobCorrupted):
        folder.blocking.read(blob.digest)


async def test_a_segment_that_is_cut_short_is_seen(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    os.truncate(segments(tmp_path / "blobs")[0], 3 * PAGE)
    with pytest.raises(BlobCorrupted):
        await folder.read(blob.digest)


async def test_a_blob_whose_header_is_gone_is_not_there(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    lose(tmp_path / "blobs", blob.digest)
    assert not await folder.exists(blob.digest)


async def test_a_blob_whose_segment_is_gone_is_not_there(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    await folder.close()
    segments(tmp_path / "blobs")[0].unlink()
    again = await BlobStore.open(f"file://{tmp_path}/blobs")
    assert not await again.exists(blob.digest)
    with pytest.raises(BlobError, match="is missing"):
        await again.read(blob.digest)


async def test_putting_a_damaged_blob_again_heals_it(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    damage(tmp_path / "blobs", blob.digest, b"damaged")
    await folder.put(DATA, EXPLICIT)
    assert await folder.read(blob.digest) == DATA
    again = await BlobStore.open(f"file://{tmp_path}/blobs")
    assert await again.read(blob.digest) == DATA


async def test_an_intact_blob_is_kept_as_it_is(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    before = found(tmp_path / "blobs")
    await folder.put(DATA, EXPLICIT)
    await folder.put(b"another", EXPLICIT)
    after = found(tmp_path / "blobs")
    assert len(after) == 2
    assert after[blob.digest] == before[blob.digest]


async def test_bytes_of_an_abandoned_blob_can_not_pass_for_another(folder: BlobStore, tmp_path: Path) -> None:
    """Somebody sends what looks like a record, and breaks off; then a small blob comes to its place."""
    root = tmp_path / "blobs"
    victim = await folder.put(DATA, EXPLICIT)
    path, offset, _ = found(root)[victim.digest]
    with path.open("rb") as file:
        header = os.pread(file.fileno(), PAGE, offset - PAGE)
    async with folder.writer(EXPLICIT) as writer:
        await writer.write(header * 100)
        await writer.write(bytes(2 * 1024 * 1024))
    await folder.put(b"small", EXPLICIT)
    await folder.close()
    (root / "index.sqlite").unlink()
    again = await BlobStore.open(f"file://{root}")
    assert await again.read(victim.digest) == DATA
    assert len(found(root)) == 2


# The index


async def test_an_index_that_is_lost_is_made_anew(folder: BlobStore, tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    digests = [(await folder.put(bytes([n]) * 5000, EXPLICIT)).digest for n in range(20)]
    await folder.close()
    for path in root.glob("index.sqlite*"):
        path.unlink()
    again = await BlobStore.open(f"file://{root}")
    for number, digest in enumerate(digests):
        assert await again.read(digest) == bytes([number]) * 5000


async def test_an_index_that_is_damaged_is_made_anew(folder: BlobStore, tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    digests = [(await folder.put(bytes([n]) * 5000, EXPLICIT)).digest for n in range(20)]
    await folder.close()
    (root / "index.sqlite").write_bytes(b"no database at all" * 1000)
    again = await BlobStore.open(f"file://{root}")
    for number, digest in enumerate(digests):
        assert await again.read(digest) == bytes([number]) * 5000


async def test_an_index_that_is_damaged_while_it_is_used_is_made_anew(
    folder: BlobStore, tmp_path: Path
) -> None:
    root = tmp_path / "blobs"
    digests = [(await folder.put(bytes([n]) * 5000, EXPLICIT)).digest for n in range(20)]
    await folder.close()
    again = await BlobStore.open(f"file://{root}")
    assert await again.read(digests[0]) == bytes(5000)
    with (root / "index.sqlite").open("r+b") as file:
        file.seek(4096)
        file.write(b"damaged!" * 2000)
    assert await again.read(digests[1]) == bytes([1]) * 5000
    assert await again.read(digests[19]) == bytes([19]) * 5000
    new = await again.put(b"new", EXPLICIT)
    assert await again.read(new.digest) == b"new"


async def test_another_process_finds_a_blob_at_once(folder: BlobStore, tmp_path: Path) -> None:
    """Although the index does not have it yet."""
    other = await BlobStore.open(f"file://{tmp_path}/blobs")
    for number in range(30):
        blob = await folder.put(bytes([number]) * 1000, EXPLICIT)
        assert await other.size(blob.digest) == 1000
        assert await other.read(blob.digest) == bytes([number]) * 1000
    assert len(segments(tmp_path / "blobs")) == 1


async def test_memory_holds_only_what_the_index_has_not(folder: BlobStore, tmp_path: Path) -> None:
    other = await BlobStore.open(f"file://{tmp_path}/blobs")
    backend, looking = folder.blocking._backend, other.blocking._backend
    assert isinstance(backend, Segments)
    assert isinstance(looking, Segments)
    first = await folder.put(b"first", EXPLICIT)
    assert await other.exists(first.digest)
    async with asyncio.timeout(10):
        while backend._places._new:  # noqa: ASYNC110 - a thread empties it
            await asyncio.sleep(0.02)
    assert not await other.exists(f"blake3:{'0' * 64}")
    assert looking._places._others == {}
    assert await other.exists(first.digest)


# Killed processes


async def test_a_killed_process_leaves_no_blob_that_is_not_its_digest(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    acknowledged: dict[str, int] = {}
    for seed in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, KILLED, root, str(seed), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            said = await process.stdout.readline()  # the first is durable
            await asyncio.sleep(0.05 + 0.03 * seed)
            process.kill()
            said += await process.stdout.read()
            await process.wait()
        lines = (line.split() for line in said.decode().splitlines())
        acknowledged |= {digest: int(size) for digest, size in lines}
        for digest, place in found(root).items():
            assert address_of(place.contents) == digest
    assert len(acknowledged) > 4
    assert len(segments(root)) == 4, "what one process left the next goes on with"

    store = await BlobStore.open(f"file://{root}")
    for digest, size in acknowledged.items():
        assert len(await store.read(digest)) == size
    kept = sum(path.stat().st_size for path in segments(root))
    assert kept == sum(PAGE + rounded(size) for _, _, size in found(root).values()), (
        "what was torn is cut off"
    )


async def test_the_last_record_is_cut_off_if_it_is_not_whole(folder: BlobStore, tmp_path: Path) -> None:
    """As a power failure may leave it: the header on the disk, the bytes not."""
    root = tmp_path / "blobs"
    first, last = await folder.put(DATA, EXPLICIT), await folder.put(DATA[1:], EXPLICIT)
    damage(root, last.digest, bytes(len(DATA) - 1))
    await folder.close()
    for path in root.glob("index.sqlite*"):
        path.unlink()
    again = await BlobStore.open(f"file://{root}")
    assert await again.read(first.digest) == DATA
    assert not await again.exists(last.digest)
    assert set(found(root)) == {first.digest}


async def test_segments_of_living_processes_are_left_alone(folder: BlobStore, tmp_path: Path) -> None:
    with folder.blocking.writer(EXPLICIT) as writer:
        writer.write(DATA)
        before = segments(tmp_path / "blobs")[0].stat().st_size
        other = await BlobStore.open(f"file://{tmp_path}/blobs")
        assert segments(tmp_path / "blobs")[0].stat().st_size == before
        theirs = await other.put(b"theirs", EXPLICIT)
        blob = writer.finish()
    assert len(segments(tmp_path / "blobs")) == 2
    assert await other.read(blob.digest) == DATA
    assert await folder.read(theirs.digest) == b"theirs"


async def test_a_segment_that_is_long_enough_gets_no_more(
    folder: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEALED", 2 * len(DATA))
    digests = [(await folder.put(bytes([n]) + DATA, EXPLICIT)).digest for n in range(5)]
    assert len(segments(tmp_path / "blobs")) == 3
    await folder.close()
    again = await BlobStore.open(f"file://{tmp_path}/blobs")
    for number, digest in enumerate(digests):
        assert await again.read(digest) == bytes([number]) + DATA
    assert len(segments(tmp_path / "blobs")) == 3


# Full disks

FILL = """
import asyncio, resource, sys
from pathlib import Path
from medbus.blobs import BlobStore, BlobStoreFull

root = Path(sys.argv[1])
root.mkdir()
(root / "ballast").write_bytes(bytes(256 * 1024))

limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store = asyncio.run(BlobStore.open(f"file://{sys.argv[1]}"))
small = store.blocking.put(b"small", "1.2")
digests = []
for number in range(64):
    try:
        digests.append(store.blocking.put(bytes([number % 16]) * (1 << 20), "1.2").digest)
    except BlobStoreFull as error:
        said = error
print(said)
assert len(list((root / "segments").iterdir())) < 20, "each that failed left a file"
assert store.blocking.read(small.digest) == b"small"
again = asyncio.run(BlobStore.open(f"file://{sys.argv[1]}"))
for digest in digests:
    assert len(again.blocking.read(digest)) == len(store.blocking.read(digest)) == 1 << 20
(root / "ballast").unlink()
assert again.blocking.read(again.blocking.put(b"again" * 10_000, "1.2").digest) == b"again" * 10_000
"""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_a_file_that_may_grow_no_more_is_a_full_store(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", FILL, tmp_path / "blobs", str(512 * 1024))
    assert done.returncode == 0, done.stderr
    assert f"No space is left for blobs in {tmp_path}/blobs" in done.stdout


def test_a_full_disk_is_a_full_store_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or run("unshare", "-rm", "true").returncode:
        pytest.skip("this machine lets nobody mount a small disk (unshare -rm)")
    mount = tmp_path / "disk"
    mount.mkdir()
    script = f'mount -t tmpfs -o size=8m none {mount} && exec "$@"'
    done = run("unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", FILL, mount / "blobs", "0")
    assert done.returncode == 0, done.stderr
    assert f"No space is left for blobs in {mount}/blobs" in done.stdout


async def test_a_folder_that_can_not_be_made_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(BlobError, match="Check that it exists"):
        await BlobStore.open(f"file://{tmp_path}/file/blobs")


async def test_a_folder_that_is_gone_is_an_error_and_not_an_acknowledgement(
    folder: BlobStore, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(BlobError):
        await folder.put(DATA, EXPLICIT)


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder from before there were segments: a file for each blob; and their addresses."""
    addresses = []
    for size in (0, 1, 4096, 100_001, 3 * len(DATA) + 5):
        data = (DATA * 4)[:size]
        addresses.append(address_of(data))
        path = tmp_path / "blobs" / key_of(addresses[-1])
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return tmp_path / "blobs", addresses


async def test_blobs_in_files_of_their_own_stay_readable(old: tuple[Path, list[str]]) -> None:
    root, addresses = old
    async with await BlobStore.open(f"file://{root}") as store:
        for address in addresses:
            data = await store.read(address)
            assert address_of(data) == address
            assert await store.size(address) == len(data)
            assert b"".join([chunk async for chunk in store.stream(address)]) == data
        assert await store.read_range(addresses[3], 99_999, 2) == DATA[99_999:100_001]
        await store.put((DATA * 4)[:100_001], EXPLICIT)
        assert segments(root) == [], "what is there already is not written again"
        (root / key_of(addresses[3])).write_bytes(b"damaged")
        with pytest.raises(BlobCorrupted):
            await store.read(addresses[3])
        await store.put((DATA * 4)[:100_001], EXPLICIT)
        assert len(await store.read(addresses[3])) == 100_001, "but what is damaged is"
        assert not await store.exists(address_of(b"none"))


# File systems


async def test_a_file_system_that_takes_nothing_directly_is_written_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tmpfs does on older systems: the file is made, and refused."""
    opening, refused = os.open, 0

    def refuse(path: str | Path, flags: int, mode: int = 0o777) -> int:
        nonlocal refused
        file = opening(path, flags & ~os.O_DIRECT, mode)
        if flags & os.O_DIRECT:
            os.close(file)
            refused += 1
            raise OSError(errno.EINVAL, "Invalid argument")
        return file

    monkeypatch.setattr(os, "open", refuse)
    async with await BlobStore.open(f"file://{tmp_path}/blobs") as store:
        blobs = [await store.put(DATA[:size], EXPLICIT) for size in (0, 1, 4096, len(DATA))]
        assert [await store.read(blob.digest) for blob in blobs] == [DATA[: blob.size] for blob in blobs]
    assert refused > 2


async def test_a_disk_that_wants_another_alignment_is_written_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, preadv, refused = os.pwrite, os.preadv, set()

    def check(file: int, name: str) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            refused.add(name)
            raise OSError(errno.EINVAL, "Invalid argument")

    def write(file: int, data: memoryview, offset: int) -> int:
        check(file, "write")
        return pwrite(file, data, offset)

    def read(file: int, buffers: list[memoryview], offset: int) -> int:
        check(file, "read")
        return preadv(file, buffers, offset)

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "preadv", read)
    async with await BlobStore.open(f"file://{tmp_path}/blobs") as store:
        blobs = [await store.put(DATA[:size], EXPLICIT) for size in (0, 1, 4096, len(DATA))]
        assert [await store.read(blob.digest) for blob in blobs] == [DATA[: blob.size] for blob in blobs]
    assert refused == {"write", "read"}


async def test_memory_is_a_file_system_too() -> None:
    if not os.access("/dev/shm", os.W_OK):  # noqa: S108
        pytest.skip("there is no /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        async with await BlobStore.open(f"file://{folder}/blobs") as store:
            blob = await store.put(DATA, EXPLICIT)
            assert await store.read(blob.digest) == DATA


# What a crash leaves


@pytest.mark.parametrize("index", ["kept", "lost"])
async def test_wherever_writing_broke_off_what_is_whole_is_kept(tmp_path: Path, index: str) -> None:
    """Only so many of the first pages reached the disk; behind them is what was allocated."""
    first = tmp_path / "first"
    contents = [DATA[:size] for size in (5000, 0, 4096, 20_000)]
    async with await BlobStore.open(f"file://{first}") as store:
        digests = [(await store.put(content, EXPLICIT)).digest for content in contents]
    whole = segments(first)[0].read_bytes()
    ends = sorted(place.offset + rounded(place.size) for place in found(first).values())
    for pages in range(len(whole) // PAGE + 1):
        root = tmp_path / f"{pages}"
        shutil.copytree(first, root)
        if index == "lost":
            remove(root / "index.sqlite")
        kept = whole[: pages * PAGE]
        segments(root)[0].write_bytes(kept.ljust(len(whole) + 7 * PAGE, b"\0"))
        # Without its header a record is none; the index does not have what was never acknowledged.
        count = sum(end <= len(kept) for end in ends)
        async with await BlobStore.open(f"file://{root}") as store:
            for digest, content in list(zip(digests, contents, strict=True))[:count]:
                assert await store.read(digest) == content
            new = await store.put(b"new", EXPLICIT)
            assert await store.read(new.digest) == b"new"
        if index == "lost":
            assert list(found(root)) == [*digests[:count], new.digest]


async def test_a_damaged_header_harms_no_other_blob(folder: BlobStore, tmp_path: Path) -> None:
    """Although the index is lost as well."""
    root = tmp_path / "blobs"
    blobs = [await folder.put(bytes([number]) * 70_000, EXPLICIT) for number in range(5)]
    await folder.close()
    remove(root / "index.sqlite")
    lose(root, blobs[2].digest)
    async with await BlobStore.open(f"file://{root}") as again:
        for number in (0, 1, 3, 4):
            assert await again.read(blobs[number].digest) == bytes([number]) * 70_000
        with pytest.raises(BlobNotFound):
            await again.read(blobs[2].digest)


@pytest.mark.parametrize("newer", ["index", "segments"])
async def test_a_folder_put_together_from_two_backups_heals(tmp_path: Path, newer: str) -> None:
    root, early = tmp_path / "blobs", tmp_path / "early"
    async with await BlobStore.open(f"file://{root}") as store:
        one = await store.put(DATA, EXPLICIT)
    shutil.copytree(root, early)
    async with await BlobStore.open(f"file://{root}") as store:
        two = await store.put(DATA[1:], EXPLICIT)
    if newer == "segments":
        remove(root / "index.sqlite")
        shutil.copy(early / "index.sqlite", root)
    else:
        shutil.rmtree(root / "segments")
        shutil.copytree(early / "segments", root / "segments")
    async with (
        await BlobStore.open(f"file://{root}") as store,
        await BlobStore.open(f"file://{root}") as other,
    ):
        assert await store.read(one.digest) == DATA
        assert await store.exists(two.digest) == (newer == "segments")
        three = await store.put(DATA[2:], EXPLICIT)
        assert await other.read(three.digest) == DATA[2:]
        remove(root / "index.sqlite")
        assert await other.read(three.digest) == DATA[2:]
        assert await other.read(one.digest) == DATA


async def test_after_a_write_that_failed_nothing_is_acknowledged(
    folder: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, failing = os.pwrite, [True]

    def write(file: int, data: memoryview, offset: int) -> int:
        if failing.pop() if failing else False:
            raise OSError(errno.EIO, "Input/output error")
        return pwrite(file, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
    with folder.blocking.writer(EXPLICIT) as writer:
        with pytest.raises(BlobError, match="Input/output error"):
            writer.write(DATA)
        with pytest.raises(BlobError, match="could not be written"):
            writer.finish()
    blob = await folder.put(DATA, EXPLICIT)
    assert await folder.read(blob.digest) == DATA


async def test_a_sync_that_failed_is_no_acknowledgement(
    folder: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await folder.put(b"kept", EXPLICIT)
    other = await BlobStore.open(f"file://{tmp_path}/blobs")

    def sync(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", sync)
        with pytest.raises(BlobError, match="Input/output error"):
            await folder.put(DATA, EXPLICIT)
    assert not await folder.exists(address_of(DATA))
    assert not await other.exists(address_of(DATA))
    for number in range(20):
        blob = await folder.put(bytes([number]) * 100, EXPLICIT)
        assert await other.read(blob.digest) == bytes([number]) * 100
    assert await other.read(kept.digest) == b"kept"
    assert len(segments(tmp_path / "blobs")) == 2, "the segment that failed gets no more"
    await other.close()


# Memory

STREAM = """
import asyncio, resource, sys
from medbus.blobs import BlobStore

async def main():
    chunk = bytes(range(256)) * 4096
    async with await BlobStore.open(f"file://{sys.argv[1]}") as store:
        await store.put(b"warm", "1.2")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with store.writer("1.2") as writer:
            for _ in range(int(sys.argv[2])):
                await writer.write(chunk)
            blob = await writer.finish()
        size = 0
        async for part in store.stream(blob.digest):
            size += len(part)
        assert size == blob.size == int(sys.argv[2]) << 20
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main())
"""


@pytest.mark.parametrize("mib", [256, pytest.param(2048, marks=pytest.mark.long)])
def test_a_blob_of_any_size_goes_through_64_mib(tmp_path: Path, mib: int) -> None:
    done = run(sys.executable, "-c", STREAM, tmp_path / "blobs", str(mib))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 16 * 1024 * 1024


async def test_a_thousand_unfinished_uploads_hold_no_more_than_they_were_given(
    folder: BlobStore, tmp_path: Path
) -> None:
    writers = [folder.writer(EXPLICIT) for _ in range(1000)]
    assert segments(tmp_path / "blobs") == []
    for writer in writers[:50]:
        await writer.write(DATA)
    assert len(segments(tmp_path / "blobs")) <= 50
    for writer in writers:
        await writer.abort()
    blob = await folder.put(DATA, EXPLICIT)
    await folder.close()
    assert await (await BlobStore.open(f"file://{tmp_path}/blobs")).read(blob.digest) == DATA
    assert len(segments(tmp_path / "blobs")) == 1, "segments without blobs are removed"
