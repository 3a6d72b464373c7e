"""How far a consumer group has come."""

import asyncio
import logging
import time
from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from medbus.bus import Bus, Partition
from medbus.schemas.errors import BusError, OffsetOutOfRange
from medbus.schemas.topics import Topic

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""How long a start waits for Kafka to know the group."""


def group_name(prefix: str, processor: str) -> str:
    """The consumer group of a processor."""
    return f"{prefix}.{processor}"


async def committed(bus: Bus, processor: str, topics: tuple[Topic, ...]) -> dict[Partition, int]:
    """The offset of the next record to handle, for every partition that the group has committed one for.

    Raises:
        BusError: Kafka does not tell.
    """
    raw = {TopicPartition(f"{bus.prefix}.{p.topic}", p.number): p for p in bus.partitions(*topics)}
    admin = AIOKafkaAdminClient(bootstrap_servers=bus.bootstrap, client_id=bus.client_id)
    try:
        await admin.start()
        found = await admin.list_consumer_group_offsets(
            group_name(bus.prefix, processor), partitions=list(raw)
        )
    except (KafkaError, OSError) as error:
        raise BusError(f"Kafka did not tell its offsets: {error}.", "Is the broker well?") from error
    finally:
        await admin.close()
    return {raw[partition]: each.offset for partition, each in found.items() if each.offset >= 0}


async def patiently_committed(bus: Bus, processor: str, topics: tuple[Topic, ...]) -> dict[Partition, int]:
    """The same for a cluster that was just made: its group coordinator takes a moment to be there.

    Raises:
        BusError: Kafka does not tell for PATIENCE_SECONDS.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await committed(bus, processor, topics)
        except BusError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("%s is asked again: %s", group_name(bus.prefix, processor), error)
            await asyncio.sleep(0.2)


async def verify(bus: Bus, processor: str, topics: tuple[Topic, ...]) -> None:
    """Refuse to go on from a position that the log does not have: Kafka would jump without a word.

    Raises:
        OffsetOutOfRange: there is such a position; all of them are named.
        BusError: Kafka does not tell.
    """
    first, end = await bus.first_offsets(*topics), await bus.end_offsets(*topics)
    wrong = out_of_range(await patiently_committed(bus, processor, topics), first, end)
    if wrong:
        raise OffsetOutOfRange(
            f"{processor} would go on where the log has nothing: "
            + ", ".join(f"{p} at {o}, log {first[p]} to {end[p]}" for p, o in sorted(wrong.items())),
            "Was the topic made anew? Restore it, or reset the group "
            f"{group_name(bus.prefix, processor)} with kafka-consumer-groups.sh --reset-offsets.",
        )


def out_of_range(
    committed: Mapping[Partition, int], first: Mapping[Partition, int], end: Mapping[Partition, int]
) -> dict[Partition, int]:
    """The committed offsets that the log does not have."""
    return {p: offset for p, offset in committed.items() if not first[p] <= offset <= end[p]}
