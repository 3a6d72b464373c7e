"""Fixtures for tests of the collector."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.gateways.collector.collecting import Collecting, collecting


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Collecting]:
    """A service; all tests of a module share it."""
    async with collecting(kafka, tmp_path_factory.mktemp("service")) as opened:
        yield opened
