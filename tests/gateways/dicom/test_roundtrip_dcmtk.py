"""Real files in and out again by programs of others: not a byte of their data sets is lost or changed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from tests.gateways.dicom.real import ALL, distinct, received
from tests.gateways.site import Site

from medbus.gateways.dicom.comparison import same_elements
from medbus.schemas.events import Apparatus

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

PROPOSE = {
    IMPLICIT: "i",
    EXPLICIT: "e",
    BIG_ENDIAN: "b",
    DEFLATED: "d",
    "1.2.840.10008.1.2.4.50": "y",
    "1.2.840.10008.1.2.4.51": "x",
    "1.2.840.10008.1.2.4.70": "s",
    "1.2.840.10008.1.2.4.80": "t",
    "1.2.840.10008.1.2.4.81": "u",
    "1.2.840.10008.1.2.4.90": "v",
    "1.2.840.10008.1.2.4.91": "w",
    "1.2.840.10008.1.2.5": "r",
}
"""The letter of storescu's and getscu's option for each transfer syntax."""


@pytest.mark.parametrize("files", ALL)
async def test_what_dcmtk_sends_it_gets_again(
    served: Site, tmp_path: Path, files: Callable[[], list[Path]]
) -> None:
    """storescu in, getscu and movescu out.

    dcmtk encodes the lengths of sequences anew when it sends, so what it sends is not always the file. What
    its storescp gets from its storescu is the measure.
    """
    chosen = [file for file in distinct(files()) if file.transfer_syntax_uid in PROPOSE]
    # Some of the files are other versions of one image.
    there = await served.images.images([file.sop_instance_uid for file in chosen])
    known = {image.sop_instance_uid for image in there}
    chosen = [file for file in chosen if file.sop_instance_uid not in known]
    async with dcmtk.storescp(tmp_path / "sent", "+xa") as reference:
        for syntax, option in PROPOSE.items():
            paths = [file.path for file in chosen if file.transfer_syntax_uid == syntax]
            for peer in (("STORESCP", reference), ("MEDBUS", served.port)) if paths else ():
                await storescu(f"-x{option}", *peer, paths)
    sent = received(tmp_path / "sent")
    await served.settled()
    stored = {image.sop_instance_uid: image for image in await served.images.images(list(sent))}
    assert len(stored) > 0.9 * len(sent), sent.keys() - stored.keys()
    for uid, image in stored.items():
        assert await served.blobs.read(image.blob.digest) == sent[uid][0], f"storescu: {image}"

    studies = sorted({image.study_instance_uid for image in stored.values()})
    async with dcmtk.storescp(tmp_path / "moved", "+xa") as port:
        destination = Apparatus(apparatus_id="D#1", ae_title=f"D_{port}", host="127.0.0.1", port=port)
        await served.contract(f"D-{port}", destination)
        await retrieve("movescu", served.port, studies, "-aem", destination.ae_title)
    moved = received(tmp_path / "moved")
    for uid in stored:
        assert moved[uid] == sent[uid], f"movescu: {uid}"

    for syntax, option in PROPOSE.items():
        if syntax == BIG_ENDIAN:  # getscu proposes others beside it, and gets those
            continue
        mine = [image for image in stored.values() if image.blob.transfer_syntax_uid == syntax]
        folder = tmp_path / f"got-{option}"
        folder.mkdir()
        wanted = sorted({image.study_instance_uid for image in mine})
        await retrieve("getscu", served.port, wanted, f"+x{option}", "+B", "-od", str(folder))
        got = received(folder)
        for image in mine:
            data, came_in = got[image.sop_instance_uid]
            original, _ = sent[image.sop_instance_uid]
            if syntax == IMPLICIT:  # getscu 3.6.7 never proposes it alone, whatever its options say
                assert same_elements(data, came_in, original, syntax), f"getscu: {image}"
            else:
                assert (data, came_in) == (original, syntax), f"getscu: {image}"


async def storescu(option: str, called: str, port: int, paths: Sequence[Path]) -> None:
    """Send files; those that dcmtk itself can't read are left out."""
    options = ("-nh", "-R", option, "-aet", "MODALITY", "-aec", called)
    await dcmtk.run("storescu", *options, "127.0.0.1", port, *paths, seconds=120)


async def retrieve(program: str, port: int, studies: Sequence[str], *options: str) -> None:
    """Move or get studies."""
    for start in range(0, len(studies), 25):
        uids = "\\".join(studies[start : start + 25])
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uids}")
        names = ("-aet", "MODALITY", "-aec", "MEDBUS")
        await dcmtk.run(program, "-S", *names, *options, *keys, "127.0.0.1", port, seconds=120)
