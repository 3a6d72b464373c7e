"""A whole service around one DICOM gateway, in this process: real Kafka, real catalogs, real files.

Only the decisions are scripted: `Auth` answers requests as a test wants it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from medbus.blobs import BlobStore
from medbus.bus import Bus, Position, Record
from medbus.bus.admin import create_topics
from medbus.gateways.dicom.client import Peer
from medbus.gateways.dicom.gateway import gateway, threaded_gateway
from medbus.gateways.dicom.network.acceptor import Acceptor
from medbus.gateways.dicom.outgoing import Outgoing
from medbus.gateways.dicom.pynetdicom.acceptor import Acceptor as ThreadedAcceptor
from medbus.gateways.dicom.settings import Settings
from medbus.gateways.dicom.status import Outcome
from medbus.gateways.grants import Grants
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.images import ImageReader
from medbus.projections.projector import Projector
from medbus.schemas.events import (
    Apparatus,
    Decision,
    Event,
    Meta,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    Role,
    Scope,
    SubscriberContracted,
    Terms,
)
from medbus.schemas.topics import IMAGES, REQUESTS, Topic

E = TypeVar("E", bound=Event)

AE_TITLE = "MEDBUS"
PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""


class Auth:
    """Answers every request at once, by default with a grant to whoever calls.

    Attributes:
        subscribers: subscriber and apparatus id by calling AE title; others are unknown.
        scope: of every grant.
        answer: decides; None lets a request go unanswered.
        asked: the requests so far.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.asked: list[Request] = []
        self.reset()

    def reset(self) -> None:
        """Back to the defaults; what was asked is forgotten."""
        self.subscribers: dict[str, tuple[str, str]] = {"MODALITY": ("A-hospital", "A_CT#1")}
        self.scope = Scope()
        self.lifetime = timedelta(minutes=30)
        self.max_images: int | None = None
        self.max_bytes: int | None = None
        self.used_bytes: int | None = None
        self.answer: Callable[[Request], Decision | None] = self.decide
        self.asked.clear()

    def decide(self, request: Request) -> Decision | None:
        """The default."""
        caller = self.subscribers.get(request.evidence.calling_ae_title or "")
        if caller is None:
            return self.reject(request, RejectionReason.UNKNOWN_SUBSCRIBER)
        return RequestAuthorized(
            meta=self._meta(request),
            request_id=request.request_id,
            subscriber=caller[0],
            apparatus_id=caller[1],
            scope=self.scope,
            max_bytes=self.max_bytes,
            used_bytes=self.used_bytes,
            max_images=self.max_images,
            expires_at=datetime.now(UTC) + self.lifetime,
        )

    def reject(self, request: Request, reason: RejectionReason) -> RequestRejected:
        """A rejection."""
        return RequestRejected(
            meta=self._meta(request), request_id=request.request_id, reason=reason, detail="scripted"
        )

    def kinds(self) -> list[str]:
        """The classes of the requests so far."""
        return [type(each).__name__ for each in self.asked]

    async def run(self, started: asyncio.Event) -> None:
        """Answer until cancelled."""
        async with self._bus.subscribe(REQUESTS) as batches:
            started.set()
            async for batch in batches:
                for record in batch:
                    if isinstance(record.event, Request):
                        self.asked.append(record.event)
                        decision = self.answer(record.event)
                        if decision is not None:
                            await self._bus.publish(decision)

    @staticmethod
    def _meta(request: Request) -> Meta:
        return request.meta.caused("decision", source="test", occurred_at=datetime.now(UTC))


