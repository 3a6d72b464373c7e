"""The process that gives out results: puts its parts together and runs them until it is told to stop."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.dicom.network.connector import NetworkConnector
from medbus.gateways.dicom.registrar import Registrar
from medbus.gateways.dicom.tls import client_context
from medbus.gateways.grants import Clock, utc_now
from medbus.gateways.quota import Quota
from medbus.gateways.results.answering import Answering
from medbus.gateways.results.contracts import Contracts
from medbus.gateways.results.following import Following
from medbus.gateways.results.keeping import Keeping
from medbus.gateways.results.posting import Posting
from medbus.gateways.results.recorded import Recorded
from medbus.gateways.results.sending import Sending
from medbus.gateways.results.settings import Settings
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.errors import CatalogMissing
from medbus.projections.images import ImageReader
from medbus.projections.processing import Job, ProcessingReader
from medbus.schemas.events import Answer

_SENDING_THREADS = 32
"""Each large image that is on its way to a destination holds one."""

MOST_RECALLED = 10_000
"""Unanswered requests of which the log is asked what was sent already; of more, results are sent again."""


async def run(
    settings: Settings, *, stop: asyncio.Event, ready: Callable[[str], None], clock: Clock = utc_now
) -> None:
    """Give out results until `stop` is set.

    Args:
        settings: all of them.
        stop: ends it; what is under way is broken off, and done again at the next start.
        ready: called once, with an empty address, when it works.
        clock: the time.

    Raises:
        MedbusError: it can't start, or can't go on.
    """
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(
            Bus(settings.bootstrap, client_id=settings.source, prefix=settings.prefix)
        )
        database = await stack.enter_async_context(Database(settings.database))
        blobs = await stack.enter_async_context(await BlobStore.open(settings.blobs))
        following = await stack.enter_async_context(Following(bus, known=await database.positions()))
        answering = await _answering(
            settings, stack, bus=bus, database=database, blobs=blobs, following=following, clock=clock
        )
        tasks = [
            asyncio.create_task(following.run(), name="following"),
            asyncio.create_task(answering.run(), name="answering"),
        ]
        ready("")
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((*tasks, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*tasks, stopped):
                each.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)
        for each in tasks:
            if not each.cancelled():
                each.result()


async def main(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        MedbusError: it can't start, or can't go on.
    """
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await run(settings, stop=stop, ready=lambda _: _announce(settings.ready_file))


def _announce(path: Path | None) -> None:
    """Write the process id: whole or not at all."""
    if path is not None:
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"pid": os.getpid()}))
        draft.replace(path)


async def _answering(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    bus: Bus,
    database: Database,
    blobs: BlobStore,
    following: Following,
    clock: Clock,
) -> Answering:
    processing = ProcessingReader(database)
    contracts = Contracts(DirectoryReader(database), following)
    executor = ThreadPoolExecutor(_SENDING_THREADS, thread_name_prefix="results-sender")
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    registrar = Registrar(
        bus=bus,
        blobs=blobs,
        images=ImageReader(database),
        database=database,
        quota=Quota(bus, database),
        source=settings.source,
        clock=clock,
        publish_timeout=settings.publish_timeout,
    )
    posting = await stack.enter_async_context(
        Posting(
            processing=processing,
            contracts=contracts,
            key=settings.key(),
            roots=settings.webhook_ca,
            timeout=settings.webhook_timeout,
            clock=clock,
        )
    )
    sending = Sending(
        bus=bus,
        blobs=blobs,
        processing=processing,
        contracts=contracts,
        connector=NetworkConnector(
            executor,
            ae_title=settings.ae_title,
            timeout=settings.dimse_timeout,
            tls=None if settings.tls_outgoing is None else client_context(settings.tls_outgoing),
        ),
        recorded=Recorded(bus, await _unanswered(processing)),
        source=settings.source,
        clock=clock,
        publish_timeout=settings.publish_timeout,
    )
    keeping = Keeping(
        bus=bus,
        blobs=blobs,
        processing=processing,
        registrar=registrar,
        following=following,
        contracts=contracts,
        source=settings.source,
        clock=clock,
    )
    return Answering(
        bus=bus,
        database=database,
        processing=processing,
        following=following,
        keeping=keeping,
        means={Answer.C_STORE: sending, Answer.WEBHOOK: posting},
        settings=settings,
        clock=clock,
    )


async def _unanswered(processing: ProcessingReader) -> list[Job]:
    with suppress(CatalogMissing):
        return [job for job, _ in await processing.unanswered(MOST_RECALLED)]
    return []
