"""Planning and completing put together: decisions in, work items out; items done in, completions out."""

import asyncio
from collections.abc import Callable

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.projections.database import Database
from medbus.schemas.events import Value
from medbus.streams import worker
from medbus.streams.processing.planning import completer, planner
from medbus.streams.processing.planning.completer import Completer
from medbus.streams.processing.planning.plan import NAME
from medbus.streams.processing.planning.planner import Planner


class Settings(Value):
    """What planning and completing need to know.

    Attributes:
        bootstrap: HOST:PORT of the Kafka brokers.
        prefix: the installation's.
        database: URL of the catalogs.
        blobs: URL of the blob store: the headers of enclosed images are read.
        member: identity of this process among those that do the same, kept over a restart; see `application`.
    """

    bootstrap: str
    prefix: str
    database: str
    blobs: str
    member: str | None = None


async def run(settings: Settings, *, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Plan and complete until told to stop. Another process may do the same beside this one.

    Args:
        settings: of this process.
        stop: ends it when it is set.
        ready: called when it has joined both groups.

    Raises:
        ExceptionGroup: one of the two can't go on, see `worker.run`; the other has been ended.
    """
    joined: set[str] = set()

    def join(name: str) -> Callable[[], None]:
        def note() -> None:
            joined.add(name)
            if len(joined) == 2:
                ready()

        return note

    async with (
        Database(settings.database) as database,
        await BlobStore.open(settings.blobs) as blobs,
        Bus(settings.bootstrap, client_id=settings.member or NAME, prefix=settings.prefix) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        for each in (
            planner.processor(Planner(bus, database, blobs)),
            completer.processor(Completer(database)),
        ):
            running = worker.run(each, bus, stop=stop, member=settings.member, ready=join(each.name))
            tasks.create_task(running, name=each.name)


def main(settings: Settings) -> int:
    """Run as the main of a process until SIGTERM or SIGINT; returns the exit code."""

    async def serve() -> None:
        await run(settings, stop=worker.stop_on_signals())

    return worker.main(serve())
