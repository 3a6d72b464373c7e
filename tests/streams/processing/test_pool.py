"""The processes that do work items: side by side, within their memory, whatever becomes of one of them."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, RLELossless
from tests.streams.processing.dicom.images import image, stacked
from tests.streams.processing.items import planned, put

from medbus.blobs import BlobStore
from medbus.schemas.events import Blob, ItemPlanned
from medbus.streams.processing.dicom.derived import encoded
from medbus.streams.processing.serving.budget import Budget
from medbus.streams.processing.serving.outcome import Outcome
from medbus.streams.processing.serving.pool import ItemFailed, Pool, StoreTrouble, need
from medbus.streams.processing.serving.workshop import Tools

SLOW = {"width": "17"}
"""Of a median: some seconds for `large`."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BlobStore]:
    async with await BlobStore.open(f"file://{tmp_path}/blobs") as opened:
        yield opened


@asynccontextmanager
async def pool(
    tmp_path: Path, *, processes: int = 1, memory: int = 2**26, seconds: float = 60
) -> AsyncIterator[Pool]:
    tools = Tools(f"file://{tmp_path}/blobs", memory, tmp_path)
    async with Pool(tools, processes=processes, seconds=seconds) as opened:
        yield opened


def small(store: BlobStore) -> ItemPlanned:
    pixels = np.random.default_rng(1).integers(0, 1000, (1, 16, 16), dtype=np.int16)
    return planned(put(store.blocking, stacked(pixels)))


def large(store: BlobStore) -> ItemPlanned:
    pixels = np.random.default_rng(1).integers(0, 1000, (16, 512, 512), dtype=np.int16)
    return planned(put(store.blocking, [image(pixels)]), "median", SLOW)


async def begun(pool: Pool, after: int | None = None) -> int:
    """The process of a pool of one, when it computes; another one than that process."""
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(0.05)
            for pid in pool.pids:
                with suppress(psutil.NoSuchProcess):
                    # To start takes half a second.
                    if pid != after and sum(psutil.Process(pid).cpu_times()[:2]) > 1.5:
                        return pid


async def test_items_are_done_by_processes_with_one_thread_for_numbers(
    store: BlobStore, tmp_path: Path
) -> None:
    async with pool(tmp_path, processes=2) as two:
        first, second = await asyncio.gather(two.run(small(store)), two.run(small(store)))
        assert isinstance(first, Outcome)
        assert isinstance(second, Outcome)
        assert len(set(two.pids)) == 2
        for pid in two.pids:
            # What it has from the blob store, and one that follows the parent.
            assert psutil.Process(pid).num_threads() <= 6
        pids = two.pids
    assert not any(map(psutil.pid_exists, pids))


async def test_an_item_that_fails_leaves_the_process_as_it_is(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path) as one:
        before = one.pids
        garbage = store.blocking.put(b"\x00" * 1000, ExplicitVRLittleEndian)
        with pytest.raises(ItemFailed, match="has no image"):
            await one.run(planned([garbage]))
        assert await one.run(small(store)) is not None
        assert one.pids == before


async def test_a_process_that_is_killed_once_does_not_fail_its_item(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path) as one:
        doing = asyncio.create_task(one.run(large(store)))
        first = await begun(one)
        os.kill(first, signal.SIGKILL)
        outcome = await asyncio.wait_for(doing, 60)
        assert isinstance(outcome, Outcome)
        assert len(outcome.made) == 16
        assert one.pids != [first]


async def test_an_item_in_which_two_processes_die_fails_and_the_next_one_is_done(
    store: BlobStore, tmp_path: Path
) -> None:
    async with pool(tmp_path) as one:
        doing = asyncio.create_task(one.run(large(store)))
        first = await begun(one)
        os.kill(first, signal.SIGSEGV)
        os.kill(await begun(one, after=first), signal.SIGSEGV)
        with pytest.raises(ItemFailed, match="died twice, with signal 11"):
            await asyncio.wait_for(doing, 30)
        assert await one.run(small(store)) is not None


