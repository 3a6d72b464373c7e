"""From pynetdicom's threads to the event loop and back."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")

_LOOK = 0.5
"""Seconds between looks at whether the peer is still there."""


class Gone(Exception):
    """The peer left, or the gateway stops, while work for it was under way; the work was cancelled."""


class Bridge:
    """Runs coroutines on an event loop for other threads.

    Args:
        loop: the loop; it runs in another thread than the callers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def call(
        self,
        work: Coroutine[Any, Any, T],
        *,
        alive: Callable[[], bool] = lambda: True,
        timeout: float | None = None,
    ) -> T:
        """Run `work` on the loop and wait for it.

        Args:
            work: what to do.
            alive: asked from time to time; once it says no, the work is cancelled.
            timeout: seconds after which the work is cancelled.

        Raises:
            Gone: nobody waits for the result any more.
            TimeoutError: it took too long.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError as error:  # the loop is closed
            work.close()
            raise Gone from error
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            wait = _LOOK if end is None else min(_LOOK, max(end - time.monotonic(), 0))
            try:
                return future.result(wait)
            except TimeoutError:
                if future.done():  # the work itself raised it
                    raise
            except CancelledError as error:
                raise Gone from error
            if not alive():
                future.cancel()
                raise Gone
            if end is not None and time.monotonic() >= end:
                future.cancel()
                raise TimeoutError
