"""Collecting by C-GET and C-MOVE, from a gateway of our own and from Orthanc."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bench import orthanc
from bench.orthanc import Orthanc
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from tests.dicom_files import part10
from tests.gateways.collector.collecting import Collecting
from tests.gateways.dcmtk import free_port
from tests.gateways.site import PATIENCE, site
from tests.interoperability.files import data_set, renewed
from tests.interoperability.serving import differences
from tests.synthetic import ct, series, write

from medbus.gateways.collector.archive import Offered
from medbus.gateways.collector.dicom import ANY_SYNTAX, batches, requests
from medbus.gateways.dicom.client import Peer, send
from medbus.gateways.dicom.client.files import open_file
from medbus.schemas.events import Apparatus, Retrieval, Scope

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIND = "1.2.840.10008.5.1.4.1.2.2.1"


@dataclass
class Holder:
    """A source: where it is, a way to fill it, and whether it gives every byte as it got it."""

    ae_title: str
    port: int
    fill: Callable[[Sequence[Path]], Awaitable[None]]
    exact: bool

    def apparatus(self, **changes: Any) -> Apparatus:
        return Apparatus(
            **{
                "apparatus_id": "PACS",
                "ae_title": self.ae_title,
                "host": "localhost",
                "port": self.port,
                **changes,
            }
        )


@asynccontextmanager
async def gateway(service: Collecting, kafka: str, folder: Path) -> AsyncIterator[Holder]:
    """A gateway of another installation."""
    async with site(kafka, folder, ae_title="SOURCE") as source:
        source.auth.subscribers["MEDBUS"] = ("medbus", "MEDBUS")
        await source.contract(
            "medbus",
            Apparatus(apparatus_id="M", ae_title="MEDBUS", host="127.0.0.1", port=service.site.port),
        )

        async def fill(files: Sequence[Path]) -> None:
            sent = await send([open_file(each) for each in files], source.peer())
            assert all(each.stored for each in sent)
            await source.settled()

        yield Holder("SOURCE", source.port, fill, exact=True)


@asynccontextmanager
async def other(service: Collecting, kafka: str, folder: Path) -> AsyncIterator[Holder]:
    """An Orthanc."""
    program = orthanc.program()
    if program is None:
        if os.environ.get("MEDBUS_REQUIRE_PEERS") == "1":
            pytest.fail(orthanc.INSTALL)
        pytest.skip(orthanc.INSTALL)
    running = Orthanc(program, folder, {"MEDBUS": service.site.port})
    await asyncio.to_thread(running.__enter__)
    try:
        peer = Peer(host="127.0.0.1", port=running.port, ae_title=orthanc.AE_TITLE, calling="MEDBUS")

        async def fill(files: Sequence[Path]) -> None:
            sent = await send([open_file(each) for each in files], peer)
            assert all(each.stored for each in sent)

        yield Holder(orthanc.AE_TITLE, running.port, fill, exact=False)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[gateway, other])
async def holder(
    request: pytest.FixtureRequest,
    service: Collecting,
    kafka: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Holder]:
    """Both sources in turn."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(
            request.param(service, kafka, tmp_path_factory.mktemp("source"))
        )


@pytest.mark.parametrize("retrieval", [Retrieval.C_GET, Retrieval.C_MOVE])
async def test_each_image_is_registered_once_byte_for_byte(
    service: Collecting, holder: Holder, tmp_path: Path, retrieval: Retrieval
) -> None:
    files = [*series(tmp_path, 3), renewed("MR_small_jp2klossless.dcm")(tmp_path), *large(tmp_path)]
    await holder.fill(files)
    async with service.contract(retrieval, holder.apparatus()) as sender:
        looked = await sender.look()
        assert looked.problem == ""
        assert looked.registered >= len(files), looked
        again = await sender.look()  # another process: it remembers nothing
        assert (again.problem, again.new, again.registered) == ("", 0, 0)
        more = series(tmp_path, 1)
        await holder.fill(more)
        last = await sender.look()
        assert (last.problem, last.new, last.registered) == ("", 1, 1)
        for file in [*files, *more]:
            [event] = (await service.images(file.stem))[file.stem]
            assert (event.registrant, event.apparatus_id) == (sender.subscriber, "PACS")
            stored, sent = await service.read(file.stem), part10(file)
            assert event.blob.transfer_syntax_uid == sent.transfer_syntax_uid
            if holder.exact:
                assert stored == sent.data_set
            else:
                kept = data_set((stored, sent.transfer_syntax_uid))
                assert differences(kept, data_set(file)) == []


@pytest.mark.parametrize("retrieval", [Retrieval.C_GET, Retrieval.C_MOVE])
async def test_a_refused_image_does_not_stop_the_others(
    service: Collecting, holder: Holder, tmp_path: Path, retrieval: Retrieval
) -> None:
    study = str(ct().StudyInstanceUID)
    images = [write(ct(Modality=each, StudyInstanceUID=study), tmp_path) for each in ("CT", "PT", "PT", "CT")]
    await holder.fill(images)
    scope = Scope(modalities=("CT", "MR"))
    async with (
        service.contract(retrieval, holder.apparatus(), scope=scope) as sender,
        service.running() as running,
    ):
        await running.until("two looks", lambda: len(running.of(sender)) >= 2)
        first, second = running.of(sender)[:2]
    await service.site.settled()
    registered = await service.images(*(each.stem for each in images))
    assert [len(registered[each.stem]) for each in images] == [1, 0, 0, 1]
    assert first.problem == ""
    if retrieval is Retrieval.C_GET:
        assert first.refused == 2
        assert second.new == 0, "what was refused for good is not fetched again"


