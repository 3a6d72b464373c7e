"""Fixtures for tests of the HTTP gateway."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from tests.gateways.http.web import Web, web


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_web(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    """A service; all tests of a module share it."""
    async with web(kafka, tmp_path_factory.mktemp("web")) as opened:
        yield opened


@pytest.fixture
def site(running_web: Web) -> Web:
    """The same, with the clock as it is by default."""
    running_web.clock.shift = timedelta(0)
    return running_web
