"""The process that gives out results: how it begins, gives up, ends, and goes on."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import trustme
from pydicom.uid import CTImageStorage
from tests.gateways.dcmtk import free_port
from tests.gateways.dicom.encoded import EXPLICIT, ct
from tests.gateways.recipient import recipient
from tests.gateways.results.office import PATIENCE, Office, eventually, until
from tests.gateways.results.receiver import receiver, statuses

from medbus.schemas.events import Answer, Apparatus, ImageRegistered, Keep

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

CT = {str(CTImageStorage): [EXPLICIT]}


def title() -> str:
    return f"D{uuid4().hex[:8].upper()}"


def apparatus(ae_title: str, port: int) -> Apparatus:
    return Apparatus(apparatus_id=f"{ae_title}#1", ae_title=ae_title, host="127.0.0.1", port=port)


async def test_what_does_not_go_well_for_too_long_is_given_up(opened: Office) -> None:
    ae_title = title()
    port = free_port()
    who = await opened.contract(f"B-{ae_title}", apparatus(ae_title, port))
    request = await opened.completed(who, [ct(), ct()])
    async with opened.results(give_up=0.3, least_tries=2):
        answered = await opened.answered(request, who)
    assert (answered.delivered, answered.failed) == (0, 2)
    assert answered.attempts >= 2
    assert answered.reason == f"127.0.0.1:{port} does not answer"
    assert [each.reason for each in await opened.failed(request)] == [answered.reason] * 2


async def test_https_needs_a_certificate_that_is_trusted(opened: Office, tmp_path: Path) -> None:
    authority = trustme.CA()
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    async with receiver(statuses(204), authority.issue_cert("127.0.0.1")) as taken:
        who = await opened.contract(f"B-{title()}", webhook=taken.url)
        refused = await opened.completed(who, answer=Answer.WEBHOOK)
        async with opened.results(give_up=0.0, least_tries=1):
            answered = await opened.answered(refused, who)
        assert (answered.delivered, answered.failed) == (0, 1)
        assert "certificate" in answered.reason.lower()
        assert taken.came == []
        request = await opened.completed(who, answer=Answer.WEBHOOK)
        async with opened.results(webhook_ca=roots):
            answered = await opened.answered(request, who)
    assert (answered.delivered, answered.failed) == (1, 0)


async def test_without_a_key_nothing_is_posted(opened: Office) -> None:
    async with receiver(statuses(204)) as taken:
        who = await opened.contract(f"B-{title()}", webhook=taken.url)
        request = await opened.completed(who, answer=Answer.WEBHOOK)
        async with opened.results(webhook_key=None, give_up=0.0, least_tries=1):
            answered = await opened.answered(request, who)
    assert (answered.failed, answered.reason) == (1, "no key for webhooks is set")
    assert taken.came == []


async def test_what_was_completed_while_nobody_was_there_is_kept_later(opened: Office) -> None:
    who, images = await opened.contract(f"A-{title()}"), [ct() for _ in range(100)]
    request = await opened.completed(who, images, answer=Answer.FETCH, keep=Keep.AFTER)
    async with opened.results():
        kept = await opened.kept(request)
    assert (kept.registered, kept.refused) == (100, ())
    assert len(await opened.events(ImageRegistered, request.request_id)) == 100


@asynccontextmanager
async def process(office: Office, folder: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m medbus.gateways.results`, ready."""
    ready = folder / f"ready-{uuid4().hex[:8]}"
    settings = office.settings
    given = {
        "--bootstrap": settings.bootstrap,
        "--prefix": settings.prefix,
        "--database": settings.database,
        "--blobs": settings.blobs,
        "--webhook-key": str(settings.webhook_key),
        "--first-delay": "0.1",
        "--longest-delay": "0.2",
        "--ready-file": str(ready),
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "medbus.gateways.results"),
        *(word for pair in given.items() for word in pair),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await until(lambda: ready.exists() or running.returncode is not None, "the process to be ready")
        assert running.returncode is None, (await running.communicate())[0].decode()
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


async def test_killed_on_the_way_it_sends_only_the_rest(opened: Office, tmp_path: Path) -> None:
    ae_title, images = title(), [ct() for _ in range(10)]
    uids = [str(each.SOPInstanceUID) for each in images]
    asked, going_on = Counter[str](), threading.Event()

    def status(uid: str) -> int:
        asked[uid] += 1
        if len(asked) == 6 and not going_on.is_set():
            going_on.wait(PATIENCE)
        return 0x0000

    async with recipient(ae_title, CT) as taken, receiver(statuses(204)) as told:
        taken.status = status
        who = await opened.contract(f"B-{ae_title}", apparatus(ae_title, taken.port), webhook=told.url)
        async with process(opened, tmp_path) as running:
            request = await opened.completed(who, images, keep=Keep.AFTER)

            async def five() -> bool | None:
                return True if len(await opened.delivered(request)) == 5 else None

            await eventually(five, "five deliveries on the log")
            os.kill(running.pid, signal.SIGKILL)
            await running.wait()
        going_on.set()
        second = await opened.completed(who, images[:1], answer=Answer.WEBHOOK)
        async with process(opened, tmp_path) as running:
            answered = await opened.answered(request, who)
            await opened.answered(second, who)
            os.kill(running.pid, signal.SIGTERM)
            output, _ = await asyncio.wait_for(running.communicate(), PATIENCE)
            assert running.returncode == 0, output.decode()
            assert b"Traceback" not in output, output.decode()
    assert (answered.delivered, answered.failed) == (10, 0)
    assert set(taken.received) == set(uids)
    assert all(asked[uid] == 1 for uid in uids[:5]), "what the log had is not sent again"
    assert len(told.came) == 1
    deliveries = await opened.delivered(request)
    assert Counter(each.sop_instance_uid for each in deliveries) == dict.fromkeys(uids, 1)
    assert len({each.meta.event_id for each in deliveries}) == 10
    assert len(await opened.events(ImageRegistered, request.request_id)) == 10


async def test_it_ends_in_the_middle_of_a_request_that_another_answers(opened: Office) -> None:
    ae_title, images = title(), [ct() for _ in range(4)]
    reached, going_on = threading.Event(), threading.Event()

    def status(_: str) -> int:
        if len(taken.received) == 2 and not going_on.is_set():
            reached.set()
            going_on.wait(PATIENCE)
        return 0x0000

    async with recipient(ae_title, CT) as taken:
        taken.status = status
        who = await opened.contract(f"B-{ae_title}", apparatus(ae_title, taken.port))
        async with opened.results():
            request = await opened.completed(who, images)
            assert await asyncio.to_thread(reached.wait, PATIENCE)
        assert len(await opened.delivered(request)) == 2, "what arrived is on the log"
        going_on.set()
        async with opened.results():
            assert (await opened.answered(request, who)).delivered == 4
    assert len(await opened.delivered(request)) == 4
