"""Blob stores of every kind, empty."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from medbus.blobs import BlobStore


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, Any]]:
    """Options for an S3 server on the loopback interface that has the bucket `blobs`."""
    server_module = pytest.importorskip("moto.server", reason="no S3 server: moto and flask are missing")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with urlopen(Request(f"{endpoint}/blobs", method="PUT"), timeout=10) as answer:  # noqa: S310
        assert answer.status == 200
    yield {
        "config": {
            "endpoint": endpoint,
            "region": "us-east-1",
            "access_key_id": "test",
            "secret_access_key": "test",
            "virtual_hosted_style_request": False,
        },
        "client_options": {"allow_http": True},
    }
    server.stop()


@pytest.fixture(params=["memory", "folder", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty blob store."""
    options: dict[str, Any] = {}
    url = "memory:///"
    if request.param == "folder":
        url = f"file://{tmp_path}/blobs"
    if request.param == "s3":
        options = request.getfixturevalue("s3")
        url = f"s3://blobs/{uuid4().hex}"
    async with await BlobStore.open(url, **options) as opened, asyncio.timeout(60):
        yield opened


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty blob store in a folder."""
    async with await BlobStore.open(f"file://{tmp_path}/blobs") as opened:
        yield opened
