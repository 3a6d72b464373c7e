"""Waiting until the catalogs show what is in the log."""

import asyncio
from collections.abc import Mapping

from medbus.bus import Partition
from medbus.projections.database import FIRST_WAIT, LONGEST_WAIT, Database

PATIENCE_SECONDS = 120.0
"""How long the catalogs may lag behind; then what was to be done is tried again."""


async def abreast(
    database: Database, offsets: Mapping[Partition, int], patience: float = PATIENCE_SECONDS
) -> None:
    """Wait until the catalogs have everything before these offsets.

    Raises:
        TimeoutError: they lag behind for longer than `patience` seconds.
    """
    wait = FIRST_WAIT
    try:
        async with asyncio.timeout(patience):
            while True:
                there = await database.positions()
                if all(there.get(partition, 0) >= offset for partition, offset in offsets.items()):
                    return
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, LONGEST_WAIT)
    except TimeoutError:
        raise TimeoutError(f"The catalogs lag behind the log for {patience:g} s.") from None
