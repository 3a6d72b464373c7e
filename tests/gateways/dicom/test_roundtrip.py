"""Real files in and out again, by real programs: not a byte of their data sets is lost or changed."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.dicom_files import shared_files, shared_folder, wheel_files
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from tests.gateways.site import Site

from medbus.gateways.dicom.client import DicomFile, fetch, find_files, send
from medbus.gateways.dicom.client.files import open_file
from medbus.gateways.dicom.part10 import NotDicom
from medbus.schemas.events import Apparatus, Scope

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("gateway-roundtrip"),
    pytest.mark.timeout(300),
]

PROPOSE = {
    IMPLICIT: "-xi",
    EXPLICIT: "-xe",
    BIG_ENDIAN: "-xb",
    DEFLATED: "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
"""storescu's option for each transfer syntax."""

ALL = [
    pytest.param(wheel_files, id="wheel"),
    pytest.param(
        shared_files,
        id="shared",
        marks=pytest.mark.skipif(shared_folder() is None, reason="the folder of shared data is not there"),
    ),
]


def distinct(paths: Sequence[Path]) -> list[DicomFile]:
    """The files that can be opened; of those with the same SOP Instance UID, the first."""
    found: dict[str, DicomFile] = {}
    for path in paths:
        try:
            file = open_file(path)
        except NotDicom:
            continue
        if file.sop_instance_uid and file.study_instance_uid and file.size:
            found.setdefault(file.sop_instance_uid, file)
    return list(found.values())


def data_of(file: DicomFile) -> bytes:
    return b"".join(file.chunks())


def received(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Data set and transfer syntax by SOP Instance UID of the files that a program wrote."""
    return {file.sop_instance_uid: (data_of(file), file.transfer_syntax_uid) for file in find_files(folder)}


@pytest.mark.parametrize("files", ALL)
async def test_what_the_client_sends_it_fetches_again(
    served: Site, tmp_path: Path, files: Callable[[], list[Path]]
) -> None:
    chosen = distinct(files())
    patients = {file.patient_id for file in chosen}
    served.auth.scope = Scope()
    sent = await send(chosen, served.peer())
    assert [each.file for each in sent if each.outcome is None] == []
    stored = {each.file.sop_instance_uid: each.file for each in sent if each.stored}
    for each in sent:
        if not each.stored:
            assert each.outcome is not None
            assert each.outcome.code in (0xC000, 0x0111), f"{each.file.path.name}: {each.outcome}"
            assert each.outcome.comment, "a refusal says why"
    assert len(stored) > 0.9 * len(chosen), [e.file.path.name for e in sent if not e.stored]
    await served.settled()
    assert patients

    fetched = {}
    for study in sorted({file.study_instance_uid for file in stored.values()}):
        for each in await fetch(served.peer(), tmp_path, study_instance_uid=study):
            assert each.path is not None, f"{each.sop_instance_uid}: {each.error}"
            fetched[each.sop_instance_uid] = await asyncio.to_thread(open_file, each.path)
    for uid, file in stored.items():
        assert fetched[uid].transfer_syntax_uid == file.transfer_syntax_uid, file.path.name
        assert data_of(fetched[uid]) == data_of(file), file.path.name


@pytest.mark.parametrize("files", ALL)
async def test_what_dcmtk_sends_it_gets_again(
    served: Site, tmp_path: Path, files: Callable[[], list[Path]]
) -> None:
    """storescu in, getscu and movescu out; storescu's own bytes, as dcmtk's storescp keeps them, are the measure.

    dcmtk encodes lengths of sequences anew when it sends, so the files themselves are not.
    """
    chosen = [file for file in distinct(files()) if file.transfer_syntax_uid in PROPOSE]
    async with dcmtk.storescp(tmp_path / "sent", "+xa") as reference:
        for syntax, option in PROPOSE.items():
            paths = [file.path for file in chosen if file.transfer_syntax_uid == syntax]
            if not paths:
                continue
            for called, port in (("STORESCP", reference), ("MEDBUS", served.port)):
                await dcmtk.run(
                    "storescu", "-nh", "-R", option, "-aet", "MODALITY", "-aec", called, "127.0.0.1", port, *paths
                )  # fmt: skip
    expected = received(tmp_path / "sent")
    await served.settled()
    stored = {each.sop_instance_uid: each for each in await served.images.images(list(expected))}
    for uid, (data, syntax) in expected.items():
        if uid in stored and stored[uid].blob.transfer_syntax_uid == syntax:
            known = await served.blobs.read(stored[uid].blob.digest)
            if known != data:  # the client's own test sent it first, in the file's encoding
                stored.pop(uid)
    studies = sorted({each.study_instance_uid for each in stored.values()})
    assert len(stored) > 0.4 * len(expected)

    async with dcmtk.storescp(tmp_path / "moved", "+xa", ae_title="D_TOOLS") as port:
        await served.contract(
            f"D-{port}", Apparatus(apparatus_id="D#1", ae_title=f"D_{port}", host="127.0.0.1", port=port)
        )
        for start in range(0, len(studies), 25):
            wanted = "\\".join(studies[start : start + 25])
            await dcmtk.run(
                "movescu", "-S", "-aet", "MODALITY", "-aec", "MEDBUS", "-aem", f"D_{port}",
                "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={wanted}", "127.0.0.1", served.port,
                seconds=120,
            )  # fmt: skip
    moved = received(tmp_path / "moved")
    for uid in stored:
        assert moved[uid] == expected[uid], uid

    for syntax, option in ((IMPLICIT, "-xi"), (EXPLICIT, "-xe")):
        folder = tmp_path / f"got{option}"
        folder.mkdir()
        mine = {uid: each for uid, each in stored.items() if each.blob.transfer_syntax_uid == syntax}
        for start in range(0, len(studies), 25):
            wanted = "\\".join(studies[start : start + 25])
            await dcmtk.run(
                "getscu", "-S", option, "+B", "-od", folder, "-aet", "MODALITY", "-aec", "MEDBUS",
                "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={wanted}", "127.0.0.1", served.port,
                seconds=120,
            )  # fmt: skip
        got = received(folder)
        assert mine
        for uid in mine:
            assert got[uid] == expected[uid], uid
