"""The HTTP gateway as a process."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.grants import DECISION_TIMEOUT, Clock, Grants, utc_now
from medbus.gateways.http.app import DEFAULT_LIMITS, PUBLISH_TIMEOUT, application
from medbus.gateways.http.asking import Check
from medbus.gateways.http.upload import Limits
from medbus.gateways.ready import announce
from medbus.projections.database import Database
from medbus.schemas.errors import MedbusError, SettingsError

DEFAULT_PORT = 8042

SHORTEST_SECRET = 16
"""Characters: a shorter one could be guessed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set.

    Attributes:
        bootstrap: HOST:PORT of Kafka brokers, separated by commas.
        database: URL of the catalogs.
        blobs: URL of the blob store.
        prefix: the installation's prefix of topics.
        host: the address to listen at.
        port: the port; 0 for any free one.
        source: names this gateway.
        payment_secrets: of those who report payments; each signs by one of them. Without, none are taken.
        uploads: limits of images that come with a request.
        decision_timeout: seconds to wait for a decision.
        publish_timeout: seconds to wait for the log.
        grace: seconds for running requests when it stops.
        ready_file: written as JSON when clients can connect: address, port and process id.
    """

    bootstrap: str
    database: str
    blobs: str
    prefix: str = DEFAULT_PREFIX
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    source: str = "gateway-http"
    payment_secrets: tuple[str, ...] = field(default=(), repr=False)
    uploads: Limits = DEFAULT_LIMITS
    decision_timeout: float = DECISION_TIMEOUT
    publish_timeout: float = PUBLISH_TIMEOUT
    grace: float = 5.0
    ready_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError, which does not tell the secret."""
        if any(len(secret) < SHORTEST_SECRET for secret in self.payment_secrets):
            raise SettingsError(
                f"A secret for payments has less than {SHORTEST_SECRET} characters.",
                "Make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`.",
            )


@asynccontextmanager
async def gateway(
    settings: Settings, *, clock: Clock = utc_now, check: Check | None = None
) -> AsyncIterator[tuple[int, Grants]]:
    """A running gateway, in this process; its port, and what it follows the decisions with.

    Args:
        settings: all of them.
        clock: the time.
        check: of processing types and their parameters; without, they are found wrong only later.

    Raises:
        MedbusError: the port can't be had, or Kafka does not answer.
    """
    async with (
        Bus(settings.bootstrap, client_id=settings.source, prefix=settings.prefix) as bus,
        Database(settings.database) as database,
        await BlobStore.open(settings.blobs) as blobs,
        Grants(bus, timeout=settings.decision_timeout, known=await database.positions()) as grants,
    ):
        listener = _listener(settings)
        server = _Server(
            uvicorn.Config(
                application(
                    bus,
                    database,
                    blobs,
                    grants,
                    clock=clock,
                    source=settings.source,
                    payment_secrets=settings.payment_secrets,
                    publish_timeout=settings.publish_timeout,
                    limits=settings.uploads,
                    check=check,
                ),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=int(settings.grace),
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield int(listener.getsockname()[1]), grants
        finally:
            server.should_exit = True
            await serving


async def run(
    settings: Settings, *, stop: asyncio.Event, ready: Callable[[str], None], check: Check | None = None
) -> None:
    """Run the gateway until `stop` is set; `ready` is called with its address when clients can connect.

    Args:
        settings: all of them.
        stop: ends it.
        ready: called with the address.
        check: as for `gateway`.

    Raises:
        MedbusError: it can't start, or can't go on.
    """
    async with gateway(settings, check=check) as (port, grants):
        ready(f"{settings.host}:{port}")
        await grants.run(stop)


async def main(settings: Settings) -> None:
    """Run the gateway until SIGTERM or SIGINT.

    Raises:
        MedbusError: it can't start, or can't go on.
    """
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await run(settings, stop=stop, ready=lambda address: announce(settings.ready_file, address))


class _Server(uvicorn.Server):
    """Signals are the process's business, not the server's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise MedbusError(
            f"Port {settings.port} at {settings.host} can't be listened at: {error}.",
            "Choose another with --port.",
        ) from error
    return listener
