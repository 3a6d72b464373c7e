"""Every test of the bus client leaves nothing behind: no task, no open connection, no unseen error."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """After the test, look for what was not closed."""
    loop = asyncio.get_running_loop()
    troubles: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # aiokafka itself, where the sender of an idempotent producer dies: it looks for a transaction.
        if "Sender._fail_all" in context["message"]:
            return
        troubles.append(f"{context['message']} {context.get('exception') or ''}".strip())

    loop.set_exception_handler(note)
    yield
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    tasks = [task.get_coro() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not tasks, f"tasks go on: {tasks}"
    assert not troubles, f"the event loop was told of: {troubles}"
