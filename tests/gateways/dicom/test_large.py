"""Objects far larger than the memory that may be used for them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, ct, encode
from tests.gateways.site import Site

from medbus.gateways.dicom.client import fetch
from medbus.gateways.dicom.client.files import open_file
from medbus.gateways.dicom.outgoing import Outgoing
from medbus.gateways.dicom.status import SUCCESS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

MIB = 1024 * 1024
PIXELS = 256 * MIB
ALLOWED = 96 * MIB
"""For gateway and client together, which are in this process."""


@asynccontextmanager
async def watched() -> AsyncIterator[list[int]]:
    """How many bytes of memory this process has, time and again, beyond what it had at first."""
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    seen = [0]

    async def watch() -> None:
        while True:
            seen.append(process.memory_info().rss - before)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()


async def test_a_large_object_needs_little_memory_on_both_ways(served: Site, tmp_path: Path) -> None:
    image = ct(Rows=1024, Columns=1024, NumberOfFrames=str(PIXELS // (2 * MIB)), PixelData=b"")
    head = encode(image)
    # The element's length, then as many pixels: (7FE0,0010) OW, reserved, length.
    head = head[:-4] + PIXELS.to_bytes(4, "little")
    piece = os.urandom(MIB)

    def content() -> Iterator[bytes]:
        yield head
        for _ in range(PIXELS // MIB):
            yield piece

    sent = Outgoing(
        sop_class_uid=CT_IMAGE_STORAGE,
        sop_instance_uid=str(image.SOPInstanceUID),
        transfer_syntax_uid=EXPLICIT,
        size=len(head) + PIXELS,
        content=content,
    )
    async with watched() as seen:
        assert await served.store(sent) == [SUCCESS]
    assert max(seen) < ALLOWED, f"{max(seen) // MIB} MiB to store {PIXELS // MIB}"

    await served.settled()
    async with watched() as seen:
        [fetched] = await fetch(served.peer(), tmp_path, sop_instance_uid=sent.sop_instance_uid)
    assert max(seen) < ALLOWED, f"{max(seen) // MIB} MiB to fetch {PIXELS // MIB}"
    assert fetched.path is not None
    assert fetched.size == sent.size
    file = await asyncio.to_thread(open_file, fetched.path)
    stored = await served.images.image(sent.sop_instance_uid)
    assert stored is not None
    chunks = file.chunks()
    first = next(chunks)
    assert first[: len(head)] == head
    assert len(first) + sum(map(len, chunks)) == sent.size