async def test_a_process_that_dies_takes_no_other_item_with_it(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path, processes=2, memory=2**30) as two:
        slow, quick = large(store), small(store)
        doing = asyncio.create_task(two.run(slow))
        await asyncio.sleep(0.1)
        for _ in range(10):
            assert await two.run(quick) is not None
        idle = two.pids
        busy = max(idle, key=lambda pid: sum(psutil.Process(pid).cpu_times()[:2]))
        os.kill(busy, signal.SIGKILL)
        for _ in range(10):
            assert await two.run(quick) is not None
        assert isinstance(await asyncio.wait_for(doing, 60), Outcome)


async def test_a_process_that_dies_while_it_is_idle_is_replaced(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path) as one:
        (pid,) = one.pids
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)], timeout=0.5)
        assert await one.run(small(store)) is not None
        assert one.pids != [pid]


async def test_an_item_that_takes_too_long_is_given_up(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path, seconds=0.5) as one:
        with pytest.raises(ItemFailed, match=r"longer than 0\.5 s"):
            await one.run(large(store))


async def test_an_item_that_needs_more_memory_than_there_is_fails(store: BlobStore, tmp_path: Path) -> None:
    # A compressed object of 40 MB that grows to two gigabytes.
    frames, pixels = 4000, np.zeros((512, 512), np.int16)
    source = image(pixels, NumberOfFrames=frames)
    described: dict[str, Any] = {
        "rows": 512,
        "columns": 512,
        "bits_allocated": 16,
        "bits_stored": 16,
        "number_of_frames": 1,
    }
    frame = get_encoder(RLELossless).encode(
        pixels,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        pixel_representation=1,
        **described,
    )
    source.add_new("PixelData", "OB", encapsulate([frame] * frames))
    source["PixelData"].is_undefined_length = True
    item = planned([store.blocking.put(encoded(source), RLELossless)], "mip", {})
    async with pool(tmp_path) as one:
        with pytest.raises(ItemFailed, match="more than the 64 MiB"):
            await one.run(item)
        assert await one.run(small(store)) is not None


async def test_a_pool_without_its_store_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreTrouble, match="can't be used"):
        async with Pool(Tools(f"file://{tmp_path}/file/blobs", 2**26, None), processes=1, seconds=9):
            pass


async def test_an_item_that_is_cancelled_frees_its_process_at_once(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path) as one:
        doing = asyncio.create_task(one.run(large(store)))
        await begun(one)
        doing.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await doing
        assert await one.run(small(store)) is not None
        assert time.monotonic() - start < 10
        assert not one.busy


async def test_an_item_that_is_not_wanted_any_more_is_not_begun(store: BlobStore, tmp_path: Path) -> None:
    async with pool(tmp_path) as one:
        assert await one.run(small(store), lambda: False) is None


async def test_a_budget_is_never_exceeded_and_is_given_in_order() -> None:
    budget = Budget(10)
    held, most, order = 0, 0, []

    async def take(name: int, count: int) -> None:
        nonlocal held, most
        async with budget.take(count) as taken:
            order.append(name)
            held += taken
            most = max(most, held)
            await asyncio.sleep(0.01)
            held -= taken

    await asyncio.gather(*(take(name, count) for name, count in enumerate([4, 4, 100, 1, 1, 9, 3])))
    assert most == 10
    assert order == list(range(7))


async def test_a_budget_comes_back_from_who_gives_up_waiting() -> None:
    budget = Budget(10)
    async with budget.take(10):
        waiting = asyncio.create_task(asyncio.wait_for(anext(iter_take(budget)), 0.05))
        with pytest.raises(TimeoutError):
            await waiting
    async with asyncio.timeout(1), budget.take(10) as taken:
        assert taken == 10


async def iter_take(budget: Budget) -> AsyncIterator[int]:
    async with budget.take(5) as taken:
        yield taken


def test_an_item_needs_its_input_and_a_result_of_twice_the_bits() -> None:
    native = Blob(digest="blake3:0", size=1000, transfer_syntax_uid=ExplicitVRLittleEndian)
    compressed = Blob(digest="blake3:1", size=1000, transfer_syntax_uid=JPEG2000)
    assert need(planned([native, native])) == 6000
    assert need(planned([compressed])) == 24000
    assert need(planned([native], "subtract", {}, masks=[native])) == 4000
