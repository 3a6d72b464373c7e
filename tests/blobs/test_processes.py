"""Several processes in one folder of blobs, some of them killed: what was acknowledged is found by all."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.gateways.segments import found, segments

from medbus.blobs import BlobStore, address_of
from medbus.blobs.index import remove

KILLED = Path(__file__).with_name("killed.py")
READING = Path(__file__).with_name("reading.py")
SECONDS = 60


@asynccontextmanager
async def running(*command: str | Path) -> AsyncIterator[Process]:
    """A Python process; killed in the end."""
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=PIPE, stdout=PIPE)
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def ask(reader: Process, digest: str) -> str:
    """What a reading process says about a blob."""
    assert reader.stdin is not None
    reader.stdin.write(f"{digest}\n".encode())
    return await line_of(reader)


async def rest_of(writer: Process) -> list[str]:
    """The digests that a killed process had acknowledged and nobody has read."""
    assert writer.stdout is not None
    return [line.split()[0] for line in (await writer.stdout.read()).decode().splitlines()]


async def test_what_one_process_acknowledges_others_find_at_once_and_after_it_was_killed(
    tmp_path: Path,
) -> None:
    root = tmp_path / "blobs"
    acknowledged: list[str] = []
    source = random.Random(11)
    async with (
        await BlobStore.open(f"file://{root}") as here,
        running(READING, root) as reader,
    ):
        assert await line_of(reader) == "open"
        for seed in range(6):
            async with running(KILLED, root, str(seed)) as writer:
                loop = asyncio.get_running_loop()
                first = await line_of(writer)
                until = loop.time() + source.uniform(0.0, 0.3)
                said = [first]
                while loop.time() < until:
                    said.append(await line_of(writer))
                    digest = said[-1].split()[0]
                    assert await ask(reader, digest) == "whole"
                    assert address_of(await here.read(digest)) == digest
                writer.kill()
                new = [line.split()[0] for line in said] + await rest_of(writer)
            for digest in new:
                assert await ask(reader, digest) == "whole"
                assert await here.exists(digest)
            acknowledged += new
        assert len(acknowledged) >= 6
    async with running(READING, root) as another:
        assert await line_of(another) == "open"
        for digest in acknowledged:
            assert await ask(another, digest) == "whole"


async def test_writers_that_are_killed_at_once_leave_all_that_they_acknowledged(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    acknowledged: list[str] = []
    for round_ in range(3):
        async with (
            running(KILLED, root, str(100 + 2 * round_)) as one,
            running(KILLED, root, str(101 + 2 * round_)) as two,
        ):
            for writer in (one, two):
                acknowledged.append((await line_of(writer)).split()[0])
            await asyncio.sleep(0.1 + 0.07 * round_)
            one.kill()
            two.kill()
            acknowledged += await rest_of(one) + await rest_of(two)
        if round_ == 1:
            remove(root / "index.sqlite")
    assert set(acknowledged) <= found(root).keys()
    async with await BlobStore.open(f"file://{root}") as store:
        for digest in acknowledged:
            assert address_of(await store.read(digest)) == digest
        for digest, place in found(root).items():
            assert address_of(place.contents) == digest, "nothing torn is left"


@pytest.mark.parametrize("harm", ["lost", "damaged"])
async def test_an_index_that_is_harmed_while_several_use_it_heals_for_all(tmp_path: Path, harm: str) -> None:
    root = tmp_path / "blobs"
    async with (
        await BlobStore.open(f"file://{root}") as here,
        running(KILLED, root, "7") as writer,
        running(READING, root) as reader,
    ):
        assert await line_of(reader) == "open"
        mine = [(await here.put(bytes([number]) * 3000, "1.2")).digest for number in range(20)]
        theirs = [(await line_of(writer)).split()[0] for _ in range(10)]
        await asyncio.sleep(0.5)  # both have written the index
        if harm == "lost":
            remove(root / "index.sqlite")
        else:
            with (root / "index.sqlite").open("r+b") as file:
                file.write(b"damaged!" * 4096)
        theirs += [(await line_of(writer)).split()[0] for _ in range(10)]
        mine += [(await here.put(bytes([number]) * 3001, "1.2")).digest for number in range(20)]
        for digest in mine + theirs:
            assert await ask(reader, digest) == "whole"
            assert address_of(await here.read(digest)) == digest
        writer.kill()
        theirs += await rest_of(writer)
        for digest in theirs:
            assert await ask(reader, digest) == "whole"
            assert address_of(await here.read(digest)) == digest
    async with await BlobStore.open(f"file://{root}") as again:
        for digest in mine + theirs:
            assert address_of(await again.read(digest)) == digest
    assert segments(root)
