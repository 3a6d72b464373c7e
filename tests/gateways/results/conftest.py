"""Fixtures for tests of what gives out results."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.gateways.results.office import Office, office


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """A service that all tests of a module share."""
    async with office(kafka, tmp_path_factory.mktemp("office")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def working(opened: Office) -> AsyncIterator[Office]:
    """The same, where results are given out."""
    async with opened.results():
        yield opened
