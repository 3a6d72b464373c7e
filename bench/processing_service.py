"""How many CT slices processing servers smooth and store in a second, on a broker of its own."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from bench.figure import Figure
from bench.stage import Stage
from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.bus.admin import create_topics
from medbus.compose.kafka import EmbeddedKafka
from medbus.projections.database import Database
from medbus.projections.projector import Projector
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Blob, ImageProcessed, ItemPlanned, ItemProcessed, Meta
from medbus.schemas.topics import PROCESSING
from medbus.streams.processing.asked import asked

SLICES = 200
JOIN_SECONDS = 60.0
SLICE_SECONDS = 1.0
"""Servers that take longer for a slice have failed."""

SYNTAX = "1.2.840.10008.1.2.1"

SERVER = """
import sys
from asyncio import run
from medbus.streams import log, worker
from medbus.streams.processing.serving import service as serving
async def serve():
    bootstrap, prefix, database, blobs, name = sys.argv[1:]
    settings = serving.Settings(
        bootstrap=bootstrap, prefix=prefix, database=database, blobs=blobs, name=name, cores=1
    )
    ready = lambda: print("ready", flush=True)
    await serving.run(settings, stop=worker.stop_on_signals(), ready=ready)
log.configure()
run(serve())
"""


class ServerFailed(MedbusError):
    """A processing server did not do its work."""


def processing_service(stage: Stage) -> Iterator[Figure]:
    """CT slices smoothed and stored in a second, by one and by two processing servers of one core."""
    runs = asyncio.run(_measure(stage))
    for servers, rates in runs.items():
        name = f"processing-service/{servers}-server{'s' if servers > 1 else ''}/images"
        yield Figure(name=name, unit="images/s", values=rates)


async def _measure(stage: Stage) -> dict[int, list[float]]:
    stage.say("starting a broker")
    folder = stage.new_folder("processing-service")
    url = f"file://{folder}/blobs"
    async with EmbeddedKafka(folder / "kafka") as kafka, await BlobStore.open(url) as store:
        blobs = [await store.put(each.data_set(), SYNTAX) for each in stage.study()[:SLICES]]
        runs: dict[int, list[float]] = {1: [], 2: []}
        for number in range(stage.repetitions):
            for servers, rates in runs.items():
                stage.say(f"smoothing {len(blobs)} slices with {servers} server{'s' if servers > 1 else ''}")
                prefix = f"processing-{number}-{servers}"
                rates.append(await _process(kafka.bootstrap, prefix, folder, blobs, servers))
        return runs


async def _process(bootstrap: str, prefix: str, folder: Path, blobs: list[Blob], servers: int) -> float:
    await create_topics(bootstrap, prefix)
    catalog = f"sqlite+aiosqlite:///{folder}/{prefix}.sqlite"
    log = folder / f"{prefix}.log"
    async with Bus(bootstrap, client_id="bench", prefix=prefix) as bus, AsyncExitStack() as stack:
        async with Database(catalog, writer=True) as database:
            await Projector(bus, database).catch_up()
        arguments = [bus.bootstrap, prefix, catalog, f"file://{folder}/blobs"]
        running = [
            await stack.enter_async_context(_server([*arguments, f"bench-{number}"], log))
            for number in range(servers)
        ]
        # The first item of a server loads what decodes and encodes.
        await _until(bus, running, await _plan(bus, blobs[: 4 * servers]), log)
        items = await _plan(bus, blobs)
        start = time.time()
        return len(items) / (await _until(bus, running, items, log) - start)


async def _plan(bus: Bus, blobs: list[Blob]) -> list[ItemPlanned]:
    """Write an item for each slice; dates are new, so every result is."""
    request_id = uuid4()
    head = Meta.first(request_id, source="bench", occurred_at=datetime.now(UTC))
    request = asked("gaussian", {"sigma": "1.5"})
    items = [
        ItemPlanned(
            meta=head.caused(f"item:{number}", source="bench", occurred_at=head.occurred_at),
            grant_id=request_id,
            subscriber="bench",
            item=number,
            slot=number,
            identity=f"bench:{number}",
            processing_type=request.operation.name,
            version=request.operation.version,
            parameters=request.written,
            images=(blob,),
        )
        for number, blob in enumerate(blobs)
    ]
    await bus.publish_all(items)
    return items


async def _until(bus: Bus, servers: list[Process], items: list[ItemPlanned], log: Path) -> float:
    """Wait until all are done; when the log had the last event, in seconds since 1970."""
    deadline = time.monotonic() + 30 + SLICE_SECONDS * len(items)
    since = await bus.first_offsets(PROCESSING)
    results, done, last = 0, 0, 0.0
    while done < len(items):
        if any(each.returncode is not None for each in servers) or time.monotonic() > deadline:
            raise ServerFailed(f"{done} of {len(items)} items were done, then no more: {_end(log)}")
        await asyncio.sleep(0.1)
        end = await bus.end_offsets(PROCESSING)
        async for batch in bus.replay(PROCESSING, since=since, until=end):
            mine = [each for each in batch if getattr(each.event, "grant_id", None) == items[0].grant_id]
            results += sum(isinstance(each.event, ImageProcessed) for each in mine)
            done += sum(isinstance(each.event, ItemProcessed) for each in mine)
            last = max((last, *(each.timestamp.timestamp() for each in mine)))
        since = end
    assert results == done == len(items), f"{results} results of {done} items"
    return last


@asynccontextmanager
async def _server(arguments: list[str], log: Path) -> AsyncIterator[Process]:
    """A processing server that has just joined its groups."""
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, *arguments, stdout=PIPE, stderr=said
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(JOIN_SECONDS):
            if await process.stdout.readline() != b"ready\n":
                raise ServerFailed(f"A processing server did not start: {_end(log)}")
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:]
