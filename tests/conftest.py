"""Fixtures for every test that needs Kafka.

`MEDBUS_TEST_KAFKA=HOST:PORT` makes the tests use a broker that runs already; else they start their own.
"""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from medbus.bus import Bus  # noqa: E402
from medbus.bus.admin import create_topics  # noqa: E402
from medbus.schemas.topics import TOPICS  # noqa: E402

RUNNING_BROKER = os.environ.get("MEDBUS_TEST_KAFKA")

if not RUNNING_BROKER and (Path(__file__).parent / "broker_fixture.py").is_file():
    from tests.broker_fixture import kafka
else:

    @pytest.fixture(scope="session")
    def kafka() -> str:
        """HOST:PORT of a real broker."""
        assert RUNNING_BROKER, "Set MEDBUS_TEST_KAFKA=HOST:PORT to a running broker."
        return RUNNING_BROKER


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses: the topics of this test are apart from all others."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
async def topics(kafka: str, prefix: str) -> AsyncIterator[str]:
    """All topics, just made; the prefix of their names. They are deleted afterwards."""
    await create_topics(kafka, prefix)
    yield prefix
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic.full_name(prefix) for topic in TOPICS])
    finally:
        await admin.close()


@pytest.fixture
async def bus(kafka: str, topics: str) -> AsyncIterator[Bus]:
    """An open bus on topics that were just made."""
    async with Bus(kafka, client_id="test", prefix=topics) as opened:
        yield opened
