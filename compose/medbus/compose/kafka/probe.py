"""Whether a broker answers."""

import asyncio
from typing import NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

ANSWER_SECONDS = 2.0


class Answer(NamedTuple):
    """What a broker says about itself."""

    cluster_id: str
    brokers: int
    """Brokers that are in service."""


async def ask(host: str, port: int) -> Answer | None:
    """Ask a broker for its cluster's metadata; None if nobody answers within two seconds."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await create_conn(host, port, client_id="medbus-probe", request_timeout_ms=2000)
            try:
                response = await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (OSError, TimeoutError, KafkaError):
        return None
    return Answer(response.cluster_id, len(response.brokers))
