"""Deadlines that say what was waited for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from medbus.bus import Record, Subscription


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Fail if what is done inside takes longer."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AssertionError(f"waited {seconds:g} s in vain for {what}") from error


async def take(subscription: Subscription, count: int, seconds: float = 10.0) -> list[Record]:
    """The next `count` records; fails if more come with the last of them."""
    records: list[Record] = []
    async with within(seconds, f"{count} records"):
        while len(records) < count:
            records += await anext(subscription)
    assert len(records) == count
    return records


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    """Poll until something holds."""
    async with within(seconds, what):
        while not await condition():  # noqa: ASYNC110  others change what is polled
            await asyncio.sleep(0.05)
