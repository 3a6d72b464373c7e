"""A service that plans and completes, with a log, catalogs that follow it, and whoever does the work."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.streams.processes import everything
from tests.streams.processing.requested import grant, registered

from medbus.blobs import BlobStore
from medbus.bus import Bus, Position, Record
from medbus.projections.database import Database
from medbus.projections.processing import ProcessingReader
from medbus.projections.projector import Projector
from medbus.schemas.events import (
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    Scope,
)
from medbus.schemas.topics import DECISIONS, IMAGES, PROCESSING, REQUESTS, WORK
from medbus.streams.processing.planning.inputs import Input
from medbus.streams.processing.planning.planner import Planner
from medbus.streams.processing.planning.service import Settings, run

ALL = (REQUESTS, DECISIONS, IMAGES, PROCESSING, WORK)


class Site:
    """The service, and what tests do with it."""

    def __init__(self, bus: Bus, database: Database, settings: Settings) -> None:
        self.bus = bus
        self.database = database
        self.settings = settings
        self.jobs = ProcessingReader(database)

    @asynccontextmanager
    async def planner(self) -> AsyncIterator[Planner]:
        """A planner to ask directly."""
        async with await BlobStore.open(self.settings.blobs) as blobs:
            yield Planner(self.bus, self.database, blobs)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Planning and completing, until the end of the block."""
        stop, ready = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(run(self.settings, stop=stop, ready=ready.set))
        waiting = asyncio.create_task(ready.wait())
        try:
            done, _ = await asyncio.wait((serving, waiting), timeout=30, return_when=asyncio.FIRST_COMPLETED)
            if serving in done:
                serving.result()
            assert waiting in done, "planning and completing were not ready after 30 s"
            yield
        finally:
            waiting.cancel()
            stop.set()
            async with asyncio.timeout(20):
                await serving

    async def register(self, images: Sequence[Input], *, patient: str = "P1") -> None:
        """Put images in the log."""
        await self.bus.publish_all([registered(each, patient=patient) for each in images])

    async def ask(self, request: ProcessingRequested, scope: Scope = Scope()) -> Record:  # noqa: B008
        """Ask for it, and let it be granted; returns the decision as it stands in the log."""
        await self.bus.publish(request)
        decision = grant(request, scope)
        position = await self.bus.publish(decision)
        async for batch in self.bus.replay(DECISIONS, since={position.partition: position.offset}):
            for record in batch:
                if record.position == position:
                    return record
        raise AssertionError(f"the decision is not at {position}")

    async def work(self, request: ProcessingRequested) -> list[ItemPlanned]:
        """The items that were planned for a request, all that there are in the log."""
        return [
            record.event
            for record in await everything(self.bus, WORK)
            if isinstance(record.event, ItemPlanned) and record.event.grant_id == request.request_id
        ]

    async def said(self, request: ProcessingRequested) -> list[Any]:
        """What the log says of its processing, in its order."""
        return [
            record.event
            for record in await everything(self.bus, PROCESSING)
            if getattr(record.event, "grant_id", None) == request.request_id
        ]

    async def begun(self, request: ProcessingRequested) -> ProcessingStarted | ProcessingFailed:
        """Wait until it is planned, or failed as a whole."""
        async for said in self._looks(request, "begun"):
            for each in said:
                if isinstance(each, ProcessingFailed) and each.item is None:
                    return each
                # The items are written at the same time, not all or nothing.
                if isinstance(each, ProcessingStarted) and await self._items(request) >= each.items:
                    return each
        raise AssertionError("unreachable")

    async def completed(self, request: ProcessingRequested) -> ProcessingCompleted:
        """Wait until it is completed."""
        async for said in self._looks(request, "completed"):
            for each in said:
                if isinstance(each, ProcessingCompleted):
                    return each
        raise AssertionError("unreachable")

    async def _items(self, request: ProcessingRequested) -> int:
        said = [*await self.work(request), *await self.said(request)]
        return len({each.item for each in said if getattr(each, "item", None) is not None})

    async def _looks(self, request: ProcessingRequested, what: str) -> AsyncIterator[list[Any]]:
        """What the log says of a request, again and again."""
        deadline = asyncio.get_running_loop().time() + 30
        while True:
            said = await self.said(request)
            yield said
            if asyncio.get_running_loop().time() > deadline:
                names = [type(each).__name__ for each in said]
                raise AssertionError(f"{request.processing_type} not {what} after 30 s, but {names}")
            await asyncio.sleep(0.05)

    async def do(self, items: Sequence[ItemPlanned], server: str = "500-1") -> list[Event]:
        """Do work: each item takes 10 ms and has one result, which is its input."""
        events: list[Event] = []
        for item in items:
            events += [
                ImageProcessed(
                    meta=item.meta.caused("result:0", source=server, occurred_at=item.meta.occurred_at),
                    grant_id=item.grant_id,
                    subscriber=item.subscriber,
                    item=item.item,
                    number=0,
                    processing_type=item.processing_type,
                    description="smoothed",
                    study_instance_uid="1",
                    series_instance_uid="2.25.1",
                    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                    sop_instance_uid=f"2.25.1.{item.item}",
                    blob=item.images[0],
                ),
                ItemProcessed(
                    meta=item.meta.caused("processed", source=server, occurred_at=item.meta.occurred_at),
                    grant_id=item.grant_id,
                    subscriber=item.subscriber,
                    item=item.item,
                    identity=item.identity,
                    server=server,
                    images=len(item.images),
                    bytes=sum(each.size for each in item.images),
                    milliseconds=10,
                    results=1,
                    findings=("uneven spacing",),
                ),
            ]
        await self.bus.publish_all(events)
        return events

    async def abreast(self) -> None:
        """Wait until the catalogs show all that the log has."""
        for partition, end in (await self.bus.end_offsets(*ALL)).items():
            if end:
                assert await self.database.reached(Position(partition, end - 1), 20), (
                    "the catalogs lag behind"
                )


@asynccontextmanager
async def site(bus: Bus, folder: Path) -> AsyncIterator[Site]:
    """A site whose catalogs follow the log."""
    url = f"sqlite+aiosqlite:///{folder / 'catalog.sqlite'}"
    blobs = f"file://{folder / 'blobs'}"
    async with await BlobStore.open(blobs):
        pass
    settings = Settings(bootstrap=bus.bootstrap, prefix=bus.prefix, database=url, blobs=blobs)
    stop = asyncio.Event()
    async with Database(url, writer=True) as writer, Database(url) as database:
        projector = Projector(bus, writer)
        await projector.catch_up()
        following = asyncio.create_task(projector.run(stop))
        try:
            yield Site(bus, database, settings)
        finally:
            stop.set()
            await following
