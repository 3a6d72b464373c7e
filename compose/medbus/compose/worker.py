"""The main program of every process of a service: `python -m medbus.compose.worker COMPONENT READY_FILE`.

Settings come from the environment. The process writes the ready file when it can be used, ends in good order
on SIGTERM, and ends when its parent is gone.
"""

import asyncio
import gc
import hashlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from medbus.compose import lifeline, logs
from medbus.compose import settings as compose
from medbus.compose.dicom_port import LISTENER, TURNS
from medbus.compose.service import (
    AUTH,
    BILLING,
    COLLECTOR,
    DICOM,
    HTTP,
    PROCESSING,
    PROJECTOR,
    RESULTS,
    SERVER,
    kind,
)
from medbus.compose.settings import Settings
from medbus.schemas.errors import MedbusError, SettingsError

if TYPE_CHECKING:
    from medbus.gateways.collector import Settings as CollectorSettings
    from medbus.streams.processing.serving.service import Settings as ServerSettings

log = logging.getLogger("medbus.worker")

Ready = Callable[[str], None]
"""Called with the address at which the component can be reached, empty if it has none."""


async def projector(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Keep the catalogs up to date with the log."""
    from medbus.bus import Bus
    from medbus.projections.database import Database
    from medbus.projections.projector import Projector

    async with (
        Bus(kafka(settings), client_id=name, prefix=settings.prefix) as bus,
        Database(settings.database_url, writer=True) as database,
    ):
        projecting = Projector(bus, database)
        await projecting.catch_up()
        ready("")
        await projecting.run(stop)


async def auth(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Answer requests with grants and rejections."""
    from medbus.streams.auth import service

    worker = service.Settings(
        bootstrap=kafka(settings),
        prefix=settings.prefix,
        database=settings.database_url,
        member=member(settings, name),
    )
    await service.run(worker, stop=stop, ready=lambda: ready(""))


async def billing(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Charge fees; the first of the workers closes periods as well."""
    from medbus.streams.billing import service

    first = name.removesuffix("-1") == BILLING and settings.billing_period != "off"
    worker = service.Settings(
        bootstrap=kafka(settings),
        prefix=settings.prefix,
        member=member(settings, name),
        database=settings.database_url,
        period=settings.billing_period if first else None,
    )
    await service.run(worker, stop=stop, ready=lambda: ready(""))


async def processing(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Split requests for processing into work items, and see when all of them are done."""
    from medbus.streams.processing.planning import service

    worker = service.Settings(
        bootstrap=kafka(settings),
        prefix=settings.prefix,
        database=settings.database_url,
        blobs=settings.blobs_url,
        member=member(settings, name),
    )
    await service.run(worker, stop=stop, ready=lambda: ready(""))


async def processing_server(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Process images."""
    from medbus.streams.processing.serving import service as serving

    number = re.search(r"\d+$", name)
    called = f"{settings.processing_name or socket.gethostname()}-{number[0] if number else 1}"
    worker = server_settings(settings, called, member(settings, name))
    await serving.run(worker, stop=stop, ready=lambda: ready(""))


def server_settings(settings: Settings, name: str, member: str) -> "ServerSettings":
    """What a processing server needs to know.

    Args:
        settings: of the installation.
        name: of the server.
        member: its identity in the group of all servers.
    """
    from medbus.streams.processing.serving.service import Settings as ServerSettings

    return ServerSettings(
        bootstrap=kafka(settings),
        prefix=settings.prefix,
        database=settings.database_url,
        blobs=settings.blobs_url,
        name=name,
        member=member,
        cores=settings.processing_cores,
        memory=settings.processing_memory,
    )


async def results(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Send results of processing to where they are to go, and register those that are to be kept."""
    from medbus.compose import webhook_key
    from medbus.gateways.results import service
    from medbus.gateways.results.settings import Settings as ResultSettings

    webhook_key.read_or_make(settings)
    chosen = ResultSettings(
        bootstrap=kafka(settings),
        database=settings.database_url,
        blobs=settings.blobs_url,
        prefix=settings.prefix,
        ae_title=settings.ae_title,
        tls_outgoing=settings.tls_outgoing_ca,
        webhook_key=settings.webhook_key_file,
        source=name,
    )
    await service.run(chosen, stop=stop, ready=ready)


async def collector(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Collect new images from subscribers that agreed to it."""
    from medbus.gateways import collector as collecting

    await collecting.run(collector_settings(settings, name), stop, lambda: ready(""))


def collector_settings(settings: Settings, source: str = COLLECTOR) -> "CollectorSettings":
    """What a collector needs to know."""
    from medbus.gateways.collector import Settings as CollectorSettings

    return CollectorSettings(
        bootstrap=kafka(settings),
        database=settings.database_url,
        blobs=settings.blobs_url,
        prefix=settings.prefix,
        ae_title=settings.ae_title,
        tls_outgoing=settings.tls_outgoing_ca,
        netrc=settings.collector_netrc,
        source=source,
        decision_timeout=settings.decision_seconds,
    )


async def gateway_dicom(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Speak DICOM with modalities and workstations."""
    from medbus.gateways.dicom import gateway
    from medbus.gateways.dicom.network.turns import Turns
    from medbus.gateways.dicom.settings import Settings as DicomSettings
    from medbus.gateways.dicom.settings import TlsSettings

    tls = None
    if settings.tls_certificate is not None:
        tls = TlsSettings(
            certificate=settings.tls_certificate,
            key=settings.tls_key or settings.tls_certificate,
            client_ca=settings.tls_client_ca,
        )
    chosen = DicomSettings(
        bootstrap=kafka(settings),
        database=settings.database_url,
        blobs=settings.blobs_url,
        prefix=settings.prefix,
        host=settings.dicom_host,
        port=settings.dicom_port,
        ae_title=settings.ae_title,
        tls=tls,
        tls_outgoing=settings.tls_outgoing_ca,
        source=name,
        decision_timeout=settings.decision_seconds,
    )
    listener = socket.socket(fileno=int(os.environ[LISTENER]))
    number = re.search(r"\d+$", name)
    turns = Turns(int(os.environ[TURNS]), int(number[0]) - 1 if number else 0, settings.dicom_workers)
    await gateway.run(chosen, stop=stop, ready=ready, listener=listener, turns=turns)


async def gateway_http(settings: Settings, name: str, ready: Ready, stop: asyncio.Event) -> None:
    """Answer a schema registry's read calls, subscribers and payment providers."""
    from medbus.gateways.http import gateway
    from medbus.gateways.http.upload import Limits

    chosen = gateway.Settings(
        bootstrap=kafka(settings),
        database=settings.database_url,
        blobs=settings.blobs_url,
        prefix=settings.prefix,
        host=settings.http_host,
        port=settings.http_port,
        source=name,
        decision_timeout=settings.decision_seconds,
        payment_secrets=secrets(settings.payment_secrets),
        uploads=Limits(part_bytes=settings.http_image_bytes, body_bytes=settings.http_body_bytes),
    )
    await gateway.run(chosen, stop=stop, ready=ready, check=inputs)


def inputs(processing_type: str, parameters: Mapping[str, str]) -> int:
    """How many inputs a processing type takes.

    Raises:
        InvalidParameter: there is no such type, or its parameters are not what they may be.
    """
    from medbus.streams.processing.asked import asked  # not before somebody asks: it brings in much

    return asked(processing_type, parameters).operation.inputs


COMPONENTS: Mapping[str, Callable[[Settings, str, Ready, asyncio.Event], Awaitable[None]]] = {
    PROJECTOR: projector,
    AUTH: auth,
    BILLING: billing,
    PROCESSING: processing,
    SERVER: processing_server,
    RESULTS: results,
    COLLECTOR: collector,
    DICOM: gateway_dicom,
    HTTP: gateway_http,
}


def member(settings: Settings, name: str) -> str:
    """An identity in a consumer group that a restart keeps and no other process of a cluster has."""
    home = hashlib.sha256(str(settings.home).encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{name}-{socket.gethostname()}-{home}")


def secrets(file: Path | None) -> tuple[str, ...]:
    """The secrets in a file, one a line; none without a file.

    Raises:
        SettingsError: the file can't be read.
    """
    if file is None:
        return ()
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The secrets of the payment webhook can't be read: {error}.", "Correct payment_secrets."
        ) from error
    return tuple(line.strip() for line in lines if line.strip())


def kafka(settings: Settings) -> str:
    """Where Kafka listens; the supervisor always says it."""
    if settings.kafka is None:
        raise SettingsError("MEDBUS_KAFKA is not set.", "Start components through `medbus up`.")
    return settings.kafka


async def run(name: str, ready_file: Path) -> None:
    """Run a component until SIGTERM."""
    settings = compose.load()
    logs.configure(settings.log_level)
    log.info("%s starts", name)
    component = COMPONENTS[kind(name)]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready(address: str) -> None:
        # What a process has by now it keeps: no use in looking through it for cycles again and again.
        gc.collect()
        gc.freeze()
        part = ready_file.with_suffix(".part")
        part.write_bytes(msgspec.json.encode({"address": address}))
        part.replace(ready_file)

    await component(settings, name, ready, stop)


def main() -> None:
    """Entry point."""
    lifeline.hold()
    name, ready_file = sys.argv[1:]
    try:
        asyncio.run(run(name, Path(ready_file)))
    except MedbusError as error:
        log.exception("%s can't go on", name)
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
