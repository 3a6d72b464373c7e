"""A projector in this process, while a test runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from medbus.bus import Bus
from medbus.projections.database import Database
from medbus.projections.projector import Projector


@asynccontextmanager
async def following(bus: Bus, url: str) -> AsyncIterator[None]:
    """Keep the catalogs up to date; they are when this is entered."""
    async with Database(url, writer=True) as writer:
        projector = Projector(bus, writer)
        await projector.catch_up()
        stop = asyncio.Event()
        running = asyncio.create_task(projector.run(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait((running,), timeout=20)
