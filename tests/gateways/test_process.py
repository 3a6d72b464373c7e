"""The gateways as processes of their own: they say when they are ready, and end when they are told to."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.gateways.dcmtk import free_port

from medbus.bus import Bus
from medbus.gateways.dicom.__main__ import settings as dicom_settings
from medbus.schemas.errors import SettingsError

DICOM, HTTP = "medbus.gateways.dicom", "medbus.gateways.http"


def arguments(module: str, bootstrap: str, prefix: str, folder: Path, **changes: object) -> list[str]:
    options: dict[str, object] = {
        "--bootstrap": bootstrap,
        "--prefix": prefix,
        "--database": f"sqlite+aiosqlite:///{folder}/catalog.sqlite",
        "--port": 0,
        "--ready-file": folder / "ready",
        "--blobs": f"file://{folder}/blobs",
    }
    options |= {f"--{name}": value for name, value in changes.items()}
    return ["-m", module, *(str(each) for pair in options.items() for each in pair)]


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def ready(process: asyncio.subprocess.Process, path: Path) -> dict[str, Any]:
    for _ in range(300):
        if path.exists():
            said: dict[str, Any] = json.loads(path.read_text())
            return said
        assert process.returncode is None, (await process.communicate())[0].decode()
        await asyncio.sleep(0.1)
    raise AssertionError("it was not ready within 30 s")


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize("module", [DICOM, HTTP])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_ends_in_good_order(
    bus: Bus, tmp_path: Path, module: str, number: signal.Signals
) -> None:
    async with started(*arguments(module, bus.bootstrap, bus.prefix, tmp_path)) as process:
        said = await ready(process, tmp_path / "ready")
        assert said["pid"] == process.pid
        assert said["address"] == f"127.0.0.1:{said['port']}"
        _, writer = await asyncio.open_connection("127.0.0.1", said["port"])
        os.kill(process.pid, number)
        code, output = await ended(process)
        writer.close()
    assert code == 0, output
    assert "Traceback" not in output, output


@pytest.mark.parametrize("module", [DICOM, HTTP])
async def test_a_port_that_is_taken_is_said(bus: Bus, tmp_path: Path, module: str) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, started(*arguments(module, bus.bootstrap, bus.prefix, tmp_path, port=port)) as process:
        code, output = await ended(process)
    assert code == 1
    assert f"Port {port} at 127.0.0.1 can't be listened at" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("module", [DICOM, HTTP])
async def test_a_broker_that_is_not_there_is_said(tmp_path: Path, module: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    async with started(*arguments(module, nowhere, "none", tmp_path)) as process:
        code, output = await ended(process)
    assert code == 1
    assert f"No Kafka broker answers at {nowhere}" in output


def test_a_certificate_needs_its_key() -> None:
    options = ["--bootstrap", "a:1", "--database", "x", "--blobs", "y", "--tls-certificate", "c.pem"]
    with pytest.raises(SettingsError, match="without key"):
        dicom_settings(options)
    chosen = dicom_settings([*options, "--tls-key", "k.pem", "--tls-client-optional"])
    assert chosen.tls is not None
    assert chosen.tls.client_required is False
