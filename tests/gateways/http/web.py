"""A service around one HTTP gateway: real Kafka, real catalogs, and an auth worker that really decides."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import httpx2
from tests.gateways.following import following
from tests.streams.processes import workers

from medbus.bus import Bus, Position
from medbus.bus.admin import create_topics
from medbus.gateways.http.gateway import Settings, gateway
from medbus.gateways.http.signature import HEADER, sign
from medbus.projections.database import Database
from medbus.schemas.events import (
    CredentialKind,
    Event,
    FeeKind,
    Meta,
    Price,
    Request,
    Role,
    TariffSet,
    Terms,
)
from medbus.schemas.topics import REQUESTS, Topic
from medbus.streams.contracts import commands
from medbus.streams.contracts.service import ContractService
from medbus.streams.processing.asked import asked

E = TypeVar("E", bound=Event)

SECRET = "a secret of the bank"
OLDER_SECRET = "an older secret of it"
PATIENCE = 20.0


class Answer(NamedTuple):
    """An answer."""

    status: int
    body: Any
    headers: httpx2.Headers


class Time:
    """The gateway's clock, which tests set forward."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift


class Web:
    """The service, and a client of it."""

    def __init__(
        self, bus: Bus, database: Database, settings: Settings, clock: Time, client: httpx2.AsyncClient
    ) -> None:
        self.bus = bus
        self.database = database
        self.settings = settings
        self.clock = clock
        self.client = client
        self._contracts = ContractService(bus)

    async def call(
        self,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        files: Sequence[tuple[str, Any]] | None = None,
    ) -> Answer:
        """GET, or POST where there is a body, or another method. What is not JSON is given as bytes."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        method = method or ("GET" if json is None and content is None and files is None else "POST")
        response = await self.client.request(
            method, path, json=json, content=content, files=files, headers=sent
        )
        is_json = "json" in response.headers.get("content-type", "")
        return Answer(
            response.status_code, response.json() if is_json else response.content, response.headers
        )

    async def report(self, body: bytes, secret: str = SECRET) -> Answer:
        """POST /payments, signed now."""
        return await self.call("/payments", content=body, headers={HEADER: sign(secret, body, self.clock())})

    async def tariff(self) -> str:
        """A new price list, in EUR; its name."""
        name, now = f"T-{uuid4().hex[:8]}", datetime.now(UTC)
        await self.publish(
            TariffSet(
                meta=Meta.first(uuid4(), source="test", occurred_at=now),
                tariff=name,
                version=1,
                valid_from=now,
                currency="EUR",
                policy="half-up-2",
                prices=(Price(kind=FeeKind.DELIVERY, price="1.25", per=1),),
            )
        )
        return name

    async def contract(self, subscriber: str, *roles: Role, **terms: Any) -> None:
        """Make a contract."""
        agreed = Terms(name=f"{subscriber}'s", roles=roles or (Role.IMAGE_REGISTERING,), **terms)
        await self._do(commands.Contract(**_head(subscriber), terms=agreed))

    async def cancel(self, subscriber: str) -> None:
        """End a contract."""
        await self._do(commands.Cancel(**_head(subscriber), reason="test"))

    async def token(self, subscriber: str) -> str:
        """A new token of a subscriber."""
        token = uuid4().hex
        await self._do(
            commands.IssueCredential(
                **_head(subscriber),
                credential_id=uuid4(),
                kind=CredentialKind.BEARER_TOKEN,
                digest=hashlib.sha256(token.encode()).hexdigest(),
                label="test",
            )
        )
        return token

    async def subscriber(self, *roles: Role, **terms: Any) -> tuple[str, str]:
        """A new subscriber with a contract; its id and a token."""
        name = f"S-{uuid4().hex[:8]}"
        await self.contract(name, *roles, **terms)
        return name, await self.token(name)

    async def publish(self, *events: Event) -> None:
        """Put events on the log; the catalogs show them when this returns."""
        for position in await self.bus.publish_all(events):
            await self.shown(position)

    async def shown(self, position: Position) -> None:
        """Wait until the catalogs show a record."""
        assert await self.database.reached(position, PATIENCE), f"{position} is not shown"

    async def settled(self, topic: Topic) -> None:
        """Wait until the catalogs show all that a topic holds."""
        for partition, end in (await self.bus.end_offsets(topic)).items():
            if end:
                await self.shown(Position(partition, end - 1))

    async def events(self, topic: Topic, kind: type[E]) -> list[E]:
        """All events of a class that a topic holds."""
        return [
            record.event
            async for batch in self.bus.replay(topic)
            for record in batch
            if isinstance(record.event, kind)
        ]

    async def asked(self, token: str) -> list[Request]:
        """All requests under a token."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        return [each for each in await self.events(REQUESTS, Request) if each.evidence.token == digest]

    async def _do(self, command: commands.Command) -> None:
        for recorded in await self._contracts.handle(command):
            await self.shown(recorded.position)


def inputs(processing_type: str, parameters: Mapping[str, str]) -> int:
    """How many inputs a processing type takes, as the service says it."""
    return asked(processing_type, parameters).operation.inputs


def _head(subscriber: str) -> dict[str, Any]:
    return {"command_id": uuid4(), "at": datetime.now(UTC), "source": "test", "subscriber": subscriber}


@asynccontextmanager
async def web(kafka: str, folder: Path, **options: Any) -> AsyncIterator[Web]:
    """Run the service in a folder; options are settings of the gateway."""
    prefix = f"test-{uuid4().hex[:12]}"
    await create_topics(kafka, prefix)
    url = f"sqlite+aiosqlite:///{folder}/catalog.sqlite"
    settings = Settings(
        **{
            "bootstrap": kafka,
            "prefix": prefix,
            "database": url,
            "blobs": (folder / "blobs").as_uri(),
            "port": 0,
            "grace": 1,
            "payment_secrets": (SECRET, OLDER_SECRET),
            **options,
        }
    )
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus(kafka, client_id="test", prefix=prefix))
        await stack.enter_async_context(following(bus, url))
        started = await stack.enter_async_context(workers(bus))
        await started.start("--database", url, program=("-m", "medbus.streams.auth"))
        database = await stack.enter_async_context(Database(url))
        yield await stack.enter_async_context(_opened(bus, database, settings))


@asynccontextmanager
async def web_beside(site: Web, **changes: Any) -> AsyncIterator[Web]:
    """One more gateway of the same service, with other settings."""
    async with _opened(site.bus, site.database, replace(site.settings, **changes)) as opened:
        yield opened


@asynccontextmanager
async def _opened(bus: Bus, database: Database, settings: Settings) -> AsyncIterator[Web]:
    clock = Time()
    async with gateway(settings, clock=clock, check=inputs) as (port, _):
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            yield Web(bus, database, settings, clock, client)
