"""The billing processor put together: billable events in, fees out."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from medbus.bus import Bus, Record
from medbus.projections.database import Database
from medbus.schemas.events import Event, Value
from medbus.streams import worker
from medbus.streams.billing.charging import BILLABLE, fees
from medbus.streams.billing.closing import PeriodService
from medbus.streams.billing.fee import NAME
from medbus.streams.billing.history import History
from medbus.streams.processor import Processor

BATCH = 1000
"""Records that are billed together at most: for each batch the book is brought up to date once."""

LINGER_SECONDS = 0.25
"""What comes meanwhile is billed together."""


class Settings(Value):
    """What a billing worker needs to know.

    Attributes:
        bootstrap: HOST:PORT of the Kafka brokers.
        prefix: the installation's.
        member: identity of this worker among the billing workers, kept over a restart; see `application`.
        database: URL of the catalogs, for a worker that closes periods as well.
        period: how long those are, one of `period.UNITS`; None: it closes none.
    """

    bootstrap: str
    prefix: str
    member: str | None = None
    database: str | None = None
    period: str | None = None


def processor(history: History) -> Processor:
    """The billing processor."""

    async def prepare(records: Sequence[Record]) -> None:
        # What was recorded before these events is in the log by now: they came out of it.
        await history.refresh()

    async def handle(record: Record) -> Sequence[Event]:
        return fees(history.book, record)

    return Processor(
        name=NAME,
        topics=BILLABLE,
        prepare=prepare,
        handle=handle,
        batch=BATCH,
        # One batch is written at a time: no fee changes places with another of its subscriber.
        in_flight=BATCH,
        buffer=2 * BATCH,
        linger=LINGER_SECONDS,
    )


async def run(settings: Settings, *, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Bill, and close periods, until told to stop.

    Args:
        settings: of this worker.
        stop: ends it when it is set.
        ready: called when it has joined the billing workers.

    Raises:
        MedbusError: it can't go on, see `worker.run`.
    """
    async with Bus(settings.bootstrap, client_id=settings.member or NAME, prefix=settings.prefix) as bus:
        billing = worker.run(processor(History(bus)), bus, stop=stop, member=settings.member, ready=ready)
        if settings.database is None or settings.period is None:
            await billing
            return
        async with Database(settings.database) as database, asyncio.TaskGroup() as tasks:
            tasks.create_task(billing, name="billing")
            closing = PeriodService(bus, database).run(settings.period, stop=stop, clock=utc_now)
            tasks.create_task(closing, name="periods")


def utc_now() -> datetime:
    """The clock at the rim."""
    return datetime.now(UTC)


def main(settings: Settings) -> int:
    """Run a worker as the main of a process until SIGTERM or SIGINT; returns the exit code."""

    async def serve() -> None:
        await run(settings, stop=worker.stop_on_signals())

    return worker.main(serve())
