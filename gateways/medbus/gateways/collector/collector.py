"""The collector as a process: follows the contracts, and looks at each source when its time has come."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.collector import dicom, dicomweb, folder
from medbus.gateways.collector.errors import Ended, SourceFailed
from medbus.gateways.collector.looked import Looked
from medbus.gateways.collector.memory import Memory
from medbus.gateways.collector.pace import pause
from medbus.gateways.collector.session import Parts, Session, wait
from medbus.gateways.collector.settings import Settings
from medbus.gateways.collector.source import Source, sources
from medbus.gateways.dicom.registrar import Registrar
from medbus.gateways.dicom.storing import Storing
from medbus.gateways.grants import Grants, utc_now
from medbus.gateways.quota import Quota
from medbus.projections.database import Database
from medbus.projections.directory import ContractFilter, DirectoryReader
from medbus.projections.errors import CatalogError, CatalogMissing
from medbus.projections.images import ImageReader
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Retrieval
from medbus.schemas.topics import SUBSCRIBERS

log = logging.getLogger(__name__)

Told = Callable[[Looked], None]

LOOKS: Mapping[Retrieval, Callable[[Session, Settings], Awaitable[None]]] = {
    Retrieval.C_GET: dicom.get,
    Retrieval.C_MOVE: dicom.move,
    Retrieval.DICOMWEB: dicomweb.fetch,
    Retrieval.FOLDER: folder.read,
}


async def run(
    settings: Settings,
    stop: asyncio.Event,
    ready: Callable[[], None] = lambda: None,
    *,
    told: Told = lambda _: None,
) -> None:
    """Collect on schedule until `stop` is set.

    Args:
        settings: all of them.
        stop: ends it.
        ready: called once, when it has read the contracts.
        told: what came of each look.

    Raises:
        MedbusError: it can't start, or can't go on.
    """
    async with opened(settings) as parts:
        collector = Collector(parts, settings, told)
        following = asyncio.create_task(collector.follow(ready), name="collector")
        hearing = asyncio.create_task(parts.grants.run(stop), name="grants")
        try:
            await asyncio.wait((following, hearing), return_when=asyncio.FIRST_COMPLETED)
            for task in (following, hearing):
                if task.done():
                    task.result()
        finally:
            following.cancel()
            hearing.cancel()
            await asyncio.wait((following, hearing))
            await collector.end()


async def run_once(
    settings: Settings, *, subscriber: str | None = None, told: Told = lambda _: None
) -> list[Looked]:
    """Look at every source, until there is nothing more to fetch.

    Args:
        settings: all of them.
        subscriber: only at those of this one.
        told: what came of each source, as soon as it is done.

    Returns:
        What came of each, by subscriber.

    Raises:
        MedbusError: it can't start, or there are no contracts yet.
    """
    async with opened(settings) as parts:
        collector = Collector(parts, settings, told)
        chosen = [
            each for each in await collector.sources() if subscriber is None or each.subscriber == subscriber
        ]
        return list(await asyncio.gather(*map(collector.once, chosen)))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Parts]:
    """What a collector works with.

    Raises:
        MedbusError: a part of it can't be had.
    """
    async with (
        Bus(settings.bootstrap, client_id=settings.source, prefix=settings.prefix) as bus,
        Database(settings.database) as database,
        await BlobStore.open(settings.blobs) as blobs,
        Grants(bus, timeout=settings.decision_timeout, known=await database.positions()) as grants,
    ):
        images = ImageReader(database)
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
        yield Parts(
            bus=bus,
            database=database,
            images=images,
            directory=DirectoryReader(database),
            grants=grants,
            registrar=registrar,
            storing=Storing(blobs=blobs, registrar=registrar),
        )


class _Watch:
    """A source that is looked at."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None]


