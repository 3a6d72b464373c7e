"""SIGKILL any process of the service while images are sent: what was answered with success is there, once.

And nothing that was refused is.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from tests import synthetic
from tests.running_service import RunningService

from medbus.bus import Bus
from medbus.gateways.dicom.client import DicomFile, Peer, Sent, fetch, find_files, send
from medbus.gateways.dicom.client.files import open_file
from medbus.gateways.dicom.client.peer import PeerUnreachable
from medbus.projections.database import Database
from medbus.projections.images import CatalogFilter, ImageReader
from medbus.schemas.events import Apparatus, ImageRegistered, Role, Terms
from medbus.schemas.topics import IMAGES

pytestmark = [pytest.mark.timeout(300)]

IMAGES_SENT = 200
PER_ASSOCIATION = 20
KILL_AFTER = 60
ALL_SECONDS = 120


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("faults") / "home")
    try:
        running.start()
        asyncio.run(
            running.contract(
                "A-hospital",
                Terms(
                    name="A Hospital",
                    roles=(Role.IMAGE_REGISTERING, Role.IMAGE_RECEIVING),
                    apparatuses=(Apparatus(apparatus_id="A_CT#1", ae_title="A_CT1", modality="CT"),),
                    networks=("127.0.0.0/8",),
                ),
            )
        )
        yield running
        running.stop()
    finally:
        running.close()


@pytest.mark.parametrize("component", ["kafka", "auth", "projector", "gateway-dicom"])
async def test_what_was_answered_with_success_is_there_once_and_nothing_else(
    service: RunningService, component: str, tmp_path: Path
) -> None:
    files = find_files(tmp_path / "sent") if synthetic.series(tmp_path / "sent", IMAGES_SENT) else []
    answers: dict[str, bool] = {}
    killed: set[int] = set()

    async for sent in _insist(files, service):
        if sent.outcome is not None:
            answers[sent.file.sop_instance_uid] = sent.stored
        if len(answers) >= KILL_AFTER and not killed:
            killed = service.kill(component)

    stored = {uid for uid, success in answers.items() if success}
    refused = answers.keys() - stored
    await service.until(
        lambda: bool(pids := service.pids(component)) and not killed & set(pids),
        f"{component} to be up again",
    )
    catalog = await _catalog(service, files[0].study_instance_uid, stored)
    assert len(answers) == IMAGES_SENT
    assert len(stored) > KILL_AFTER
    assert catalog.keys() >= stored
    assert not catalog.keys() & refused
    assert set(catalog.values()) == {1}
    assert await _registered(service, stored) == dict.fromkeys(stored, 1)
    await _identical(files, stored, service.peer("A_CT1"), tmp_path / "fetched")


async def _insist(files: Sequence[DicomFile], service: RunningService) -> AsyncIterator[Sent]:
    """Send in several associations; what got no answer is sent again, as a modality does."""
    waiting = list(files)
    async with asyncio.timeout(ALL_SECONDS):
        while waiting:
            batch, waiting = waiting[:PER_ASSOCIATION], waiting[PER_ASSOCIATION:]
            answered: asyncio.Queue[Sent | None] = asyncio.Queue()
            sending = asyncio.create_task(_send(batch, service, answered))
            while (sent := await answered.get()) is not None:
                if sent.outcome is None:
                    waiting.append(sent.file)
                else:
                    yield sent
            await sending


async def _send(
    batch: list[DicomFile], service: RunningService, answered: "asyncio.Queue[Sent | None]"
) -> None:
    try:
        await send(batch, service.peer("A_CT1"), progress=answered.put_nowait)
        await asyncio.sleep(0)  # the last progress call is scheduled before this
    except PeerUnreachable as error:
        for file in batch:
            answered.put_nowait(Sent(file=file, error=str(error)))
        await asyncio.sleep(0.5)
    finally:
        answered.put_nowait(None)


async def _catalog(service: RunningService, study: str, stored: set[str]) -> Counter[str]:
    """How often each image of the study is in the catalog, when the catalog has come as far as it will."""
    found: Counter[str] = Counter()
    async with Database(service.settings().database_url) as database:
        for _ in range(100):
            rows = await ImageReader(database).catalog(CatalogFilter(study_instance_uid=study), limit=10_000)
            found = Counter(row.sop_instance_uid for row in rows)
            if found.keys() >= stored:
                break
            await asyncio.sleep(0.1)
    return found


async def _registered(service: RunningService, uids: set[str]) -> Counter[str]:
    """How many different events the log has for each image."""
    settings = service.settings()
    events: set[tuple[str, object]] = set()
    async with Bus(str(settings.kafka), client_id="test", prefix=settings.prefix) as bus:
        async for batch in bus.replay(IMAGES):
            for record in batch:
                if isinstance(record.event, ImageRegistered):
                    events.add((record.event.instance.sop_instance_uid, record.event.meta.event_id))
    return Counter(uid for uid, _ in events if uid in uids)


async def _identical(files: Sequence[DicomFile], stored: set[str], peer: Peer, folder: Path) -> None:
    fetched = await fetch(peer, folder, study_instance_uid=files[0].study_instance_uid)
    assert {each.sop_instance_uid for each in fetched if each.path} >= stored
    for file in files:
        if file.sop_instance_uid in stored:
            back = open_file(folder / f"{file.sop_instance_uid}.dcm")
            assert b"".join(back.chunks()) == b"".join(file.chunks()), file.path
