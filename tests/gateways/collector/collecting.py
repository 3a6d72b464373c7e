"""A service with the real rules of who may do what, and a collector beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.gateways.site import PATIENCE, Site, site

from medbus.gateways.collector import Looked, Settings, run, run_once
from medbus.schemas.events import (
    Apparatus,
    Collection,
    ContractCancelled,
    ContractChanged,
    Event,
    ImageRegistered,
    Meta,
    Retrieval,
    Role,
    SubscriberContracted,
    Terms,
)
from medbus.schemas.topics import IMAGES, REQUESTS
from medbus.streams.auth.decider import decide
from medbus.streams.auth.lookup import Lookup

LOOPBACK = ("127.0.0.0/8",)


@dataclass
class Collecting:
    """A service, and the settings of its collector."""

    site: Site
    settings: Settings

    @asynccontextmanager
    async def contract(
        self, retrieval: Retrieval, apparatus: Apparatus, address: str = "", **terms: Any
    ) -> AsyncIterator["Sender"]:
        """A sender that agreed to be collected from; its contract is cancelled at the end."""
        collection = Collection(
            retrieval=retrieval, apparatus_id=apparatus.apparatus_id, address=address, every_seconds=1
        )
        sender = Sender(
            self,
            f"sender-{uuid4().hex[:8]}",
            Terms(
                **{
                    "name": "Sender",
                    "roles": (Role.IMAGE_REGISTERING,),
                    "networks": LOOPBACK,
                    "apparatuses": (apparatus,),
                    "collections": (collection,),
                    **terms,
                }
            ),
        )
        await self.publish(
            SubscriberContracted(meta=head(), subscriber=sender.subscriber, terms=sender.terms)
        )
        try:
            yield sender
        finally:
            await sender.cancel()

    async def publish(self, event: Event) -> None:
        """Put an event about a contract on the log; the directory shows it when this returns."""
        position = await self.site.bus.publish(event)
        assert await self.site.database.reached(position, PATIENCE), "the directory does not show it"

    async def images(self, *uids: str) -> dict[str, list[ImageRegistered]]:
        """Every registration of some images that is on the log."""
        found: dict[str, list[ImageRegistered]] = {uid: [] for uid in uids}
        for event in await self.site.events(IMAGES, ImageRegistered):
            found.get(event.instance.sop_instance_uid, []).append(event)
        return found

    async def read(self, uid: str) -> bytes:
        """The data set of an image, as it is stored."""
        image = await self.site.images.image(uid)
        assert image is not None, f"{uid} is not in the catalog"
        return await self.site.blobs.read(image.blob.digest)

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator["Running"]:
        """A collector on its schedule."""
        running = Running()
        stop, ready = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(run(replace(self.settings, **changes), stop, ready.set, told=running.told))
        try:
            await asyncio.wait_for(ready.wait(), PATIENCE)
            yield running
        finally:
            stop.set()
            await asyncio.wait_for(task, PATIENCE)


@dataclass
class Running:
    """What the looks of a running collector brought, in turn."""

    looks: list[Looked] = field(default_factory=list)

    def told(self, looked: Looked) -> None:
        self.looks.append(looked)

    def of(self, sender: "Sender") -> list[Looked]:
        """The looks at one sender."""
        return [each for each in self.looks if each.subscriber == sender.subscriber]

    async def until(self, what: str, reached: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not reached():
            assert asyncio.get_running_loop().time() < deadline, f"{what}: {self.looks[-3:]}"
            await asyncio.sleep(0.05)


@dataclass
class Sender:
    """A subscriber that is collected from."""

    collecting: Collecting
    subscriber: str
    terms: Terms

    async def look(self, **changes: Any) -> Looked:
        """What one process of the collector brings that looks once."""
        settings = replace(self.collecting.settings, **changes)
        looked = await asyncio.wait_for(run_once(settings, subscriber=self.subscriber), 3 * PATIENCE)
        await self.collecting.site.settled()
        assert len(looked) == 1
        return looked[0]

    async def change(self, terms: Terms) -> None:
        """Change its contract."""
        await self.collecting.publish(ContractChanged(meta=head(), subscriber=self.subscriber, terms=terms))

    async def cancel(self) -> None:
        """End its contract."""
        await self.collecting.publish(
            ContractCancelled(meta=head(), subscriber=self.subscriber, reason="test")
        )


def head() -> Meta:
    """The head of an event that nothing caused."""
    return Meta.first(uuid4(), source="test", occurred_at=datetime.now(UTC))


@asynccontextmanager
async def collecting(kafka: str, folder: Path) -> AsyncIterator[Collecting]:
    """Run a service whose requests are decided by its real rules."""
    async with site(kafka, folder) as opened:
        opened.auth.answer = lambda _: None
        lookup, started = Lookup(opened.database), asyncio.Event()

        async def answer() -> None:
            async with opened.bus.subscribe(REQUESTS) as batches:
                started.set()
                async for batch in batches:
                    for record in batch:
                        request: Any = record.event
                        await opened.bus.publish(decide(await lookup.facts(request), request))

        answering = asyncio.create_task(answer())
        await asyncio.wait_for(started.wait(), PATIENCE)
        settings = opened.settings
        try:
            yield Collecting(
                opened,
                Settings(
                    bootstrap=settings.bootstrap,
                    database=settings.database,
                    blobs=settings.blobs,
                    prefix=settings.prefix,
                    ae_title=settings.ae_title,
                    timeout=5.0,
                    decision_timeout=settings.decision_timeout,
                    catalog_timeout=10.0,
                    settle_seconds=0.2,
                    follow_seconds=0.1,
                    grace=2.0,
                ),
            )
        finally:
            answering.cancel()
            await asyncio.wait((answering,), timeout=PATIENCE)
