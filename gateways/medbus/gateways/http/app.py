"""The HTTP gateway's application."""

import asyncio
import logging
import time

from aiokafka.errors import KafkaError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from medbus.bus import Bus
from medbus.bus.admin import read_registry
from medbus.gateways.http import registry
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError
from medbus.schemas.errors import BusError
from medbus.schemas.registry import Registry
from medbus.schemas.topics import IMAGES

log = logging.getLogger(__name__)

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


def application(bus: Bus, database: Database) -> Starlette:
    """The application.

    Args:
        bus: an open bus.
        database: the catalogs.
    """

    async def health(_: Request) -> JSONResponse:
        """200 while Kafka and the catalogs answer, else 503; says which of them does not."""
        kafka, catalogs = await asyncio.gather(_kafka(bus), _catalogs(database))
        ready = kafka == "ok" and catalogs == "ok"
        body = {"status": "ok" if ready else "unavailable", "kafka": kafka, "catalogs": catalogs}
        return JSONResponse(body, 200 if ready else 503)

    return Starlette(
        routes=[Route("/health", health), *registry.routes(Schemas(bus))],
        exception_handlers={HTTPException: registry.on_error, Exception: registry.on_error},
    )


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
