"""A processing server put together: its pool, its two places in consumer groups, and what it says at its
start."""

import asyncio
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from medbus.bus import Bus
from medbus.projections.database import Database
from medbus.projections.processing import ProcessingReader
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import Meta, ServerStarted, Value
from medbus.streams import watchdog, worker
from medbus.streams.application import SETTINGS
from medbus.streams.processing.serving.cancellations import Cancellations
from medbus.streams.processing.serving.outcome import NAME
from medbus.streams.processing.serving.pool import Pool
from medbus.streams.processing.serving.server import BATCH, Server
from medbus.streams.processing.serving.workshop import Tools

MEMORY: Final = 512 * 1024**2
"""Bytes for pixels. With two processes of some 130 MiB each, and the server itself, it stays under 1 GiB."""

LEAST_MEMORY: Final = 16 * 1024**2

ITEM_SECONDS: Final = 1200.0

MOST_SECONDS: Final = float(SETTINGS["broker_max_poll_interval"]) / BATCH
"""For an item: while a batch is done nothing may be fetched, and after the poll interval a member is put out
of its group."""

STALL: Final = 4
"""A partition stands still for as long as a batch takes, and for the batches of other partitions that come
before it: so many times what an item may take. A server that is ended without need is started again, and
repeats the items it was doing."""

BLOCKED_SECONDS: Final = 60.0
"""The event loop itself never waits for pixels."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class Settings(Value):
    """What a processing server needs to know.

    Attributes:
        bootstrap: HOST:PORT of the Kafka brokers.
        prefix: the installation's.
        database: URL of the catalogs.
        blobs: URL of the blob store.
        name: of the server, unlike that of any other one; items can be pinned to it.
        member: identity of this server among all of them, kept over a restart; see `application`.
        cores: how many items are done at once; None: as many as there are processors.
        memory: bytes for the pixels of all items that are done at once.
        folder: for pixels beyond that; it should be on a disk. None for the system's temporary folder.
        item_seconds: after which an item is given up.
    """

    bootstrap: str
    prefix: str
    database: str
    blobs: str
    name: str
    member: str | None = None
    cores: int | None = None
    memory: int = MEMORY
    folder: str | None = None
    item_seconds: float = ITEM_SECONDS


async def run(settings: Settings, *, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Process until told to stop. What is being done then is given up, and done by whoever has it next.

    Args:
        settings: of this server.
        stop: ends it when it is set.
        ready: called when it has joined both of its groups.

    Raises:
        SettingsError: a setting is wrong.
        MedbusError: it can't go on, see `worker.run`.
    """
    processes = _checked(settings)
    tools = Tools(settings.blobs, settings.memory, None if settings.folder is None else Path(settings.folder))
    cancellations = Cancellations()
    joined = 0

    def join() -> None:
        nonlocal joined
        joined += 1
        if joined == 2:
            ready()

    async with (
        Database(settings.database) as database,
        Bus(settings.bootstrap, client_id=f"{NAME}-{settings.name}", prefix=settings.prefix) as bus,
        Pool(tools, processes=processes, seconds=settings.item_seconds) as pool,
    ):
        server = Server(
            settings.name,
            pool,
            processes=processes,
            catalog=ProcessingReader(database),
            cancellations=cancellations,
            stall_seconds=STALL * settings.item_seconds,
        )
        await bus.publish(
            ServerStarted(
                meta=Meta.first(uuid4(), source=NAME, occurred_at=datetime.now(UTC)),
                server=settings.name,
                cores=processes,
            )
        )
        with watchdog.unblocked(BLOCKED_SECONDS):
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(cancellations.follow(bus), name="cancellations")
                working = [
                    tasks.create_task(
                        worker.run(
                            server.processor(pinned=False), bus, stop=stop, member=settings.member, ready=join
                        ),
                        name="shared",
                    ),
                    tasks.create_task(
                        worker.run(server.processor(pinned=True), bus, stop=stop, ready=join), name="pinned"
                    ),
                ]
                await asyncio.wait(working)
                following.cancel()


def _checked(settings: Settings) -> int:
    """How many processes the pool has."""
    if not _NAME.fullmatch(settings.name):
        raise SettingsError(
            f"{settings.name!r} is no name for a processing server.",
            "Use up to 64 letters, digits, dots, hyphens and underscores, a letter or digit first.",
        )
    if settings.memory < LEAST_MEMORY:
        raise SettingsError(
            f"{settings.memory} bytes are too few for pixels.", f"Give it {LEAST_MEMORY} or more."
        )
    if not 0 < settings.item_seconds < MOST_SECONDS:
        raise SettingsError(
            f"An item can't take {settings.item_seconds:g} s.", f"Give it less than {MOST_SECONDS:g} s."
        )
    if settings.folder is not None and not Path(settings.folder).is_dir():
        raise SettingsError(f"There is no folder {settings.folder}.", "Make it, or name another one.")
    if settings.cores is None:
        return len(os.sched_getaffinity(0))
    if settings.cores < 1:
        raise SettingsError(f"A server can't have {settings.cores} cores.", "Give it 1 or more.")
    return settings.cores


def main(settings: Settings) -> int:
    """Run a server as the main of a process until SIGTERM or SIGINT; returns the exit code."""

    async def serve() -> None:
        await run(settings, stop=worker.stop_on_signals())

    return worker.main(serve())
