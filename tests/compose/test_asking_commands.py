"""`medbus process` and `medbus result` against a real gateway; the tests do the processing."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from msgspec.structs import replace
from pydicom import dcmread
from tests import synthetic
from tests.compose.commands import Told, command
from tests.gateways.http import jobs
from tests.gateways.http.jobs import Job, data_set, stored
from tests.gateways.http.web import Web, web

from medbus.blobs import address_of
from medbus.compose.cli import fetching
from medbus.schemas.events import Answer, Keep, ProcessingRequested, Role

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

RECEIVER = Role.IMAGE_RECEIVING
SMOOTH = ("process", "gaussian", "sigma=2", "--series", "1.2.840.99.1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    """A service."""
    async with web(kafka, tmp_path_factory.mktemp("web")) as opened:
        yield opened


class Shell:
    """A subscriber at the command line."""

    def __init__(self, site: Web, folder: Path, subscriber: str, token: str) -> None:
        self.site = site
        self.folder = folder
        self.subscriber = subscriber
        self._file = folder / f"{subscriber}.token"
        self._file.write_text(token)

    async def run(self, *words: str) -> Told:
        """Run a command; lines that were broken to the screen's width are one again in errors."""
        gateway = ("--url", str(self.site.client.base_url), "--token-file", str(self._file))
        told = await asyncio.to_thread(command, self.folder / "none", *words, *gateway)
        return told._replace(err=" ".join(told.err.split()))

    async def told(self, *words: str) -> Any:
        """What a command tells a program."""
        done = await self.run(*words, "--json")
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    async def ask(self, *words: str) -> tuple[UUID, Job]:
        """Have something processed that is not waited for."""
        done = await self.run(*words)
        assert done.code == 0, done.err
        processing_id = UUID(done.out.strip())
        return processing_id, Job(self.site, await jobs.event(self.site, processing_id), self.subscriber)

    async def asked(self) -> tuple[UUID, Job]:
        """The request that a command made which is waiting."""
        async with asyncio.timeout(20):
            while not (found := await self._requests()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found[0].request_id, Job(self.site, found[0], self.subscriber)

    async def _requests(self) -> list[ProcessingRequested]:
        asked = await self.site.asked(self._file.read_text())
        return [each for each in asked if isinstance(each, ProcessingRequested)]


@pytest_asyncio.fixture(loop_scope="module")
async def shell(site: Web, tmp_path: Path) -> Shell:
    """A new subscriber that may receive and register."""
    return Shell(site, tmp_path, *await site.subscriber(RECEIVER, Role.IMAGE_REGISTERING))


async def done(job: Job, site: Web, items: int) -> list[str]:
    """Process a request; the UIDs of the results."""
    await job.started(items)
    uids = [await job.processed(item, await stored(site, data_set())) for item in range(items)]
    await job.completed()
    return uids


async def test_it_asks_for_what_is_said(shell: Shell) -> None:
    other, _ = await shell.site.subscriber(RECEIVER)
    processing_id, _ = await shell.ask(
        *("process", "subtract", "shift-rows=1", "--image", "1.2.1", "1.2.2", "--series", "1.3"),
        *("--study", "1.4", "--mask-image", "1.5", "--mask-series", "1.6", "--keep", "after"),
        *("--to", other, shell.subscriber, "--server", "500-1", "--answer", "fetch"),
    )
    event = await jobs.event(shell.site, processing_id)
    assert (event.processing_type, event.parameters) == ("subtract", {"shift-rows": "1"})
    assert event.images.sop_instance_uids == ("1.2.1", "1.2.2")
    assert (event.images.series_instance_uids, event.images.study_instance_uids) == (("1.3",), ("1.4",))
    assert (event.masks.sop_instance_uids, event.masks.series_instance_uids) == (("1.5",), ("1.6",))
    assert (event.keep, event.answer, event.server) == (Keep.AFTER, Answer.FETCH, "500-1")
    assert event.destinations == (other, shell.subscriber)


async def test_it_sends_files_along(shell: Shell, tmp_path: Path) -> None:
    paths = synthetic.series(tmp_path / "scans", 3)
    mask = synthetic.write(synthetic.ct(), tmp_path)
    (tmp_path / "scans" / "note.txt").write_text("passed over")
    processing_id, _ = await shell.ask(
        *("process", "subtract", "--file", str(tmp_path / "scans"), "--mask-file", str(mask))
    )
    event = await jobs.event(shell.site, processing_id)
    for path, blob in zip(sorted(paths), event.images.enclosed, strict=True):
        assert address_of(path.read_bytes()[-blob.size :]) == blob.digest
    assert len(event.masks.enclosed) == 1


async def test_it_waits_and_writes_the_results(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out" / "deeper"
    running = asyncio.create_task(shell.run(*SMOOTH, "--out", str(out)))
    _, job = await shell.asked()
    uids = await done(job, shell.site, items=3)
    told = await running
    assert told.code == 0, told.err
    assert "completed, 3 of 3 items done, 3 results" in told.out
    assert f"3 files in {out}" in " ".join(told.out.split())
    assert sorted(each.name for each in out.iterdir()) == sorted(f"{uid}.dcm" for uid in uids)
    assert all(dcmread(each).file_meta.MediaStorageSOPInstanceUID == each.stem for each in out.iterdir())


async def test_what_failed_is_told_with_the_reason_and_exit_code_1(shell: Shell) -> None:
    running = asyncio.create_task(shell.run(*SMOOTH, "--wait"))
    processing_id, job = await shell.asked()
    await job.started(2)
    await job.processed(0, await stored(shell.site, data_set()), finding="gaps between slices")
    await job.failed(1, "no pixel data")
    await job.completed()
    told = await running
    assert told.code == 1
    for said in ("1 of 2 items done", "no pixel data", "500-1", "gaps between slices"):
        assert said in told.out
    shown = await shell.run("result", "show", str(processing_id))
    assert (shown.code, "no pixel data" in shown.out) == (0, True)


async def test_ctrl_c_ends_the_waiting_and_says_how_to_go_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("medbus.compose.cli.fetching.time.sleep", interrupted)
        told = await shell.run(*SMOOTH, "--wait")
    assert told.code == 130
    processing_id, _ = await shell.asked()
    assert f"medbus result fetch {processing_id} --out DIR" in told.err
    assert f"medbus result cancel {processing_id}" in told.err
    [job] = await shell.told("result", "list")
    assert (job["id"], job["state"], job["cancelled_at"]) == (str(processing_id), "ASKED", None)


async def test_results_are_fetched_later(shell: Shell, tmp_path: Path) -> None:
    processing_id, job = await shell.ask(*SMOOTH)
    await job.started(2)
    first = await job.processed(0, await stored(shell.site, data_set()))
    fetch = ("result", "fetch", str(processing_id), "--out", str(tmp_path / "out"))
    told = await shell.run(*fetch)
    assert (told.code, "planned, 1 of 2 items done" in told.out) == (0, True)
    assert [each.stem for each in (tmp_path / "out").iterdir()] == [first]
    running = asyncio.create_task(shell.run(*fetch, "--wait"))
    second = await job.processed(1, await stored(shell.site, data_set()))
    await job.completed()
    assert (await running).code == 0
    assert {each.stem for each in (tmp_path / "out").iterdir()} == {first, second}


async def test_results_are_shown(shell: Shell) -> None:
    other, _ = await shell.site.subscriber(RECEIVER)
    ids = []
    for number in range(3):
        processing_id, job = await shell.ask(*SMOOTH, "--to", other)
        uids = await done(job, shell.site, items=number + 1)
        ids.append(str(processing_id))
    listed = await shell.told("result", "list")
    assert [each["id"] for each in listed] == ids[::-1]
    assert [each["id"] for each in await shell.told("result", "list", "--limit", "2")] == ids[:0:-1]
    table = (await shell.run("result", "list")).out
    assert re.search(rf"{other} +│ completed │ 3/3 +│ +0 │ +3 │ {ids[-1]}", table), table
    [shown] = await shell.told("result", "show", ids[-1])
    assert [each["sop_instance_uid"] for each in shown["results"]] == uids
    assert (shown["sender"], shown["destinations"]) == (shell.subscriber, [other])
    told = (await shell.run("result", "show", ids[-1])).out
    assert all(uid in told for uid in uids)


async def test_it_is_cancelled(shell: Shell) -> None:
    processing_id, job = await shell.ask(*SMOOTH)
    await job.started(4)
    await job.processed(0, await stored(shell.site, data_set()))
    told = await shell.run("result", "cancel", str(processing_id))
    assert (told.code, "3 items of 4 had not come to an end" in told.out) == (0, True), told.out
    other, job = await shell.ask(*SMOOTH)
    await done(job, shell.site, items=1)
    told = await shell.run("result", "cancel", str(other))
    assert (told.code, "completed already" in told.err) == (1, True)


async def test_a_rejection_is_told(shell: Shell) -> None:
    told = await shell.run(*SMOOTH, "--to", "nobody")
    assert (told.code, told.out) == (1, "")
    assert "refused (404)" in told.err
    assert "'nobody' is no subscriber" in told.err
    told = await shell.run("result", "show", "0d3c9b3e-8f0a-4e51-9a7e-0f7d5a1c2b11")
    assert (told.code, "no such processing request" in told.err) == (1, True)


async def test_other_bytes_than_there_should_be_are_no_result(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processing_id, job = await shell.ask(*SMOOTH)
    await done(job, shell.site, items=1)
    genuine = fetching.results

    def false(*given: Any) -> Any:
        for each in genuine(*given):
            yield replace(each, digest=address_of(b"other"))

    monkeypatch.setattr(fetching, "results", false)
    told = await shell.run("result", "fetch", str(processing_id), "--out", str(tmp_path / "out"))
    assert (told.code, "other bytes than it has" in told.err) == (1, True)
    assert list((tmp_path / "out").iterdir()) == []
