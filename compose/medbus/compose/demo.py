"""The main job on real files: two hospitals, images in, catalogs, images out, compared byte for byte."""

import asyncio
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pydicom.data import data_manager
from rich.text import Text

from medbus.bus import Bus, Position, Record, Start
from medbus.compose import settings as compose
from medbus.compose.cli import console
from medbus.compose.cli.catalog import read_conditions, read_images, show_conditions, show_images
from medbus.compose.cli.subscriber import carry_out
from medbus.compose.service import Service
from medbus.compose.settings import Settings
from medbus.gateways.dicom.client import DicomFile, fetch, find_files, send
from medbus.projections.images import CatalogFilter
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import (
    Apparatus,
    ImageConflicted,
    ImageDelivered,
    ImageRegistered,
    Request,
    RequestAuthorized,
    RequestRejected,
    Role,
    Terms,
)
from medbus.schemas.topics import DECISIONS, DELIVERIES, IMAGES, REQUESTS
from medbus.streams.contracts import commands

A_HOSPITAL, D_HOSPITAL, STRANGER = "A-hospital", "D-hospital", "STRANGER"
D_AE_TITLE = "D_WS1"
LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass
class Told:
    """What the log said so far, by image."""

    registered: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)


async def run(data: Path | None) -> bool:
    """Run the demonstration; True if every image that was sent came back identical.

    Args:
        data: folder with DICOM files; the files in the pydicom package by default.

    Raises:
        MedbusError: there are no DICOM files, or the service does not come up.
    """
    folder = data or Path(data_manager.DATA_ROOT) / "test_files"
    files = _chosen(folder)
    with _home() as home:
        settings = compose.load(home=home, kafka_port=0, dicom_port=0, http_port=0)
        stop, up = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        service = Service(settings, _tell_component)
        _title("The service starts")
        running = asyncio.create_task(service.run(stop, up.set))
        shown = asyncio.create_task(_show(service, settings, files, up, home / "fetched"))
        try:
            await asyncio.wait([running, shown], return_when=asyncio.FIRST_COMPLETED)
            if not shown.done():  # stopped by a signal, or it did not come up
                await running
                raise KeyboardInterrupt
            return shown.result()
        finally:
            shown.cancel()
            with suppress(asyncio.CancelledError, MedbusError):
                await shown
            stop.set()
            await running


async def _show(
    service: Service, settings: Settings, files: Sequence[DicomFile], up: asyncio.Event, fetched: Path
) -> bool:
    await up.wait()
    status = service.home.status()
    settings = settings.model_copy(update={"kafka": status.bootstrap})
    host, _, port = status.dicom.rpartition(":")
    told = Told()
    async with Bus(status.bootstrap, client_id="medbus-demo", prefix=settings.prefix) as bus:
        following = asyncio.create_task(_follow(bus, told))
        try:
            _title("Two hospitals make contracts")
            await _contract(settings, A_HOSPITAL, _terms_of_a(files))
            await _contract(settings, D_HOSPITAL, _terms_of_d())
            _title("Somebody without a contract is refused")
            await _expect_refusal(host, int(port), settings.ae_title, files[0])
            _title(f"{A_HOSPITAL} registers {len(files)} images")
            sent = await _send(host, int(port), settings.ae_title, files)
            await _until(lambda: sent <= told.registered, "all images to be on the log")
            _title(f"{D_HOSPITAL} fetches them")
            studies = {file.study_instance_uid for file in files if file.sop_instance_uid in sent}
            await _fetch(host, int(port), settings.ae_title, studies, fetched)
            await _until(lambda: sent <= told.delivered, "all deliveries to be on the log")
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
    _title("The image catalog")
    show_images(await read_images(settings, CatalogFilter(), 10_000), False)
    _title("The condition catalog")
    show_conditions(await read_conditions(settings, limit=10_000), False)
    return _compare([file for file in files if file.sop_instance_uid in sent], fetched, len(files))
