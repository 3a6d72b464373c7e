"""The DICOM toolkit's programs as peers: real clients and servers that others wrote."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path("/usr/bin")
"""pynetdicom's programs of the same names may stand before these on the PATH."""


@dataclass(frozen=True)
class Finished:
    """How a program ended."""

    code: int
    output: str


def tool(name: str) -> str:
    """The path of a program; the test is skipped, or fails, where it is not installed."""
    path = FOLDER / name
    if not path.exists():
        found = shutil.which(name)
        if found is None:
            reason = f"dcmtk's {name} is not there: apt-get install dcmtk"
            if os.environ.get("MEDBUS_REQUIRE_PEERS") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        return found
    return str(path)


async def run(name: str, *arguments: object, seconds: float = 60.0) -> Finished:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(
        tool(name),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{name} did not end within {seconds:g} s") from None
    return Finished(process.returncode or 0, output.decode(errors="replace"))


@asynccontextmanager
async def storescp(folder: Path, *options: str, ae_title: str = "STORESCP") -> AsyncIterator[int]:
    """A storage SCP that writes exactly what it gets into a folder; its port."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        tool("storescp"),
        *("-od", str(folder), "-aet", ae_title, "+B", "-pm", *options, str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    try:
        await listening(port)
        yield port
    finally:
        process.kill()
        await process.wait()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def listening(port: int, seconds: float = 10.0) -> None:
    """Wait until something listens at a port."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert asyncio.get_running_loop().time() < end, f"nothing listens at port {port}"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
