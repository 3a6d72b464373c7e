"""How many billable events one billing worker takes in a second, fees written, on a broker of its own."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from bench.figure import Figure, Target
from bench.process import cpu_seconds
from bench.slice import uid
from bench.stage import Stage
from medbus.bus import Bus
from medbus.bus.admin import create_topics
from medbus.compose.kafka import EmbeddedKafka
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Channel, FeeCharged, FeeKind, ImageDelivered, Meta, Price, Role, Terms
from medbus.schemas.topics import DELIVERIES, FEES
from medbus.streams.contracts.commands import Contract
from medbus.streams.contracts.service import ContractService
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.service import TariffService

TARGET = Target(5_000, at_most=False)
SUBSCRIBERS = 40
STUDY_IMAGES = 400
"""So many images of a study are delivered one after the other, in one conversation."""

TARIFF = "bench"
WRITE_BATCH = 2_000
JOIN_SECONDS = 60.0
EVENT_SECONDS = 0.002
"""A worker that takes longer for an event has failed."""

_BEGIN = datetime(2026, 1, 7, 10, 15, tzinfo=UTC)

WORKER = """
import sys
from asyncio import run
from medbus.streams import log, worker
from medbus.streams.billing import service
async def serve():
    settings = service.Settings(bootstrap=sys.argv[1], prefix=sys.argv[2])
    ready = lambda: print("ready", flush=True)
    await service.run(settings, stop=worker.stop_on_signals(), ready=ready)
log.configure()
run(serve())
"""


class WorkerFailed(MedbusError):
    """The billing worker did not do its work."""


class Run(NamedTuple):
    """What one worker did.

    Attributes:
        rate: events in a second, from the first one to the last fee that is safely in the log.
        cpu: of the worker for an event, in microseconds.
    """

    rate: float
    cpu: float


def billing(stage: Stage) -> Iterator[Figure]:
    """Billable events a second and the CPU for each, one billing worker."""
    runs = asyncio.run(_measure(stage))
    yield Figure(name="billing/events", unit="events/s", values=[run.rate for run in runs], target=TARGET)
    yield Figure(name="billing/cpu", unit="us/event", values=[run.cpu for run in runs])


def deliveries(count: int) -> Iterator[ImageDelivered]:
    """Events of so many images that were delivered to several subscribers in turn."""
    for number in range(count):
        study = number // STUDY_IMAGES
        subscriber = f"bench-{study % SUBSCRIBERS}"
        grant_id = uuid5(NAMESPACE_OID, f"bench/grant/{study}")
        yield ImageDelivered(
            meta=Meta.first(
                uuid5(grant_id, str(number)),
                source="bench",
                occurred_at=_BEGIN + timedelta(milliseconds=number),
                actor=subscriber,
                conversation=grant_id,
            ),
            grant_id=grant_id,
            subscriber=subscriber,
            channel=Channel.C_GET,
            destination="BENCH",
            study_instance_uid=uid(f"delivered/{study}"),
            sop_instance_uid=uid(f"delivered/{study}/{number}"),
            digest=f"blake3:{number:064x}",
            size=526_252,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        )


async def _measure(stage: Stage) -> list[Run]:
    stage.say("starting a broker")
    async with EmbeddedKafka(stage.new_folder("billing")) as kafka:
        return [
            await _bill(stage, kafka.bootstrap, f"billing-{number}") for number in range(stage.repetitions)
        ]


async def _bill(stage: Stage, bootstrap: str, prefix: str) -> Run:
    count = stage.size.events
    await create_topics(bootstrap, prefix)
    async with Bus(bootstrap, client_id="bench", prefix=prefix) as bus:
        await _contracts(bus)
        stage.say(f"writing {count:,} deliveries")
        events = deliveries(count)
        while batch := list(islice(events, WRITE_BATCH)):
            await bus.publish_all(batch)
        stage.say(f"billing {count:,} deliveries")
        log = stage.folder / f"{prefix}.log"
        async with _worker(bus, log) as worker:
            start, before = time.time(), cpu_seconds(worker.pid)
            await _until(bus, worker, count, log)
            cpu = cpu_seconds(worker.pid) - before
        end = await _verified(bus, count)
    return Run(rate=count / (end - start), cpu=cpu / count * 1e6)


async def _contracts(bus: Bus) -> None:
    """Contracts and what an image costs. They are in force for what is recorded after them."""
    now = datetime.now(UTC)
    price = Price(kind=FeeKind.DELIVERY, price="0.05", per=1)
    tariff = SetTariff(
        command_id=uuid4(), at=now, source="bench", tariff=TARIFF, currency="EUR", prices=(price,)
    )
    await TariffService(bus).handle(tariff)
    contracts = ContractService(bus)
    for number in range(SUBSCRIBERS):
        name = f"bench-{number}"
        terms = Terms(name=name, roles=(Role.IMAGE_RECEIVING,), tariff=TARIFF)
        contract = Contract(command_id=uuid4(), at=now, source="bench", subscriber=name, terms=terms)
        await contracts.handle(contract)
    await asyncio.sleep(0.01)  # the log counts in milliseconds


@asynccontextmanager
async def _worker(bus: Bus, log: Path) -> AsyncIterator[Process]:
    """A billing worker that has just joined its group."""
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, bus.bootstrap, bus.prefix, stdout=PIPE, stderr=said
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(JOIN_SECONDS):
            if await process.stdout.readline() != b"ready\n":
                raise WorkerFailed(f"The billing worker did not start: {_end(log)}")
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until(bus: Bus, worker: Process, count: int, log: Path) -> None:
    """Wait until there are so many fees; asking for the end of the log costs next to nothing."""
    deadline = time.monotonic() + 10 + count * EVENT_SECONDS
    while (charged := sum((await bus.end_offsets(FEES)).values())) < count:
        if worker.returncode is not None or time.monotonic() > deadline:
            raise WorkerFailed(f"{charged:,} of {count:,} events were billed, then no more: {_end(log)}")
        await asyncio.sleep(0.05)


async def _verified(bus: Bus, count: int) -> float:
    """When the log had the last fee, in seconds since 1970; each event was billed once."""
    fees: set[UUID] = set()
    causes: set[UUID | None] = set()
    last = _BEGIN
    async for batch in bus.replay(FEES):
        for record in batch:
            assert isinstance(record.event, FeeCharged), record
            fees.add(record.event.meta.event_id)
            causes.add(record.event.meta.cause_id)
            last = max(last, record.timestamp)
    assert len(fees) == len(causes) == count, f"{len(fees)} fees of {count} events"
    assert sum((await bus.end_offsets(DELIVERIES)).values()) == count
    return last.timestamp()


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:]
