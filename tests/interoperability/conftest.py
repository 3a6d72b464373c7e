"""One whole service for all peers that speak in the clear."""

from collections.abc import Iterator

import pytest
from tests.interoperability.serving import Serving, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("service") / "home") as running:
        yield running
