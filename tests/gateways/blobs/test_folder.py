"""Blobs in a folder: damage, killed processes, full disks, and what reaches the disk in which order."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from medbus.gateways.blobs import BlobCorrupted, BlobError, BlobStore, address_of

EXPLICIT = "1.2.840.10008.1.2.1"
DATA = bytes(range(256)) * 4096
KILLED = Path(__file__).with_name("killed.py")


def blob_files(root: Path) -> list[Path]:
    return [path for path in (root / "blake3").rglob("*") if path.is_file()]


def incoming(root: Path) -> list[Path]:
    return list((root / "incoming").iterdir())


async def test_a_blob_is_a_read_only_file_named_by_its_digest(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    name = blob.digest.removeprefix("blake3:")
    path = tmp_path / "blobs" / "blake3" / name[:2] / name
    assert folder.path(blob.digest) == path
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o440
    assert incoming(tmp_path / "blobs") == []


async def test_a_store_opened_again_has_what_was_put_in(folder: BlobStore, tmp_path: Path) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    again = await BlobStore.open(f"file://{tmp_path}/blobs")
    assert await again.read(blob.digest) == DATA


async def test_folders_may_have_any_name(tmp_path: Path) -> None:
    store = await BlobStore.open(f"file://{tmp_path}/A%20hospital/ブロブ")
    blob = await store.put(DATA, EXPLICIT)
    assert await store.read(blob.digest) == DATA
    assert (tmp_path / "A hospital" / "ブロブ").is_dir()


async def test_bytes_then_name_then_folder_reach_the_disk_before_it_is_acknowledged(
    folder: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []

    def spy(name: str) -> None:
        call = getattr(os, name)

        def observed(target: Any, *rest: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(rest[0])
            calls.append((name, path))
            return call(target, *rest)

        monkeypatch.setattr(os, name, observed)

    for name in ("fdatasync", "replace", "fsync"):
        spy(name)
    blob = await folder.put(DATA, EXPLICIT)
    path = folder.path(blob.digest)
    assert path is not None
    assert [name for name, _ in calls] == ["fdatasync", "replace", "fsync"]
    assert calls[0][1].startswith(f"{tmp_path}/blobs/incoming/")
    assert calls[1:] == [("replace", str(path)), ("fsync", str(path.parent))]


# Damage


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o640)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damaged",
    [DATA[:-1] + b"\0", b"\1" + DATA[1:], DATA[:-1], DATA + b"\0", b"", bytes(len(DATA))],
    ids=["last byte", "first byte", "cut short", "too long", "empty", "zeros"],
)
async def test_damage_is_seen_before_the_last_chunk_is_handed_out(folder: BlobStore, damaged: bytes) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    path = folder.path(blob.digest)
    assert path is not None
    damage(path, damaged)
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


async def test_putting_a_damaged_blob_again_heals_it(folder: BlobStore) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    path = folder.path(blob.digest)
    assert path is not None
    damage(path, b"damaged")
    await folder.put(DATA, EXPLICIT)
    assert await folder.read(blob.digest) == DATA


async def test_an_intact_blob_is_kept_as_it_is(folder: BlobStore) -> None:
    blob = await folder.put(DATA, EXPLICIT)
    path = folder.path(blob.digest)
    assert path is not None
    before = path.stat()
    await folder.put(DATA, EXPLICIT)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


# Killed processes


async def test_a_killed_process_leaves_no_blob_that_is_not_its_digest(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    acknowledged: dict[str, int] = {}
    left = 0
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
        left += len(incoming(root))
        for path in blob_files(root):
            assert address_of(path.read_bytes()) == f"blake3:{path.name}"
    assert len(acknowledged) > 4
    assert left > 0, "no process was killed while it wrote"

    store = await BlobStore.open(f"file://{root}", stale=0)
    assert incoming(root) == []
    for digest, size in acknowledged.items():
        assert len(await store.read(digest)) == size


async def test_unfinished_files_of_living_and_of_young_writers_are_left_alone(
    folder: BlobStore, tmp_path: Path
) -> None:
    root = tmp_path / "blobs"
    (root / "incoming" / "young.part").write_bytes(b"left by a process that died just now")
    old = root / "incoming" / "old.part"
    old.write_bytes(b"left by a process that died long ago")
    os.utime(old, (time.time() - 3600, time.time() - 3600))
    with folder.blocking.writer(EXPLICIT) as writer:
        writer.write(DATA)
        (mine,) = [path for path in incoming(root) if path.stat().st_size == len(DATA)]
        os.utime(mine, (time.time() - 3600, time.time() - 3600))
        await BlobStore.open(f"file://{root}")
        assert {path.name for path in incoming(root)} == {"young.part", mine.name}
        blob = writer.finish()
    assert await folder.read(blob.digest) == DATA
    await BlobStore.open(f"file://{root}", stale=0)
    assert incoming(root) == []


# Full disks

FILL = """
import asyncio, resource, sys
from pathlib import Path
from medbus.gateways.blobs import BlobStore, BlobStoreFull

limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store = asyncio.run(BlobStore.open(f"file://{sys.argv[1]}"))
small = store.blocking.put(b"small", "1.2")
try:
    for number in range(64):
        store.blocking.put(bytes([number]) * (1 << 20), "1.2")
except BlobStoreFull as error:
    print(error)
root = Path(sys.argv[1])
assert list((root / "incoming").iterdir()) == []
assert store.blocking.read(small.digest) == b"small"
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
