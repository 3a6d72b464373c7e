"""A service around the process that gives out results: real Kafka, real catalogs, real files.

Requests are done by nobody: `completed` puts on the log what planner, servers and completer would.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydicom.dataset import Dataset
from tests.gateways.dicom.encoded import EXPLICIT, encode
from tests.gateways.following import following

from medbus.blobs import BlobStore
from medbus.bus import Bus, Position
from medbus.bus.admin import create_topics
from medbus.gateways.results.service import run
from medbus.gateways.results.settings import Settings
from medbus.projections.database import Database
from medbus.projections.images import ImageReader
from medbus.projections.processing import ProcessingReader
from medbus.schemas import webhook
from medbus.schemas.events import (
    Answer,
    Apparatus,
    Blob,
    ContractCancelled,
    DeliveryFailed,
    Event,
    Evidence,
    ImageDelivered,
    ImageProcessed,
    ItemProcessed,
    Keep,
    Meta,
    ProcessingCompleted,
    ProcessingRequested,
    ProcessingStarted,
    RequestAuthorized,
    ResultsAnswered,
    ResultsKept,
    Role,
    Scope,
    Selection,
    SubscriberContracted,
    Terms,
)
from medbus.schemas.topics import TOPIC_OF

E = TypeVar("E", bound=Event)
T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""


@dataclass
class Office:
    """Everything that runs."""

    bus: Bus
    database: Database
    blobs: BlobStore
    settings: Settings

    @property
    def images(self) -> ImageReader:
        return ImageReader(self.database)

    @asynccontextmanager
    async def results(self, **changes: Any) -> AsyncIterator[None]:
        """The process that gives out results, in this one."""
        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(
            run(replace(self.settings, **changes), stop=stop, ready=lambda _: ready.set())
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((running, waiting), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        try:
            if running.done():
                running.result()
            assert ready.is_set(), "it was not ready in time"
            yield
        finally:
            stop.set()
            waiting.cancel()
            await asyncio.wait_for(running, PATIENCE)

    def secret(self, subscriber: str) -> str:
        """By which webhooks to a subscriber are signed."""
        key = self.settings.key()
        assert key is not None
        return webhook.secret(key, subscriber)

    async def contract(
        self, subscriber: str, *apparatuses: Apparatus, webhook: str | None = None, role: Role | None = None
    ) -> str:
        """Make a contract; it is in the directory when this returns."""
        await self.show(
            SubscriberContracted(
                meta=first(),
                subscriber=subscriber,
                terms=Terms(
                    name=subscriber,
                    roles=(role or Role.IMAGE_RECEIVING,),
                    apparatuses=apparatuses,
                    webhook=webhook,
                ),
            )
        )
        return subscriber

    async def cancel(self, subscriber: str) -> None:
        """End a contract; it is not in the directory when this returns."""
        await self.show(ContractCancelled(meta=first(), subscriber=subscriber, reason="test"))

    async def put(self, image: Dataset, transfer_syntax_uid: str = EXPLICIT) -> Blob:
        """A data set in the blob store."""
        return await self.blobs.put(encode(image, transfer_syntax_uid), transfer_syntax_uid)

    async def completed(
        self,
        subscriber: str,
        images: Sequence[Dataset] = (),
        *,
        answer: Answer = Answer.C_STORE,
        keep: Keep = Keep.NEITHER,
        destinations: Sequence[str] = (),
        enclosed: Sequence[Blob] = (),
        transfer_syntax_uid: str = EXPLICIT,
        **grant: Any,
    ) -> ProcessingRequested:
        """A request that was done, with these results; the last event is on the log when this returns.

        Args:
            subscriber: who asked.
            images: what came out.
            answer, keep, destinations: as asked for.
            enclosed: images that came with the request.
            transfer_syntax_uid: of the results.
            grant: fields of the grant.
        """
        request = ProcessingRequested(
            meta=first(),
            evidence=Evidence(address="127.0.0.1", token="ab"),
            processing_type="gaussian",
            parameters={"sigma": "1"},
            images=Selection(series_instance_uids=("1.2.3",), enclosed=tuple(enclosed)),
            keep=keep,
            answer=answer,
            destinations=tuple(destinations),
        )
        decision = RequestAuthorized(
            meta=caused(request, "decision"),
            request_id=request.request_id,
            request="ProcessingRequested",
            subscriber=subscriber,
            expires_at=datetime.now(UTC) - timedelta(minutes=1),  # what was granted is done, however late
            **({"scope": Scope()} | grant),
        )
        common: dict[str, Any] = {"grant_id": request.request_id, "subscriber": subscriber}
        done: list[Event] = [
            ProcessingStarted(
                meta=caused(decision, "started"),
                processing_type="gaussian",
                version=1,
                items=1,
                images=len(images),
                **common,
            )
        ]
        for number, image in enumerate(images):
            done.append(
                ImageProcessed(
                    meta=caused(decision, f"image:{number}"),
                    item=0,
                    number=number,
                    processing_type="gaussian",
                    description="Gaussian, sigma 1 mm",
                    study_instance_uid=str(image.StudyInstanceUID),
                    series_instance_uid=str(image.SeriesInstanceUID),
                    sop_class_uid=str(image.SOPClassUID),
                    sop_instance_uid=str(image.SOPInstanceUID),
                    blob=await self.put(image, transfer_syntax_uid),
                    **common,
                )
            )
        sums: dict[str, Any] = {"images": len(images), "bytes": 1, "milliseconds": 1, "results": len(images)}
        done.append(
            ItemProcessed(
                meta=caused(decision, "item:0"), item=0, identity="x", server="500-1", **sums, **common
            )
        )
        done.append(
            ProcessingCompleted(
                meta=caused(decision, "completed"),
                processing_type="gaussian",
                sessions=1,
                **sums,
                **common,
            )
        )
        await self.bus.publish(request)
        await self.bus.publish(decision)
        await self.bus.publish_all(done)
        return request

    async def show(self, event: Event) -> Position:
        """Publish an event; the catalogs show it when this returns."""
        position = await self.bus.publish(event)
        assert await self.database.reached(position, PATIENCE), f"the catalogs do not show {event}"
        return position

    async def answered(self, request: ProcessingRequested, destination: str) -> ResultsAnswered:
        """How a destination was answered; waits for it."""
        reader = ProcessingReader(self.database)

        async def find() -> ResultsAnswered | None:
            answers = await reader.answers(request.request_id)
            return next((each for each in answers if each.destination == destination), None)

        return await eventually(find, f"{destination} to be answered")

    async def kept(self, request: ProcessingRequested) -> ResultsKept:
        """What was registered of a request; waits for it."""

        async def find() -> ResultsKept | None:
            return next(iter(await self.events(ResultsKept, request.request_id)), None)

        return await eventually(find, "results to be kept")

    async def events(self, kind: type[E], grant_id: UUID) -> list[E]:
        """All events of a class under a grant that the log holds."""
        topic = TOPIC_OF[kind]
        records = [record async for batch in self.bus.replay(topic) for record in batch]
        return [
            each.event
            for each in records
            if isinstance(each.event, kind) and getattr(each.event, "grant_id", None) == grant_id
        ]

    async def delivered(self, request: ProcessingRequested) -> list[ImageDelivered]:
        """Deliveries of a request's results."""
        return await self.events(ImageDelivered, request.request_id)

    async def failed(self, request: ProcessingRequested) -> list[DeliveryFailed]:
        """Failed deliveries of a request's results."""
        return await self.events(DeliveryFailed, request.request_id)


