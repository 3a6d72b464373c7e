"""Time from a request to its decision, as a gateway sees it: through Kafka to the auth processor and back."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from bench import blast, service
from bench.figure import Figure, percentiles
from bench.stage import Stage
from medbus.bus import Bus
from medbus.gateways.grants import Grants
from medbus.schemas.events import Evidence, Meta, RegistrationRequested

TARGET_MS = 10.0
WARM_UP = 300
"""The first few hundred of a new broker take up to 45 ms: its Java machine compiles meanwhile."""


def decision(stage: Stage) -> Iterator[Figure]:
    """Latency of decisions, one request at a time, none of which is refused."""
    runs = asyncio.run(_decide(stage))
    yield from percentiles("decision", runs, p99_target=TARGET_MS)
    stage.service.verify()


async def _decide(stage: Stage) -> list[list[float]]:
    status = stage.service.status
    runs = []
    async with (
        Bus(status.bootstrap, client_id="bench", prefix=status.prefix) as bus,
        Grants(bus) as grants,
    ):
        for _ in range(WARM_UP):
            await _granted(grants)
        for _ in range(stage.repetitions):
            stage.say(f"asking for {stage.size.requests} decisions")
            runs.append([await _granted(grants) for _ in range(stage.size.requests)])
    return runs


async def _granted(grants: Grants) -> float:
    request = RegistrationRequested(
        meta=Meta.first(uuid4(), source="bench", occurred_at=datetime.now(UTC)),
        evidence=Evidence(
            calling_ae_title=blast.CALLING, called_ae_title=service.AE_TITLE, address="127.0.0.1"
        ),
    )
    start = time.perf_counter()
    await grants.request(request)
    return time.perf_counter() - start
