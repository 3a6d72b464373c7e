"""Fixtures for tests of the gateways."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.gateways.site import ALWAYS_ONE, IMPLEMENTATIONS, Site, site


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ALWAYS_ONE)
async def running(
    request: pytest.FixtureRequest, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A service with one implementation of the data path; all tests of a module share it."""
    folder = tmp_path_factory.mktemp("site")
    async with site(kafka, folder, IMPLEMENTATIONS[request.param]) as opened:
        yield opened


@pytest.fixture
def served(running: Site) -> Site:
    """The same, with the decisions as they are by default."""
    running.auth.reset()
    return running