async def test_it_follows_the_contract(service: Collecting, holder: Holder, tmp_path: Path) -> None:
    async with service.running() as running:
        async with service.contract(Retrieval.C_GET, holder.apparatus()) as sender:
            await running.until("a look", lambda: len(running.of(sender)) >= 1)
            [came] = series(tmp_path, 1)
            await holder.fill([came])
            await service_shows(service, came.stem)
        looks = len(running.of(sender))
        [late] = series(tmp_path, 1)
        await holder.fill([late])
        await asyncio.sleep(2.5)  # two looks' time
        assert len(running.of(sender)) <= looks + 1, "a look that was under way may end"
        assert (await service.images(late.stem))[late.stem] == []
        # Under a new contract it comes.
        async with service.contract(Retrieval.C_GET, holder.apparatus()):
            await service_shows(service, late.stem)


async def test_a_source_that_is_away_holds_up_no_other(
    service: Collecting, holder: Holder, tmp_path: Path
) -> None:
    [file] = series(tmp_path, 1)
    away = Apparatus(apparatus_id="X", ae_title="AWAY", host="127.0.0.1", port=free_port())
    async with (
        service.contract(Retrieval.C_GET, away) as lost,
        service.contract(Retrieval.C_GET, holder.apparatus()),
        service.running() as running,
    ):
        await running.until("a failed look", lambda: any(each.problem for each in running.of(lost)))
        await holder.fill([file])
        await service_shows(service, file.stem)
        assert "AWAY at 127.0.0.1" in running.of(lost)[0].problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": None}, "no host and port"),
        ({"host": "no.such.host.invalid"}, "has no address"),
        ({"ae_title": "NOBODY"}, ""),
    ],
)
async def test_what_is_wrong_is_told(
    service: Collecting, holder: Holder, changes: dict[str, Any], said: str
) -> None:
    async with service.contract(Retrieval.C_GET, holder.apparatus(**changes)) as sender:
        problem = (await sender.look()).problem
    assert said in problem


async def test_an_ae_title_of_two_contracts_is_no_good(service: Collecting, tmp_path: Path) -> None:
    """Else images of one would be registered under the contract of the other."""
    series(tmp_path, 1)
    scanner = Apparatus(apparatus_id="CT#1", ae_title="TWICE")
    async with (
        service.contract(Retrieval.FOLDER, scanner, str(tmp_path)) as one,
        service.contract(Retrieval.FOLDER, scanner, str(tmp_path)) as other_one,
    ):
        first, second = sorted((one, other_one), key=lambda each: each.subscriber)
        looked = await second.look()
        assert looked.registered == 0
        assert f"The AE title TWICE is that of {first.subscriber} too" in looked.problem


@pytest.mark.parametrize(
    ("levels", "classes", "said"),
    [
        (("STUDY", "SERIES"), True, "C-FIND at the IMAGE level with A900H"),
        (("STUDY", "SERIES", "IMAGE"), False, "does not say the SOP class"),
    ],
)
async def test_a_source_that_can_not_be_asked_is_told(
    service: Collecting, levels: tuple[str, ...], classes: bool, said: str
) -> None:
    image = ct()

    def find(event: evt.Event) -> Any:
        asked = event.identifier
        if asked.QueryRetrieveLevel not in levels:
            yield 0xA900, None
            return
        answer = Dataset()
        answer.QueryRetrieveLevel = asked.QueryRetrieveLevel
        answer.StudyInstanceUID = image.StudyInstanceUID
        if asked.QueryRetrieveLevel != "STUDY":
            answer.SeriesInstanceUID = image.SeriesInstanceUID
        if asked.QueryRetrieveLevel == "IMAGE":
            answer.SOPInstanceUID = image.SOPInstanceUID
            if classes:
                answer.SOPClassUID = image.SOPClassUID
        yield 0xFF00, answer

    entity = AE("LIMITED")
    entity.add_supported_context(FIND)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    assert server is not None
    apparatus = Apparatus(
        apparatus_id="L", ae_title="LIMITED", host="127.0.0.1", port=int(server.server_address[1])
    )
    try:
        async with service.contract(Retrieval.C_GET, apparatus) as sender:
            assert said in (await sender.look()).problem
    finally:
        await asyncio.to_thread(server.shutdown)


async def test_requests_are_of_one_series_and_batches_of_one_association() -> None:
    images = [Offered("1.2", f"1.2.{n % 3}", f"1.2.3.{n}", f"1.2.840.{n % 20}") for n in range(400)]
    asked = list(requests(images))
    assert sorted(each for some in asked for each in some) == sorted(images)
    assert all(len({each[:2] for each in some}) == 1 and len(some) <= 100 for some in asked)
    found = batches(images)
    assert sorted(each for _, some in found for each in some) == sorted(images)
    for kinds, some in found:
        assert len(kinds) <= 127
        assert {(each.sop_class_uid, syntax) for each in some for syntax in ANY_SYNTAX} == set(kinds)


def large(folder: Path) -> list[Path]:
    """An image of 8 MiB: it comes while it is written."""
    return series(folder / "large", 1, side=2048)


async def service_shows(service: Collecting, uid: str) -> None:
    """Wait until an image is in the catalog."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while await service.site.images.known(uid) is None:
        assert asyncio.get_running_loop().time() < deadline, f"{uid} does not come"
        await asyncio.sleep(0.05)