@dataclass
class Site:
    """Everything that runs."""

    bus: Bus
    auth: Auth
    settings: Settings
    port: int
    blobs: BlobStore
    images: ImageReader
    directory: DirectoryReader
    database: Database
    implementation: "Implementation"

    def peer(self, calling: str = "MODALITY", **changes: Any) -> Peer:
        """The gateway, as the client sees it."""
        return Peer(
            **{
                "host": "127.0.0.1",
                "port": self.port,
                "ae_title": self.settings.ae_title,
                "calling": calling,
                "timeout": PATIENCE,
                **changes,
            }
        )

    @asynccontextmanager
    async def another_gateway(self) -> AsyncIterator[int]:
        """One more process of the gateway, as far as one process can be another; its port."""
        async with self.implementation(replace(self.settings, port=0)) as (acceptor, _):
            yield acceptor.port

    async def store(self, *images: Outgoing, calling: str = "MODALITY") -> list[Outcome]:
        """Send images under one association; the answers."""
        contexts = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in images})

        def work() -> list[Outcome]:
            with self.peer(calling).requester([(uid, [ts]) for uid, ts in contexts]) as requester:
                return [requester.store(each) for each in images]

        return await asyncio.wait_for(asyncio.to_thread(work), PATIENCE)

    async def contract(self, subscriber: str, *apparatuses: Apparatus, roles: tuple[Role, ...] = ()) -> None:
        """Make a contract; it is in the directory when this returns."""
        position = await self.bus.publish(
            SubscriberContracted(
                meta=Meta.first(uuid4(), source="test", occurred_at=datetime.now(UTC)),
                subscriber=subscriber,
                terms=Terms(name=subscriber, roles=roles, apparatuses=apparatuses),
            )
        )
        assert await self.database.reached(position, PATIENCE), "the directory does not show the contract"

    async def records(self, topic: Topic) -> list[Record]:
        """All that a topic holds."""
        return [record async for batch in self.bus.replay(topic) for record in batch]

    async def events(self, topic: Topic, kind: type[E]) -> list[E]:
        """All events of a class that a topic holds."""
        return [r.event for r in await self.records(topic) if isinstance(r.event, kind)]

    async def settled(self) -> None:
        """The catalogs show all images that the log holds now."""
        async with asyncio.timeout(PATIENCE):
            for partition, end in (await self.bus.end_offsets(IMAGES)).items():
                if end:
                    assert await self.database.reached(Position(partition, end - 1), PATIENCE)


Implementation = Callable[[Settings], AbstractAsyncContextManager[tuple[Acceptor | ThreadedAcceptor, Grants]]]

IMPLEMENTATIONS: dict[str, Implementation] = {"asyncio": gateway, "pynetdicom": threaded_gateway}
"""Every implementation of the gateway's data path; all pass the same tests."""

ALWAYS_ONE = ("asyncio", pytest.param("pynetdicom", marks=pytest.mark.long))
"""As parameters of fixtures: the path that is in use is always tested, the other one in the long runs."""


@asynccontextmanager
async def site(
    kafka: str, folder: Path, implementation: Implementation = gateway, **options: Any
) -> AsyncIterator[Site]:
    """Run a service in `folder`; options are settings of the gateway."""
    prefix = f"test-{uuid4().hex[:12]}"
    await create_topics(kafka, prefix)
    url = f"sqlite+aiosqlite:///{folder}/catalog.sqlite"
    settings = Settings(
        **{
            "bootstrap": kafka,
            "prefix": prefix,
            "database": url,
            "blobs": f"file://{folder}/blobs",
            "port": 0,
            "ae_title": AE_TITLE,
            "acse_timeout": 2.0,
            "decision_timeout": 3.0,
            "dimse_timeout": 20.0,
            "grace": 2.0,
            **options,
        }
    )
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus(kafka, client_id="test", prefix=prefix))
        writer = await stack.enter_async_context(Database(url, writer=True))
        projector = Projector(bus, writer)
        await projector.catch_up()
        stop = asyncio.Event()
        projecting = asyncio.create_task(projector.run(stop))
        auth, started = Auth(bus), asyncio.Event()
        answering = asyncio.create_task(auth.run(started))

        async def end() -> None:
            answering.cancel()
            stop.set()
            await asyncio.wait((answering, projecting), timeout=PATIENCE)

        stack.push_async_callback(end)
        await asyncio.wait_for(started.wait(), PATIENCE)
        database = await stack.enter_async_context(Database(url))
        acceptor, _ = await stack.enter_async_context(implementation(settings))
        yield Site(
            bus=bus,
            auth=auth,
            settings=settings,
            port=acceptor.port,
            blobs=await BlobStore.open(settings.blobs),
            images=ImageReader(database),
            directory=DirectoryReader(database),
            database=database,
            implementation=implementation,
        )