class Collector:
    """Looks at sources.

    Args:
        parts: what it works with.
        settings: all of them.
        told: what came of each look.
    """

    def __init__(self, parts: Parts, settings: Settings, told: Told) -> None:
        self._parts = parts
        self._settings = settings
        self._told = told
        self._turns = asyncio.Semaphore(settings.looks_at_once)
        self._watched: dict[Source, _Watch] = {}
        self._leaving: dict[asyncio.Task[None], str] = {}

    async def sources(self) -> list[Source]:
        """What the contracts in force name now."""
        try:
            return sources(await self._parts.directory.contracts(ContractFilter(live=True)))
        except CatalogMissing:  # a new installation
            return []

    async def follow(self, ready: Callable[[], None]) -> None:
        """Look at the sources that there are, as contracts come, change and end; until it is cancelled."""
        read: object = None
        told = False
        while True:
            try:
                position = {
                    partition: offset
                    for partition, offset in (await self._parts.database.positions()).items()
                    if partition.topic == SUBSCRIBERS.name
                }
                if position != read:
                    self._adopt(await self.sources())
                    read = position
                if not told:
                    told = True
                    ready()
            except CatalogError as error:
                log.warning("the contracts can't be read now: %s", error)
            await asyncio.sleep(self._settings.follow_seconds)

    async def end(self) -> None:
        """Stop all looks; what hangs is given up."""
        for source in list(self._watched):
            self._drop(source)
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def once(self, source: Source) -> Looked:
        """Look at a source until there is nothing more to fetch."""
        memory, never = Memory(source.collection.every_seconds), asyncio.Event()
        async with self._turns:
            looked = await self._look(source, memory, never)
            while looked.more and not looked.problem:
                looked = looked.and_then(await self._look(source, memory, never))
        self._told(looked)
        return looked

    def _adopt(self, now: Sequence[Source]) -> None:
        wanted = set(now)
        for source in [each for each in self._watched if each not in wanted]:
            log.info("%s is no longer collected from as it was", source)
            self._drop(source)
        for source in now:
            if source not in self._watched:
                log.info("%s is looked at every %d s", source, source.collection.every_seconds)
                watch = self._watched[source] = _Watch()
                before = frozenset(
                    task for task, whose in self._leaving.items() if whose == source.subscriber
                )
                looking = self._keep_looking(source, watch.stop, before)
                watch.task = asyncio.create_task(looking, name=str(source))

    def _drop(self, source: Source) -> None:
        watch = self._watched.pop(source)
        watch.stop.set()
        self._leaving[watch.task] = source.subscriber
        watch.task.add_done_callback(lambda task: self._leaving.pop(task, None))
        asyncio.get_running_loop().call_later(self._settings.grace, watch.task.cancel)

    async def _keep_looking(
        self, source: Source, stop: asyncio.Event, before: frozenset[asyncio.Task[None]]
    ) -> None:
        if before:  # looks under the terms before come to their end first
            await asyncio.wait(before)
        memory = Memory(source.collection.every_seconds)
        failures = 0
        while not stop.is_set():
            async with self._turns:
                if stop.is_set():
                    return
                looked = await self._look(source, memory, stop)
            failures = failures + 1 if looked.problem else 0
            self._told(looked)
            if not looked.more or looked.problem:
                await wait(stop, pause(source.collection.every_seconds, failures))

    async def _look(self, source: Source, memory: Memory, stop: asyncio.Event) -> Looked:
        settings = self._settings
        session = Session(self._parts, source, memory, stop, ae_title=settings.ae_title, name=settings.source)
        problem = ""
        try:
            async with asyncio.timeout(settings.look_timeout):
                await session.caught_up(settings.catalog_timeout)
                await _look_of(source)(session, settings)
        except Ended:
            pass
        except TimeoutError:
            problem = f"The look took longer than {settings.look_timeout:g} s."
        except MedbusError as error:
            problem = str(error)
        except Exception as error:
            log.exception("a look at %s failed", source)
            problem = f"{type(error).__name__}: {error}"
        looked = session.looked(problem)
        _log(source, looked)
        return looked


def _look_of(source: Source) -> Callable[[Session, Settings], Awaitable[None]]:
    retrieval = source.collection.retrieval
    try:
        return LOOKS[retrieval]
    except KeyError:
        raise SourceFailed(
            f"This version can't collect by {retrieval.value}.", "Update the service, or the contract."
        ) from None


def _log(source: Source, looked: Looked) -> None:
    if looked.new or looked.failed:
        log.info(
            "%s: %d new, %d registered (%d bytes), %d refused, %d failed, in %.1f s",
            source,
            looked.new,
            looked.registered,
            looked.bytes,
            looked.refused,
            looked.failed,
            looked.seconds,
        )
    if looked.problem:
        log.warning("%s: %s", source, looked.problem)
