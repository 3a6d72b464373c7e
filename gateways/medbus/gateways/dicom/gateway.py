"""The DICOM gateway as a process: puts its parts together and runs them until it is told to stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.dicom.committing import Committing
from medbus.gateways.dicom.finding import Finding
from medbus.gateways.dicom.network.acceptor import Acceptor
from medbus.gateways.dicom.network.connector import NetworkConnector
from medbus.gateways.dicom.network.turns import Turns
from medbus.gateways.dicom.outgoing import Connector
from medbus.gateways.dicom.pynetdicom.acceptor import Acceptor as ThreadedAcceptor
from medbus.gateways.dicom.pynetdicom.connector import PynetdicomConnector
from medbus.gateways.dicom.registrar import Registrar
from medbus.gateways.dicom.retrieving import Retrieving
from medbus.gateways.dicom.service import DicomService
from medbus.gateways.dicom.settings import Settings
from medbus.gateways.dicom.storing import Storing
from medbus.gateways.dicom.tls import client_context, server_context
from medbus.gateways.grants import Grants, utc_now
from medbus.gateways.quota import Quota
from medbus.gateways.ready import announce
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.images import ImageReader

_SENDING_THREADS = 64
"""Each image that is on its way to a peer holds one."""


@asynccontextmanager
async def gateway(
    settings: Settings, *, listener: socket.socket | None = None, turns: Turns | None = None
) -> AsyncIterator[tuple[Acceptor, Grants]]:
    """A running gateway, in this process.

    Args:
        settings: all of them.
        listener: a listening socket to take instead of host and port.
        turns: whose turn it is, where several processes share the socket.

    Raises:
        MedbusError: a part of it can't be had.
    """
    async with (
        _parts(settings, NetworkConnector) as (service, grants, executor),
        Acceptor(service, executor, **_options(settings), sock=listener, turns=turns) as acceptor,
    ):
        yield acceptor, grants


@asynccontextmanager
async def threaded_gateway(settings: Settings) -> AsyncIterator[tuple[ThreadedAcceptor, Grants]]:
    """The same on pynetdicom, with threads for each association: what the other one is compared with.

    Raises:
        MedbusError: a part of it can't be had.
    """
    async with (
        _parts(settings, PynetdicomConnector) as (service, grants, executor),
        ThreadedAcceptor(service, executor, **_options(settings)) as acceptor,
    ):
        yield acceptor, grants


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "ae_title": settings.ae_title,
        "tls": None if settings.tls is None else server_context(settings.tls),
        "acse_timeout": settings.acse_timeout,
        "network_timeout": settings.network_timeout,
        "dimse_timeout": settings.dimse_timeout,
        "maximum_associations": settings.maximum_associations,
        "grace": settings.grace,
    }


@asynccontextmanager
async def _parts(
    settings: Settings, connector: Callable[..., Connector]
) -> AsyncIterator[tuple[DicomService, Grants, ThreadPoolExecutor]]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(
            Bus(settings.bootstrap, client_id=settings.source, prefix=settings.prefix)
        )
        database = await stack.enter_async_context(Database(settings.database))
        blobs = await stack.enter_async_context(await BlobStore.open(settings.blobs))
        grants = await stack.enter_async_context(
            Grants(bus, timeout=settings.decision_timeout, known=await database.positions())
        )
        executor = ThreadPoolExecutor(_SENDING_THREADS, thread_name_prefix="dicom-sender")
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        service = _service(
            settings,
            bus=bus,
            database=database,
            blobs=blobs,
            grants=grants,
            connector=connector(
                executor,
                ae_title=settings.ae_title,
                timeout=settings.dimse_timeout,
                tls=None if settings.tls_outgoing is None else client_context(settings.tls_outgoing),
            ),
        )
        stack.push_async_callback(service.committing.close)
        yield service, grants, executor


async def run(
    settings: Settings,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    listener: socket.socket | None = None,
    turns: Turns | None = None,
) -> None:
    """Run the gateway until `stop` is set; `ready` is called with its address when peers can connect.

    Args:
        settings: all of them.
        stop: ends it.
        ready: called once.
        listener, turns: as for `gateway`.

    Raises:
        MedbusError: it can't start, or can't go on.
    """
    async with gateway(settings, listener=listener, turns=turns) as (acceptor, grants):
        ready(f"{settings.host}:{acceptor.port}")
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


def _service(
    settings: Settings,
    *,
    bus: Bus,
    database: Database,
    blobs: BlobStore,
    grants: Grants,
    connector: Connector,
) -> DicomService:
    images, directory = ImageReader(database), DirectoryReader(database)
    registrar = Registrar(
        bus=bus,
        blobs=blobs,
        images=images,
        database=database,
        quota=Quota(bus, database),
        source=settings.source,
        clock=utc_now,
        publish_timeout=settings.publish_timeout,
    )
    return DicomService(
        grants=grants,
        storing=Storing(blobs=blobs, registrar=registrar),
        finding=Finding(images=images, ae_title=settings.ae_title),
        retrieving=Retrieving(
            bus=bus,
            grants=grants,
            blobs=blobs,
            images=images,
            directory=directory,
            connector=connector,
            source=settings.source,
            clock=utc_now,
        ),
        committing=Committing(
            registrar=registrar,
            images=images,
            directory=directory,
            database=database,
            blobs=blobs,
            connector=connector,
            ae_title=settings.ae_title,
        ),
        source=settings.source,
        clock=utc_now,
    )
