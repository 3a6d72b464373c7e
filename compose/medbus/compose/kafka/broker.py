"""The embedded broker: start, wait until it answers, stop, and notice when it dies."""

import asyncio
import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from medbus.compose.kafka.config import address
from medbus.compose.kafka.errors import (
    BrokerCrashed,
    BrokerNotReady,
    DiskSpaceLow,
    HomeUnusable,
    PortTaken,
    how_it_ended,
    log_advice,
)
from medbus.compose.kafka.jars import Progress, fetch_jars
from medbus.compose.kafka.layout import Layout
from medbus.compose.kafka.locks import HomeLock
from medbus.compose.kafka.logs import size, telling_lines, text_since
from medbus.compose.kafka.machine import JavaMachine
from medbus.compose.kafka.ports import Ports, choose_ports, remember_ports, remembered_ports
from medbus.compose.kafka.probe import ask
from medbus.compose.kafka.process import GuardedProcess
from medbus.compose.kafka.settings import MIB, BrokerSettings
from medbus.compose.kafka.storage import (
    StorageState,
    clean_storage,
    inspect_storage,
    new_cluster_id,
    read_meta,
)

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02
PORT_TRIES = 3
DYING_SECONDS = 5.0
"""How much longer than its grace the broker of a dead owner may take to be gone."""


