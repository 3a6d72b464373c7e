"""Collecting by QIDO-RS and WADO-RS."""

import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from bench import orthanc
from bench.process import NODELAY
from bench.process import Server as Process
from tests.dicom_files import part10
from tests.gateways.collector.collecting import Collecting
from tests.gateways.collector.dicomweb import Server, serving
from tests.gateways.dcmtk import free_port
from tests.interoperability.files import data_set, renewed
from tests.interoperability.serving import differences
from tests.synthetic import ct, series, write

from medbus.gateways.dicom.client import Peer, send
from medbus.gateways.dicom.client.files import open_file
from medbus.schemas.events import Apparatus, Retrieval, Scope

pytestmark = pytest.mark.asyncio(loop_scope="module")

VNA = Apparatus(apparatus_id="VNA", ae_title="VNA")
PLUGIN = Path(os.environ.get("MEDBUS_ORTHANC_PLUGINS", "/usr/share/orthanc/plugins"), "libOrthancDicomWeb.so")


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.mark.parametrize("change", [{}, {"page": 2}, {"counts": False}, {"whole": True}])
async def test_each_image_is_registered_once_byte_for_byte(
    service: Collecting, server: Server, tmp_path: Path, change: dict[str, object]
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    files = [
        *series(tmp_path, 3),
        *(write(ct(), tmp_path) for _ in range(3)),
        renewed("MR_small_RLE.dcm")(tmp_path),
        *series(tmp_path, 1, side=1500),
    ]
    server.add(*files)
    async with service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender:
        first = await sender.look()
        assert (first.problem, first.new, first.registered) == ("", len(files), len(files))
        again = await sender.look()  # another process: it remembers nothing
        assert (again.problem, again.new) == ("", 0)
        server.add(*(more := series(tmp_path, 1)))
        assert (await sender.look()).registered == 1
        for file in [*files, *more]:
            [event] = (await service.images(file.stem))[file.stem]
            assert (event.registrant, event.apparatus_id) == (sender.subscriber, "VNA")
            assert event.blob.transfer_syntax_uid == part10(file).transfer_syntax_uid
            assert await service.read(file.stem) == part10(file).data_set
    assert set(server.accepted) == {'multipart/related; type="application/dicom"; transfer-syntax=*'}


async def test_a_study_that_did_not_change_is_not_looked_into(
    service: Collecting, server: Server, tmp_path: Path
) -> None:
    old, new = (write(ct(), tmp_path) for _ in range(2))
    server.add(old)
    async with (
        service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender,
        service.running() as running,
    ):
        # The first look fetches it, the second sees that all is known.
        await running.until("two looks", lambda: len(running.of(sender)) >= 2)
        before = len(server.asked)
        server.add(new)
        await running.until("the other", lambda: sum(e.registered for e in running.of(sender)) == 2)
    study = str(data_set(old).StudyInstanceUID)
    assert not [each for each in server.asked[before:] if study in each]


async def test_what_the_source_does_not_give_does_not_stop_the_others(
    service: Collecting, server: Server, tmp_path: Path
) -> None:
    files = series(tmp_path, 4, Modality="CT")
    server.add(*files, write(ct(Modality="PT"), tmp_path))
    server.broken.add(files[1].stem)
    scope = Scope(modalities=("CT",))
    async with service.contract(Retrieval.DICOMWEB, VNA, server.url, scope=scope) as sender:
        looked = await sender.look()
    assert (looked.problem, looked.new) == ("", 5)
    assert (looked.registered, looked.refused, looked.failed) == (3, 1, 1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda body: body[:-2000], "ends before its first part does"),
        (lambda body: b"no multipart at all", "ends before its first part does"),
        (lambda body: body[:-60] + body[-38:], "cut short"),
    ],
)
async def test_a_body_that_is_not_whole_is_not_registered(
    service: Collecting, server: Server, tmp_path: Path, harm: Callable[[bytes], bytes], said: str
) -> None:
    [file] = series(tmp_path, 1)
    server.add(file)
    server.harm = harm
    async with service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender:
        looked = await sender.look()
        assert (looked.registered, looked.refused + looked.failed) == (0, 1)
        assert said in looked.remark
        server.harm = bytes
        assert (await sender.look()).registered == 1
    assert await service.read(file.stem) == part10(file).data_set


