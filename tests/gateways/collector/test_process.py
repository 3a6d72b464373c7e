"""The collector as a process: its command, and how it ends."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pynetdicom import AE, evt
from tests.gateways.collector.collecting import Collecting
from tests.gateways.site import PATIENCE
from tests.synthetic import series

from medbus.schemas.events import Apparatus, Retrieval

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCANNER = Apparatus(apparatus_id="CT#1", ae_title="SCANNER")
COMMAND = "import typer; from medbus.compose.cli.collector import collector; typer.run(collector)"


@asynccontextmanager
async def command(service: Collecting, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`medbus collector`, as a process."""
    settings = service.settings
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "MEDBUS_KAFKA": settings.bootstrap,
            "MEDBUS_PREFIX": settings.prefix,
            "MEDBUS_DATABASE": settings.database,
            "MEDBUS_BLOBS": settings.blobs,
        },
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def finished(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Exit code and what was printed."""
    out, err = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
    return process.returncode, out.decode(), err.decode()


async def test_once_shows_every_source_and_what_came(service: Collecting, tmp_path: Path) -> None:
    series(tmp_path, 2)
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender:
        async with command(service, "--once", "--json") as process:
            code, out, err = await finished(process)
        assert (code, err) == (0, "")
        [looked] = map(json.loads, out.splitlines())
        assert (looked["subscriber"], looked["retrieval"]) == (sender.subscriber, "FOLDER")
        assert (looked["new"], looked["registered"]) == (2, 2)
        async with command(service, "--once") as process:
            code, out, _ = await finished(process)
        assert code == 0
        assert sender.subscriber in out
        assert "FOLDER" in out


async def test_a_source_that_fails_shows_in_the_exit_code(service: Collecting, tmp_path: Path) -> None:
    async with (
        service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path / "missing")) as sender,
        command(service, "--once") as process,
    ):
        code, out, err = await finished(process)
    assert code == 1
    assert sender.subscriber in out
    assert "can't be read" in err


async def test_after_a_kill_the_rest_comes_and_nothing_twice(service: Collecting, tmp_path: Path) -> None:
    files = series(tmp_path, 400)
    uids = [each.stem for each in files]
    async with service.contract(Retrieval.FOLDER, SCANNER, str(tmp_path)) as sender:
        async with command(service) as process:
            deadline = time.monotonic() + 2 * PATIENCE
            while not any((await service.images(*uids)).values()):
                assert time.monotonic() < deadline, "nothing comes"
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        before = sum(map(len, (await service.images(*uids)).values()))
        looked = await sender.look()
    assert 0 < before < len(files), "the kill came too late, or nothing was registered"
    assert looked.registered == len(files) - before
    assert {len(each) for each in (await service.images(*uids)).values()} == {1}


async def test_it_ends_on_sigterm_although_a_source_hangs(service: Collecting) -> None:
    asked, go_on = Event(), Event()

    def find(_: evt.Event) -> Any:
        asked.set()
        go_on.wait(4 * PATIENCE)
        yield 0x0000, None

    entity = AE("HANGS")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    assert server is not None
    port = int(server.server_address[1])
    apparatus = Apparatus(apparatus_id="H", ae_title="HANGS", host="127.0.0.1", port=port)
    try:
        async with (
            service.contract(Retrieval.C_GET, apparatus) as sender,
            service.running(timeout=60.0, grace=0.5) as running,
            command(service) as process,
        ):
            assert await asyncio.to_thread(asked.wait, PATIENCE), "the source is not asked"
            asked.clear()
            assert await asyncio.to_thread(asked.wait, PATIENCE), "the process does not ask the source"
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            code, _, err = await finished(process)
            assert (code, err) == (0, "")
            assert time.monotonic() - began < 12
            # In this process, too, what hangs is given up: leaving does not wait for it.
            assert running.of(sender) == []
            began = time.monotonic()
        assert time.monotonic() - began < 8
    finally:
        go_on.set()
        await asyncio.to_thread(server.shutdown)
