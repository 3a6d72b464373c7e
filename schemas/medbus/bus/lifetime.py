"""Starting and stopping aiokafka's clients, so that nothing of them stays behind, even if it is cancelled."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from medbus.bus import settings

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


async def start(start: Work, stop: Work) -> None:
    """Start a client; one that can't start is stopped.

    If this is cancelled, the client has a moment to come through its first request: cancelled in the midst of
    it, it would leave a connection open.
    """
    starting = asyncio.ensure_future(start())
    try:
        await asyncio.shield(starting)
    except BaseException:
        await ended(starting, settings.CANCEL_SECONDS)
        await stopped(stop)
        raise


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer.

    While the broker is away, aiokafka's own `stop` ends half-way: it stumbles over a fetch that it cancelled
    in its pause. The rest of its work is done here.
    """
    await stopped(consumer.stop)
    for task in list(consumer._fetcher._pending_tasks) if consumer._fetcher else ():
        task.cancel()
        await ended(task, settings.CANCEL_SECONDS)
    await stopped(consumer._client.close)


async def stopped(stop: Work) -> None:
    """Stop a client, however broken it is, within a bounded time."""
    stopping = asyncio.ensure_future(stop())
    try:
        await asyncio.wait([stopping], timeout=settings.CLOSE_SECONDS)
    finally:  # also if cancelled
        await ended(stopping, settings.CANCEL_SECONDS)


async def ended(task: "asyncio.Future[Any]", seconds: float) -> None:
    """Wait for a task, cancel it if that takes too long, and make nothing of how it ended."""
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=seconds)
    if task.done() and not task.cancelled() and (error := task.exception()):
        log.log(logging.DEBUG if isinstance(error, KafkaError) else logging.WARNING, "a client: %r", error)