async def test_another_image_than_was_asked_for_is_refused(
    service: Collecting, server: Server, tmp_path: Path
) -> None:
    one, other = series(tmp_path, 2)
    server.add(one)
    contents = one.read_bytes()
    server.harm = lambda body: body.replace(contents, other.read_bytes())
    async with service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender:
        looked = await sender.look()
    assert (looked.registered, looked.refused) == (0, 1)
    assert (await service.images(one.stem, other.stem)) == {one.stem: [], other.stem: []}


async def test_no_other_place_is_asked(service: Collecting, server: Server, tmp_path: Path) -> None:
    async with serving() as elsewhere:
        elsewhere.add(*series(tmp_path, 1))
        server.redirect = elsewhere.url + "/studies"
        async with service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender:
            problem = (await sender.look()).problem
        assert f"sends us on to '{elsewhere.url}/studies'" in problem
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://127.0.0.1/x", "no root of a DICOMweb service"),
        ("http://user:secret@127.0.0.1/x", "holds a password"),
        ("http://no.such.host.invalid/", "has no address"),
        ("http://127.0.0.1:{free}/dicom-web", "does not answer"),
        ("http://127.0.0.1:{server}/elsewhere", "answered 404"),
    ],
)
async def test_what_is_wrong_is_told(service: Collecting, server: Server, address: str, said: str) -> None:
    where = address.format(free=free_port(), server=server.port)
    async with service.contract(Retrieval.DICOMWEB, VNA, where) as sender:
        problem = (await sender.look()).problem
    assert said in problem
    assert "secret" not in problem


async def test_passwords_come_from_a_file(service: Collecting, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login medbus password secret\n")
    async with service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender:
        await sender.look()
        assert set(server.authorization) == {""}
        server.authorization.clear()
        await sender.look(netrc=file)
        assert set(server.authorization) == {"Basic bWVkYnVzOnNlY3JldA=="}


async def test_old_studies_can_be_left_out(service: Collecting, server: Server, tmp_path: Path) -> None:
    async with service.contract(Retrieval.DICOMWEB, VNA, server.url) as sender:
        await sender.look()
        before = datetime.now(UTC)
        await sender.look(study_days=7)
        after = datetime.now(UTC)
    assert server.dates[0] == ""
    assert server.dates[-1] in {f"{each - timedelta(days=7):%Y%m%d}-" for each in (before, after)}


async def test_orthanc(service: Collecting, tmp_path: Path) -> None:
    program = orthanc.program()
    if program is None or not PLUGIN.exists():
        pytest.skip("apt-get install orthanc orthanc-dicomweb")
    dicom, http = free_port(), free_port()
    file = tmp_path / "orthanc.json"
    file.write_text(
        json.dumps(
            {
                "StorageDirectory": str(tmp_path / "storage"),
                "IndexDirectory": str(tmp_path / "storage"),
                "DicomAet": "ORTHANC",
                "DicomPort": dicom,
                "HttpPort": http,
                "RemoteAccessAllowed": False,
                "Plugins": [str(PLUGIN)],
            }
        )
    )
    files = [*series(tmp_path, 3), renewed("MR_small_jp2klossless.dcm")(tmp_path)]
    with Process([program, str(file)], port=dicom, log=tmp_path / "log", environment=NODELAY):
        peer = Peer(host="127.0.0.1", port=dicom, ae_title="ORTHANC", calling="MEDBUS")
        sent = await send([open_file(each) for each in files], peer)
        assert all(each.stored for each in sent)
        async with service.contract(Retrieval.DICOMWEB, VNA, f"http://127.0.0.1:{http}/dicom-web/") as sender:
            first = await sender.look()
            assert (first.problem, first.remark, first.registered) == ("", "", len(files))
            assert (await sender.look()).new == 0
    for each in files:
        [event] = (await service.images(each.stem))[each.stem]
        stored = await service.read(each.stem)
        assert differences(data_set((stored, event.blob.transfer_syntax_uid)), data_set(each)) == []
