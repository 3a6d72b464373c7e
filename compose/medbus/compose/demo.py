"""The main job on real files: two hospitals, images in, catalogs, images out, compared byte for byte."""

import asyncio
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from uuid import uuid4

from pydicom.data import data_manager
from rich.text import Text

from medbus.bus import Bus, Record, Start
from medbus.compose import settings as compose
from medbus.compose.cli import console
from medbus.compose.cli.catalog import (
    ConditionFilter,
    read_conditions,
    read_images,
    show_conditions,
    show_images,
)
from medbus.compose.cli.exchange import why
from medbus.compose.cli.subscriber import carry_out
from medbus.compose.cli.up import tell_component
from medbus.compose.demo_fees import TARIFF, set_prices, show_fees
from medbus.compose.service import COLLECTOR, PROCESSING, RESULTS, SERVER, Service
from medbus.compose.settings import Settings
from medbus.gateways.dicom.client import DicomFile, Peer, fetch, find_files, send
from medbus.gateways.dicom.client.files import open_file
from medbus.gateways.dicom.client.peer import PeerUnreachable
from medbus.projections.conditions import ImageConditions
from medbus.projections.images import CatalogFilter
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import (
    Apparatus,
    DeliveryRequested,
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
MANY = 100_000
WAIT_SECONDS = 30.0
NOT_SHOWN = ", ".join((PROCESSING, SERVER, RESULTS, COLLECTOR))
"""Components that would only take time to start."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the DICOM gateway is."""

    host: str
    port: int
    ae_title: str

    def peer(self, calling: str) -> Peer:
        """The gateway as somebody with this AE title sees it."""
        return Peer(host=self.host, port=self.port, ae_title=self.ae_title, calling=calling)


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
    files = _chosen(data or Path(data_manager.DATA_ROOT) / "test_files")
    with _home() as home:
        settings = compose.load(home=home, kafka_port=0, dicom_port=0, http_port=0, without=NOT_SHOWN)
        stop, up = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        service = Service(settings, tell_component)
        _title("The service starts")
        running = asyncio.create_task(service.run(stop, up.set))
        shown = asyncio.create_task(_show(service, settings, files, up, home / "fetched"))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([running, shown, stopped], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                raise KeyboardInterrupt
            if shown.done():
                return shown.result()
            await running  # it did not come up; this says why
            raise MedbusError("The service ended too early.", "Try again, or run `medbus up` to see why.")
        finally:
            stopped.cancel()
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
            stop.set()
            await asyncio.gather(running, return_exceptions=True)


async def _show(
    service: Service, settings: Settings, files: Sequence[DicomFile], up: asyncio.Event, fetched: Path
) -> bool:
    await up.wait()
    status = service.home.status()
    settings = settings.model_copy(update={"kafka": status.bootstrap})
    host, _, port = status.dicom.rpartition(":")
    gateway = Gateway(host=host, port=int(port), ae_title=settings.ae_title)
    told = Told()
    async with Bus(status.bootstrap, client_id="medbus-demo", prefix=settings.prefix) as bus:
        following = asyncio.create_task(_follow(bus, told))
        try:
            _title("The service has a price list")
            await set_prices(settings)
            _title("Two hospitals make contracts")
            await _contract(settings, A_HOSPITAL, _terms_of_a(files))
            await _contract(settings, D_HOSPITAL, _terms_of_d())
            _title("Somebody without a contract is refused")
            await _refused(gateway, files[:1])
            _title(f"{A_HOSPITAL} registers {len(files)} images")
            sent = await _send(gateway, files)
            await _until(lambda: sent <= told.registered, "all images to be on the log")
            _title(f"{D_HOSPITAL} fetches them")
            studies = dict.fromkeys(f.study_instance_uid for f in files if f.sop_instance_uid in sent)
            await _fetch(gateway, studies, fetched)
            await _until(lambda: sent <= told.delivered, "all deliveries to be on the log")
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    _title("The image catalog")
    show_images(await read_images(settings, CatalogFilter(), MANY), False)
    _title("The condition catalog, one image for each patient and apparatus")
    show_conditions(_sample(await read_conditions(settings, ConditionFilter(), MANY)), False)
    _title("What it costs")
    await show_fees(settings, D_HOSPITAL, len(sent))
    return _compare(files, sent, fetched)


def _sample(found: Sequence[ImageConditions]) -> list[ImageConditions]:
    """One image for each patient and apparatus, of those whose conditions are known."""
    return list({(each.patient_id, each.apparatus_id): each for each in found if each.conditions}.values())


@contextmanager
def _home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="medbus-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chosen(folder: Path) -> list[DicomFile]:
    """The DICOM files of a folder, one for each SOP Instance UID."""
    found: dict[str, DicomFile] = {}
    left = 0
    for file in find_files(folder):
        if file.study_instance_uid and file.sop_instance_uid not in found:
            found[file.sop_instance_uid] = file
        else:
            left += 1
    if not found:
        raise MedbusError(
            f"There are no DICOM images in {folder}.", "Name a folder that has some with DATA=."
        )
    note = f" ({left} more are the same images in other encodings, or lack identifiers)" if left else ""
    console.out.print(f"{len(found)} DICOM files from {folder}{note}", soft_wrap=True)
    return list(found.values())


def _apparatus(file: DicomFile) -> Apparatus:
    modality = file.modality or "OT"
    return Apparatus(apparatus_id=f"A_{modality}#1", ae_title=f"A_{modality}1"[:16], modality=modality)


def _terms_of_a(files: Sequence[DicomFile]) -> Terms:
    apparatuses = {apparatus.ae_title: apparatus for apparatus in map(_apparatus, files)}
    return Terms(
        name="A Hospital",
        roles=(Role.IMAGE_REGISTERING, Role.IMAGE_RECEIVING),
        apparatuses=tuple(apparatuses.values()),
        networks=LOOPBACK,
        tariff=TARIFF,
    )


def _terms_of_d() -> Terms:
    return Terms(
        name="D Hospital",
        roles=(Role.IMAGE_RECEIVING,),
        apparatuses=(Apparatus(apparatus_id="D_WS#1", ae_title=D_AE_TITLE),),
        networks=LOOPBACK,
        tariff=TARIFF,
    )


async def _contract(settings: Settings, subscriber: str, terms: Terms) -> None:
    command = commands.Contract(
        command_id=uuid4(), at=datetime.now(UTC), source="demo", subscriber=subscriber, terms=terms
    )
    await carry_out(settings, command)
    roles = ", ".join(role.lower() for role in terms.roles)
    console.out.print(f"{subscriber}: {roles}; {', '.join(a.apparatus_id for a in terms.apparatuses)}")


async def _refused(gateway: Gateway, files: Sequence[DicomFile]) -> None:
    try:
        await send(files, gateway.peer(STRANGER))
    except PeerUnreachable as error:
        console.out.print(f"{STRANGER}: {error.message}")
    else:
        raise MedbusError(
            f"{STRANGER} has no contract, but was let in.", "This is a fault of medbus: report it."
        )


async def _send(gateway: Gateway, files: Sequence[DicomFile]) -> set[str]:
    """Send each file from the apparatus of its modality; returns what was answered with success."""
    by_title: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        by_title[_apparatus(file).ae_title].append(file)
    stored: set[str] = set()
    for title, batch in by_title.items():
        for each in await send(batch, gateway.peer(title)):
            if each.stored:
                stored.add(each.file.sop_instance_uid)
            else:
                console.out.print(f"  {each.file.path.name} was refused: {why(each)}", style="yellow")
    return stored


async def _fetch(gateway: Gateway, studies: Iterable[str], folder: Path) -> None:
    for study in studies:
        for each in await fetch(gateway.peer(D_AE_TITLE), folder, study_instance_uid=study):
            if each.path is None:
                console.out.print(f"  {each.sop_instance_uid} did not come: {each.error}", style="bold red")


def _compare(files: Sequence[DicomFile], sent: set[str], folder: Path) -> bool:
    """Whether each data set that was registered came back byte for byte."""
    _title("What was sent and what was fetched, byte for byte")
    different = [file for file in files if file.sop_instance_uid in sent and not _identical(file, folder)]
    for file in different:
        console.out.print(f"{file.path.name}: NOT the same", style="bold red")
    size = console.bytes_text(sum(file.size for file in files if file.sop_instance_uid in sent))
    console.out.print(
        f"{len(sent) - len(different)} of {len(sent)} registered images came back identical ({size}); "
        f"{len(files) - len(sent)} of {len(files)} were refused.",
        style="bold green" if sent and not different else "bold red",
    )
    return bool(sent) and not different


def _identical(file: DicomFile, folder: Path) -> bool:
    path = folder / f"{file.sop_instance_uid}.dcm"
    if not path.exists():
        return False
    back = open_file(path)
    return back.transfer_syntax_uid == file.transfer_syntax_uid and all(
        one == other for one, other in zip_longest(file.chunks(), back.chunks())
    )


async def _follow(bus: Bus, told: Told) -> None:
    """Show each step as it comes onto the log."""
    async with bus.subscribe(REQUESTS, DECISIONS, IMAGES, DELIVERIES, start=Start.BEGINNING) as batches:
        async for batch in batches:
            for record in batch:
                _note(record, told)


def _note(record: Record, told: Told) -> None:
    match record.event:
        case ImageRegistered(instance=instance):
            told.registered.add(instance.sop_instance_uid)
        case ImageDelivered(sop_instance_uid=uid):
            told.delivered.add(uid)
    if step := _step(record.event):
        line = Text(f"  {record.timestamp:%H:%M:%S.%f}"[:-3] + " ", style="dim")
        line.append(f"{record.position!s:<16} ", style="cyan")
        line.append(step)
        console.out.print(line, soft_wrap=True)


def _step(event: object) -> str:
    """An event in words; empty for those that are not part of the story."""
    text = ""
    match event:
        case DeliveryRequested(evidence=evidence, study_instance_uid=study):
            text = f"{evidence.calling_ae_title} asks for study {study}"
        case Request(evidence=evidence):
            kind = type(event).__name__.removesuffix("Requested").lower()
            text = f"{evidence.calling_ae_title} asks for {kind}"
        case RequestAuthorized(subscriber=subscriber, apparatus_id=apparatus):
            text = f"granted to {subscriber}" + (f", {apparatus}" if apparatus else "")
        case RequestRejected(reason=reason, detail=detail):
            text = f"refused, {reason}: {detail}"
        case ImageRegistered(instance=instance, series=series, blob=blob):
            text = f"{series.modality or 'image'} {instance.sop_instance_uid} registered, {blob.size} bytes"
        case ImageConflicted(sop_instance_uid=uid):
            text = f"{uid} came with other contents; both are kept"
        case ImageDelivered(subscriber=subscriber, sop_instance_uid=uid):
            text = f"{uid} delivered to {subscriber}"
    return text


async def _until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise MedbusError(f"Waited {WAIT_SECONDS:.0f} s in vain for {what}.", "See the log files.") from None


def _title(text: str) -> None:
    console.out.rule(Text(text, style="bold"), align="left")