class EmbeddedKafka:
    """One real Kafka broker (KRaft, one node) that lives as long as this process wants it, and no longer.

    All that it keeps is under ``<home>/kafka``; a broker that is started again on the same home has the same
    events, and, where it chose its port itself, the same port if that is still free. Usage::

        async with EmbeddedKafka(Path("~/.medbus")) as kafka:
            ... kafka.bootstrap ...

    After a crash (see :meth:`wait_dead`), :meth:`start` on the same object starts it again.

    Args:
        home: folder of this installation; made if it is not there.
        settings: how to run the broker.
        port: shorthand for the port of the settings.
        progress: told of each jar that has to be downloaded.
    """

    def __init__(
        self,
        home: Path,
        settings: BrokerSettings | None = None,
        *,
        port: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        settings = settings or BrokerSettings()
        self.settings = settings if port is None else replace(settings, port=port)
        self.layout = Layout.of_home(home)
        self._progress = progress
        self._lock = HomeLock(self.layout.root)
        self._ports: Ports | None = None
        self._process: GuardedProcess | None = None
        self._log_start = 0
        self._stopping = False

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients; known from the first :meth:`start` on."""
        if self._ports is None:
            raise RuntimeError("the broker was never started, so its port is not known")
        return address(self.settings.client_host, self._ports.broker)

    @property
    def cluster_id(self) -> str:
        """The id that Kafka's data folder was given when it was made; empty before the first start."""
        return read_meta(self.layout.data).get("cluster.id", "")

    @property
    def pid(self) -> int | None:
        """Process id of the Java machine while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def returncode(self) -> int | None:
        """How the last run ended (negative: by which signal); None while it runs or was not yet started."""
        return self._process.returncode if self._process else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the broker and return when it answers. Does nothing if it runs.

        Raises:
            BrokerError: one of its kinds, each saying what to do. Then nothing runs and no event is lost.
        """
        if self.pid is not None:
            return
        self._stopping = False
        try:
            self.layout.create()
            if not self._lock.held:
                await self._lock.acquire(self.settings.stop_timeout + DYING_SECONDS)
            self._check_space()
            jars = await self._fetch_jars()
            machine = JavaMachine(self.layout, self.settings, self._lock.broker_fd)
            for _ in range(PORT_TRIES):
                self._ports = self._choose_ports()
                machine.configure(self._ports, jars)
                await self._prepare_storage(machine)
                self._log_start = size(self.layout.server_log)
                self._process = await machine.run_server()
                self._lock.write_pid(self._process.pid, broker=True)
                if await self._answers(self._process, self._ports.broker):
                    log.info("kafka answers at %s (process %s)", self.bootstrap, self._process.pid)
                    return
                self._explain_death(await self._process.wait())
            self._give_up_ports()
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise HomeUnusable(
                    f"The broker's files in {self.layout.root} can't be used: {error}.",
                    "Remove the cause, or choose another home folder.",
                ) from error
            raise

    async def stop(self) -> None:
        """Shut the broker down, kill it if it takes longer than the settings allow, and let go of the home.

        Does nothing if it does not run. If this is cancelled, the guard still sees to the end of the broker.
        """
        self._stopping = True
        try:
            if self._process and self._process.returncode is None:
                log.info("kafka has ended (%s)", how_it_ended(await self._process.stop()))
            # Without the lock, what is there belongs to somebody else's broker.
            if self._lock.held:
                shutil.rmtree(self.layout.tmp, ignore_errors=True)
        finally:
            self._lock.release()

    async def wait_dead(self) -> BrokerCrashed | None:
        """Wait until the broker's process has ended.

        Returns:
            What there is to report if it ended by itself or was killed; None if it was stopped, or never ran.
        """
        if self._process is None:
            return None
        code = await self._process.wait()
        return None if self._stopping else self._crashed(code)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.layout.data).free
        if free < self.settings.min_free_bytes:
            raise DiskSpaceLow(
                f"Only {free // MIB} MiB are free on the disk of {self.layout.data}; "
                f"{self.settings.min_free_bytes // MIB} MiB are needed to start.",
                "Make room, choose a home folder on another disk, or lower the limit.",
            )

    async def _fetch_jars(self) -> list[Path]:
        cancel = threading.Event()
        try:
            return await asyncio.to_thread(fetch_jars, progress=self._progress, cancel=cancel)
        finally:
            cancel.set()

    def _choose_ports(self) -> Ports:
        remembered = remembered_ports(self.layout.ports)
        ports = choose_ports(self.settings.host, self.settings.port, remembered)
        if remembered and not self.settings.port and ports.broker != remembered.broker:
            log.warning(
                "port %d is taken by somebody else; kafka moves to %d", remembered.broker, ports.broker
            )
        remember_ports(self.layout.ports, ports)
        return ports

    async def _prepare_storage(self, machine: JavaMachine) -> None:
        state = inspect_storage(self.layout.data)
        if state is StorageState.HALF_FORMATTED:
            log.warning("removing what an interrupted format has left in %s", self.layout.data)
            clean_storage(self.layout.data)
        if state is not StorageState.FORMATTED:
            await machine.format(new_cluster_id())

    async def _answers(self, process: GuardedProcess, port: int) -> bool:
        """Wait for the broker's first answer; False if its process ended before.

        Raises:
            BrokerNotReady: it runs, but has not answered in time.
        """
        host, cluster_id = self.settings.local_host, self.cluster_id
        try:
            async with asyncio.timeout(self.settings.ready_timeout):
                while process.returncode is None:
                    answer = await ask(host, port)
                    # Another broker may answer at this port while ours is still to find that it is taken.
                    if answer and answer.cluster_id == cluster_id and answer.brokers:
                        return True
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise BrokerNotReady(
                f"The embedded Kafka broker did not answer at {address(host, port)} within "
                f"{self.settings.ready_timeout:g} s.",
                "Start it again with a longer ready_timeout if the machine is slow or the log long."
                + log_advice(self.layout.server_log, telling_lines(self._output())),
            ) from error
        return False

    def _explain_death(self, code: int) -> None:
        """Raise why the broker ended before it answered; return if it may find a port at the next try.

        Raises:
            BrokerCrashed: the reason is not that somebody took a port between our look and Kafka's.
        """
        if "Address already in use" not in self._output():
            raise self._crashed(code)
        log.warning("somebody took a port of kafka's while it started; trying again")

    def _give_up_ports(self) -> None:
        raise PortTaken(
            f"Kafka found its ports taken {PORT_TRIES} times, though they were free just before.",
            "Find out what takes and leaves ports so fast, or choose the port yourself.",
        )

    def _crashed(self, code: int) -> BrokerCrashed:
        return BrokerCrashed(code, self.layout.server_log, telling_lines(self._output()))

    def _output(self) -> str:
        """This run's log, and what the Java machine printed itself."""
        return text_since(self.layout.server_log, self._log_start) + text_since(self.layout.jvm_output)
