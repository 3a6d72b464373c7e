"""The composition root: which components make up a service, and in which order they start."""

import asyncio
import os
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

from medbus.bus import admin
from medbus.compose.component import Component, ProcessComponent
from medbus.compose.dicom_port import DicomPort
from medbus.compose.home import ComponentStatus, Home, ServiceStatus
from medbus.compose.kafka import EmbeddedKafka
from medbus.compose.settings import Settings
from medbus.compose.supervisor import Supervisor, Watcher
from medbus.schemas.errors import BusError, SettingsError

KAFKA, TOPICS, PROJECTOR = "kafka", "topics", "projector"
AUTH, BILLING, PROCESSING, SERVER = "auth", "billing", "processing", "processing-server"
DICOM, HTTP, RESULTS, COLLECTOR = "gateway-dicom", "gateway-http", "results", "collector"

PROCESSES = (PROJECTOR, AUTH, BILLING, PROCESSING, SERVER, DICOM, HTTP, RESULTS, COLLECTOR)
"""The components that are processes of ours."""


def kind(name: str) -> str:
    """The component that a process belongs to: its name without a worker's number."""
    return re.sub(r"-\d+$", "", name)


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


class BrokerComponent:
    """The embedded Kafka broker."""

    name = KAFKA

    def __init__(self, settings: Settings) -> None:
        self._broker = EmbeddedKafka(settings.home, port=settings.kafka_port)

    @property
    def bootstrap(self) -> str:
        return self._broker.bootstrap

    @property
    def pids(self) -> tuple[int, ...]:
        return () if self._broker.pid is None else (self._broker.pid,)

    async def start(self) -> str:
        await self._broker.start()
        return self._broker.bootstrap

    async def wait(self) -> str:
        return str(await self._broker.wait_dead())

    async def stop(self) -> None:
        await self._broker.stop()


class TopicsComponent:
    """The topics and schemas on the cluster: there once the others start. Has no process."""

    name = TOPICS
    pids: tuple[int, ...] = ()

    def __init__(self, bootstrap: Callable[[], str], prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix

    async def start(self) -> str:
        created = await admin.create_topics(self._bootstrap(), self._prefix)
        return f"{len(created)} created" if created else "as they must be"

    async def wait(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def stop(self) -> None:
        """Nothing: topics stay."""


class Service:
    """A whole medbus on one machine.

    Args:
        settings: of the installation.
        watcher: told of every change of a component's state.
        only: run just these components (names as on the screen, without a worker's number); all by default.

    Raises:
        SettingsError: there is no such component, here or in the setting `without`.
    """

    def __init__(self, settings: Settings, watcher: Watcher, only: Collection[str] = ()) -> None:
        without = {name.strip() for name in settings.without.split(",")} - {""}
        if unknown := sorted((without | set(only)) - set(PROCESSES)):
            raise SettingsError(
                f"There is no component {unknown[0]!r}.", f"Choose among {', '.join(PROCESSES)}."
            )
        if only and settings.kafka is None:
            raise SettingsError(
                "A part of the service needs a Kafka cluster that all parts reach.", "Name it with --kafka."
            )
        self.settings = settings
        self._only = set(only or PROCESSES) - without
        self.home = Home(settings.home)
        self._watcher = watcher
        self._broker = None if settings.kafka else BrokerComponent(settings)
        self._dicom = DicomPort(settings.dicom_host, settings.dicom_port)
        self._supervisor = Supervisor(self._stages(), self._tell)

    @property
    def bootstrap(self) -> str:
        """Where Kafka listens.

        Raises:
            BusError: the embedded broker has not been started yet.
        """
        if self._broker is not None:
            return self._broker.bootstrap
        if self.settings.kafka is None:
            raise BusError("Kafka was not started yet.")
        return self.settings.kafka

    async def run(self, stop: asyncio.Event, up: Callable[[], None]) -> None:
        """Run until `stop` is set; `up` is called when everything is up.

        Raises:
            MedbusError: another service holds the home, or a component does not come up.
        """
        with ExitStack() as stack:
            stack.enter_context(self.home.locked())
            if DICOM in self._only:
                stack.enter_context(self._dicom)
            await self._supervisor.run(stop, up)

    def _stages(self) -> Sequence[Sequence[Component]]:
        """What starts together: what others need comes before them, the gateways last."""
        settings = self.settings
        inner = [
            *_numbered(AUTH, settings.auth_workers),
            *_numbered(BILLING, settings.billing_workers),
            PROCESSING,
            *_numbered(SERVER, settings.processing_servers),
            RESULTS,
            COLLECTOR,
        ]
        gateways = [*_numbered(DICOM, settings.dicom_workers), HTTP]
        broker: list[Component] = [] if self._broker is None else [self._broker]
        return [
            broker,
            [TopicsComponent(lambda: self.bootstrap, settings.prefix)],
            *(
                [self._process(name) for name in names if kind(name) in self._only]
                for names in ([PROJECTOR], inner, gateways)
            ),
        ]

    def _process(self, name: str) -> ProcessComponent:
        ready = self._ready_file(name)
        return ProcessComponent(
            name,
            ["-m", "medbus.compose.worker", name, str(ready)],
            environment=lambda: self._environment(name),
            ready_file=ready,
            logs=self.home.logs,
            inherited=(lambda: self._dicom.descriptors) if kind(name) == DICOM else tuple,
        )

    def _environment(self, name: str) -> dict[str, str]:
        """The settings for a process, with what was chosen at the first start: a restart keeps its port."""
        chosen: dict[str, str] = {}
        for entry in self._supervisor.entries:
            if entry.component.name == HTTP and entry.address:
                chosen["MEDBUS_HTTP_PORT"] = entry.address.rpartition(":")[2]
        if kind(name) == DICOM:
            chosen |= self._dicom.environment
        return {**self.settings.environment(), "MEDBUS_KAFKA": self.bootstrap, **chosen}

    def _ready_file(self, name: str) -> Path:
        return self.home.run / f"{name}.ready"

    def _tell(self, component: str, state: str, detail: str) -> None:
        self.home.write_status(self._status())
        self._watcher(component, state, detail)

    def _status(self) -> ServiceStatus:
        entries = self._supervisor.entries
        where = {entry.component.name: entry.address for entry in entries}
        return ServiceStatus(
            pid=os.getpid(),
            bootstrap=self.settings.kafka or where.get(KAFKA, ""),
            prefix=self.settings.prefix,
            database=self.settings.database_url,
            blobs=self.settings.blobs_url,
            ae_title=self.settings.ae_title,
            dicom=next((where[name] for name in sorted(where) if kind(name) == DICOM), ""),
            http=where.get(HTTP, ""),
            components=tuple(
                ComponentStatus(
                    name=entry.component.name,
                    state=entry.state,
                    detail=entry.detail,
                    pids=entry.component.pids,
                    since=entry.since,
                    restarts=entry.restarts,
                )
                for entry in entries
            ),
        )
