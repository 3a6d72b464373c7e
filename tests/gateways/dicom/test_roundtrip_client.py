"""Real files in and out again by our own client: not a byte of their data sets is lost or changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.gateways.dicom.real import ALL, data_of, distinct
from tests.gateways.site import Site

from medbus.gateways.dicom.client import fetch, send
from medbus.gateways.dicom.client.files import open_file

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("files", ALL)
async def test_what_the_client_sends_it_fetches_again(
    served: Site, tmp_path: Path, files: Callable[[], list[Path]]
) -> None:
    chosen = distinct(files())
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
    fetched = {}
    for study in sorted({file.study_instance_uid for file in stored.values()}):
        for image in await fetch(served.peer(), tmp_path, study_instance_uid=study):
            assert image.path is not None, f"{image.sop_instance_uid}: {image.error}"
            fetched[image.sop_instance_uid] = await asyncio.to_thread(open_file, image.path)
    for uid, file in stored.items():
        assert fetched[uid].transfer_syntax_uid == file.transfer_syntax_uid, file.path.name
        assert data_of(fetched[uid]) == data_of(file), file.path.name
