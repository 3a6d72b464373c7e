"""The HTTP gateway's application."""

import asyncio
import logging
import time
from collections.abc import Sequence

from aiokafka.errors import KafkaError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.bus.admin import read_registry
from medbus.gateways.grants import Clock, Grants
from medbus.gateways.http import registry
from medbus.gateways.http.account import Accounts
from medbus.gateways.http.activation import Activation
from medbus.gateways.http.asking import Asking, Check
from medbus.gateways.http.errors import on_problem, problem_of
from medbus.gateways.http.payments import Payments
from medbus.gateways.http.permissions import Permissions
from medbus.gateways.http.processing import Processing
from medbus.gateways.http.results import Results
from medbus.gateways.http.upload import Limits
from medbus.projections.accounts import AccountReader
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.errors import CatalogError
from medbus.schemas.errors import BusError, MedbusError
from medbus.schemas.registry import Registry
from medbus.schemas.topics import IMAGES

log = logging.getLogger(__name__)

OURS = {"payments", "activation", "account", "processing"}
"""First parts of the paths whose errors are problem details; all others answer as a registry does."""

HEALTH_TIMEOUT = 5.0
"""Seconds for Kafka and the catalogs to answer."""

REGISTRY_SECONDS = 2.0
"""The registry's topic is read again when the state is older and something is asked that it does not have."""


class Schemas:
    """The present state of the schema registry.

    Args:
        bus: an open bus.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._registry = bus.codec.registry
        self._read = 0.0
        self._lock = asyncio.Lock()

    async def __call__(self) -> Registry:
        async with self._lock:
            if time.monotonic() - self._read > REGISTRY_SECONDS:
                self._registry = await read_registry(self._bus.bootstrap)
                self._read = time.monotonic()
            return self._registry


PUBLISH_TIMEOUT = 10.0
"""Seconds to wait for the log; a client that is told to come back later does."""

DEFAULT_LIMITS = Limits()


def application(
    bus: Bus,
    database: Database,
    blobs: BlobStore,
    grants: Grants,
    *,
    clock: Clock,
    source: str,
    payment_secrets: Sequence[str] = (),
    publish_timeout: float = PUBLISH_TIMEOUT,
    limits: Limits = DEFAULT_LIMITS,
    check: Check | None = None,
) -> Starlette:
    """The application.

    Args:
        bus: an open bus.
        database: the catalogs.
        blobs: where images are.
        grants: asks for decisions.
        clock: the time.
        source: names this gateway in events.
        payment_secrets: any of them signs reports of payments; without, none are taken.
        publish_timeout: seconds to wait for the log.
        limits: of images that come with a request.
        check: of processing types and their parameters.
    """
    directory = DirectoryReader(database)
    payments = Payments(
        bus=bus,
        accounts=AccountReader(database),
        directory=directory,
        clock=clock,
        source=source,
        secrets=payment_secrets,
        publish_timeout=publish_timeout,
    )
    activation = Activation(
        bus=bus,
        database=database,
        grants=grants,
        directory=directory,
        clock=clock,
        source=source,
        publish_timeout=publish_timeout,
    )
    permissions = Permissions(grants, clock=clock, source=source)
    accounts = Accounts(database, permissions)
    asking = Asking(
        bus=bus,
        database=database,
        blobs=blobs,
        grants=grants,
        clock=clock,
        source=source,
        limits=limits,
        check=check,
    )
    processing = Processing(
        bus=bus,
        database=database,
        grants=grants,
        permissions=permissions,
        clock=clock,
        source=source,
        publish_timeout=publish_timeout,
    )
    results = Results(
        bus=bus,
        database=database,
        blobs=blobs,
        permissions=permissions,
        clock=clock,
        source=source,
        publish_timeout=publish_timeout,
    )
    nouns = (payments, activation, accounts, asking, processing, results)
    ours = [route for noun in nouns for route in noun.routes()]

    async def health(_: Request) -> JSONResponse:
        """200 while Kafka and the catalogs answer, else 503; says which of them does not."""
        kafka, catalogs = await asyncio.gather(_kafka(bus), _catalogs(database))
        ready = kafka == "ok" and catalogs == "ok"
        body = {"status": "ok" if ready else "unavailable", "kafka": kafka, "catalogs": catalogs}
        return JSONResponse(body, 200 if ready else 503)

    return Starlette(
        routes=[Route("/health", health), *ours, *registry.routes(Schemas(bus))],
        exception_handlers={HTTPException: _on_error, MedbusError: _on_service_error, Exception: _on_error},
    )


async def _on_error(request: Request, error: Exception) -> Response:
    handler = on_problem if _ours(request) else registry.on_error
    return await handler(request, error)


async def _on_service_error(request: Request, error: Exception) -> Response:
    if not _ours(request) or not isinstance(error, MedbusError) or problem_of(error) is None:
        raise error  # so that it is logged as what it is: nobody expected it
    return await on_problem(request, error)


def _ours(request: Request) -> bool:
    return request.url.path.split("/")[1] in OURS


async def _kafka(bus: Bus) -> str:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT):
            await bus.end_offsets(IMAGES)
    except TimeoutError:
        return f"no answer within {HEALTH_TIMEOUT:g} s"
    except (BusError, KafkaError) as error:
        return str(error)
    return "ok"


async def _catalogs(database: Database) -> str:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT):
            await database.positions()
    except TimeoutError:
        return f"no answer within {HEALTH_TIMEOUT:g} s"
    except CatalogError as error:
        return str(error)
    return "ok"
