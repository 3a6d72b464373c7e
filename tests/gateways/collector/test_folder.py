"""A watched folder: what has come to rest in it is registered, once."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.dicom_files import part10, wheel_file
from tests.gateways.collector.collecting import Collecting
from tests.synthetic import ct, series, write

from medbus.schemas.events import Apparatus, ImageConflicted, Retrieval, Scope
from medbus.schemas.topics import IMAGES, REQUESTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCANNER = Apparatus(apparatus_id="CT#1", ae_title="SCANNER")


async def test_each_image_is_registered_once_byte_for_byte(service: Collecting, tmp_path: Path) -> None:
    files = series(tmp_path / "below" / "deeper", 3)
    (tmp_path / "notes.txt").write_text("no image")
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender:
        first = await sender.look()
        assert (first.problem, first.new, first.registered, first.refused) == ("", 3, 3, 0)
        again = await sender.look()  # another process: it remembers nothing
        assert (again.problem, again.new, again.registered) == ("", 0, 0)
        files += series(tmp_path, 1)
        assert (await sender.look()).registered == 1
        for uid, registrations in (await service.images(*(each.stem for each in files))).items():
            [event] = registrations
            assert (event.registrant, event.apparatus_id) == (sender.subscriber, "CT#1")
            [file] = [each for each in files if each.stem == uid]
            assert await service.read(uid) == part10(file).data_set


async def test_compressed_images_stay_as_they_are(service: Collecting, tmp_path: Path) -> None:
    original = wheel_file("MR_small_jp2klossless.dcm")
    (tmp_path / "image").write_bytes(original.read_bytes())
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender:
        assert (await sender.look()).registered == 1
    [record] = [each for each in await service.site.images.catalog() if each.registrant == sender.subscriber]
    assert await service.read(record.sop_instance_uid) == part10(original).data_set


async def test_a_refused_image_does_not_stop_the_others(service: Collecting, tmp_path: Path) -> None:
    names = [write(ct(Modality=each), tmp_path).stem for each in ("CT", "MR", "CT")]
    cut = write(ct(), tmp_path)
    cut.write_bytes(cut.read_bytes()[:-8])
    scope = Scope(modalities=("CT",))
    async with (
        service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path), scope=scope) as sender,
        service.running() as running,
    ):
        await running.until("two looks", lambda: len(running.of(sender)) >= 2)
        first, second = running.of(sender)[:2]
        assert (first.new, first.registered, first.refused) == (4, 2, 2)
        assert (second.new, second.refused) == (0, 0), "what was refused for good is not tried again"
        # Under other terms it is.
        await sender.change(msgspec.structs.replace(sender.terms, scope=Scope()))
        await running.until("the MR image", lambda: sum(e.registered for e in running.of(sender)) == 3)
    registered = await service.images(*names)
    assert {uid: len(each) for uid, each in registered.items()} == dict.fromkeys(names, 1)


async def test_a_file_that_grows_waits(service: Collecting, tmp_path: Path) -> None:
    [whole] = series(tmp_path / "whole", 1)
    contents = whole.read_bytes()
    watched = tmp_path / "watched"
    watched.mkdir()
    path = watched / "growing.dcm"
    async with (
        service.contract(Retrieval.FOLDER, SCANNER, str(watched)) as sender,
        service.running(settle_seconds=0.3) as running,
    ):
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(contents), 3000):
                file.write(contents[start : start + 3000])
                await asyncio.sleep(0.1)
                assert sum(each.registered + each.refused for each in running.of(sender)) == 0
        await running.until("it", lambda: sum(each.registered for each in running.of(sender)) == 1)
    assert await service.read(whole.stem) == part10(whole).data_set


async def test_other_contents_under_a_known_uid_are_a_conflict(service: Collecting, tmp_path: Path) -> None:
    image = ct()
    file = write(image, tmp_path)
    served = part10(file).data_set
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender:
        assert (await sender.look()).registered == 1
        image.PatientComments = "changed"
        write(image, tmp_path)
        looked = await sender.look()
    assert (looked.registered, looked.refused) == (0, 1)
    assert file.stem in looked.remark
    conflicts = await service.site.events(IMAGES, ImageConflicted)
    assert [each.sop_instance_uid for each in conflicts].count(file.stem) == 1
    assert await service.read(file.stem) == served


async def test_the_network_of_the_contract_holds(service: Collecting, tmp_path: Path) -> None:
    files = series(tmp_path, 1)
    networks = ("192.0.2.0/24",)
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path), networks=networks) as sender:
        looked = await sender.look()
        assert looked.registered == 0
        assert "WRONG_NETWORK" in looked.problem
        assert "127.0.0.1" in looked.problem
    # An apparatus with a host speaks from there.
    apparatus = Apparatus(apparatus_id="CT#1", ae_title="SCANNER", host="192.0.2.7", port=104)
    async with service.contract(Retrieval.FOLDER, apparatus, str(tmp_path), networks=networks) as sender:
        assert (await sender.look()).registered == 1
    assert len((await service.images(files[0].stem))[files[0].stem]) == 1


async def test_nothing_is_asked_for_while_nothing_is_new(service: Collecting, tmp_path: Path) -> None:
    before = sum((await service.site.bus.end_offsets(REQUESTS)).values())
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender:
        assert (await sender.look()).problem == ""
    assert sum((await service.site.bus.end_offsets(REQUESTS)).values()) == before


@pytest.mark.parametrize(("address", "said"), [("missing", "can't be read"), ("", "no absolute path")])
async def test_a_folder_that_is_none_is_told(
    service: Collecting, tmp_path: Path, address: str, said: str
) -> None:
    where = str(tmp_path / address) if address else "relative/folder"
    async with service.contract(Retrieval.FOLDER, SCANNER, where) as sender:
        assert said in (await sender.look()).problem


async def test_much_is_read_look_by_look(service: Collecting, tmp_path: Path) -> None:
    files = series(tmp_path, 5)
    async with (
        service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender,
        service.running(images_per_look=2) as running,
    ):
        await running.until("all", lambda: sum(each.registered for each in running.of(sender)) == 5)
        assert [each.registered for each in running.of(sender)][:3] == [2, 2, 1]
        assert [each.more for each in running.of(sender)][:3] == [True, True, False]
    assert all(len(each) == 1 for each in (await service.images(*(f.stem for f in files))).values())
