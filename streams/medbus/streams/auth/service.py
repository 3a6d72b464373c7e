"""The auth processor put together: requests in, decisions out."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from medbus.bus import Bus, Record
from medbus.projections.database import Database
from medbus.schemas.events import Event, Request, Value
from medbus.schemas.topics import REQUESTS
from medbus.streams import worker
from medbus.streams.auth.decider import NAME, decide
from medbus.streams.auth.lookup import GRANT_LIFETIME, Lookup
from medbus.streams.auth.undecidable import refuse
from medbus.streams.processor import Processor


class Settings(Value):
    """What an auth worker needs to know.

    Attributes:
        bootstrap: HOST:PORT of the Kafka brokers.
        prefix: the installation's.
        database: URL of the catalogs.
        member: identity of this worker among the auth workers, kept over a restart; see `application`.
        grant_lifetime: how long a grant is good for.
    """

    bootstrap: str
    prefix: str
    database: str
    member: str | None = None
    grant_lifetime: timedelta = GRANT_LIFETIME


def processor(lookup: Lookup) -> Processor:
    """The auth processor. Tries are few and short: somebody waits for the answer."""

    async def handle(record: Record) -> Sequence[Event]:
        request = record.event
        return (decide(await lookup.facts(request), request),) if isinstance(request, Request) else ()

    return Processor(
        name=NAME,
        topics=(REQUESTS,),
        handle=handle,
        refuse=refuse,
        delays=(0.05, 0.25, 1.0),
        stall_seconds=20.0,
    )


async def run(settings: Settings, *, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Decide until told to stop.

    Args:
        settings: of this worker.
        stop: ends it when it is set.
        ready: called when it has joined the auth workers.

    Raises:
        MedbusError: it can't go on, see `worker.run`.
    """
    async with (
        Database(settings.database) as database,
        Bus(settings.bootstrap, client_id=settings.member or NAME, prefix=settings.prefix) as bus,
    ):
        lookup = Lookup(database, settings.grant_lifetime)
        await worker.run(processor(lookup), bus, stop=stop, member=settings.member, ready=ready)


def main(settings: Settings) -> int:
    """Run a worker as the main of a process until SIGTERM or SIGINT; returns the exit code."""

    async def serve() -> None:
        await run(settings, stop=worker.stop_on_signals())

    return worker.main(serve())