def first() -> Meta:
    return Meta.first(uuid4(), source="test", occurred_at=datetime.now(UTC))


def caused(event: Event, kind: str) -> Meta:
    return event.meta.caused(kind, source="test", occurred_at=datetime.now(UTC))


async def eventually(find: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Ask until there is an answer."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while (found := await find()) is None:
        assert asyncio.get_running_loop().time() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        await asyncio.sleep(0.02)
    return found


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""

    async def find() -> bool | None:
        return True if condition() else None

    await eventually(find, what)


@asynccontextmanager
async def office(kafka: str, folder: Path) -> AsyncIterator[Office]:
    """A service in a folder, but for the process that gives out results."""
    prefix = f"test-{uuid4().hex[:12]}"
    await create_topics(kafka, prefix)
    key = folder / "webhook.key"
    key.write_text(webhook.new_key())
    settings = Settings(
        bootstrap=kafka,
        prefix=prefix,
        database=f"sqlite+aiosqlite:///{folder}/catalog.sqlite",
        blobs=f"file://{folder}/blobs",
        webhook_key=key,
        first_delay=0.05,
        longest_delay=0.2,
        dimse_timeout=10.0,
        webhook_timeout=2.0,
    )
    async with (
        Bus(kafka, client_id="test", prefix=prefix) as bus,
        following(bus, settings.database),
        Database(settings.database) as database,
        await BlobStore.open(settings.blobs) as blobs,
    ):
        yield Office(bus=bus, database=database, blobs=blobs, settings=settings)
