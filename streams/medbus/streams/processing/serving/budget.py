"""Memory that is shared among what is done at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """So many bytes, in the order in which they are asked for: whoever wants much is not overtaken for ever.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = self._left = total
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[int]:
        """Wait for so many bytes, or for all of them if there are not as many; yields how many they are."""
        taken = min(count, self.total)
        async with self._turn:
            while self._left < taken:
                self._given_back.clear()
                await self._given_back.wait()
            self._left -= taken
        try:
            yield taken
        finally:
            self._left += taken
            self._given_back.set()
