"""A consumer of given partitions from given offsets, replaced when it breaks or stalls."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from medbus.bus import settings
from medbus.schemas.errors import OffsetOutOfRange

log = logging.getLogger(__name__)

RawBatch = dict[TopicPartition, list[ConsumerRecord]]


class Reader:
    """Reads raw records. Keeps its own position, so that it can go on with a new consumer.

    Args:
        bootstrap: HOST:PORT of the brokers.
        client_id: how this client names itself to the broker.
        position: the offset to begin at, for each partition.
    """

    def __init__(self, bootstrap: str, client_id: str, position: Mapping[TopicPartition, int]) -> None:
        self.bootstrap = bootstrap
        self.client_id = client_id
        self.position: dict[TopicPartition, int] = dict(position)
        self._consumer: AIOKafkaConsumer | None = None
        self._progress = time.monotonic()

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def poll(self, *, wait: float, limit: int = settings.BATCH_RECORDS) -> RawBatch:
        """The next records, at most `limit`; empty if there were none within `wait` seconds.

        Raises:
            OffsetOutOfRange: the log no longer holds the offset at which reading was to go on.
        """
        try:
            consumer = self._consumer or await self._open()
            batch: RawBatch = await consumer.getmany(timeout_ms=int(wait * 1000), max_records=limit)
        except OffsetOutOfRangeError as error:
            raise OffsetOutOfRange(
                f"The log no longer holds what was to be read next: {error}.",
                "Records were deleted: restore the topic, and see `medbus topics verify`.",
            ) from error
        except KafkaError as error:
            log.warning("reading failed, a new consumer takes over: %s", error)
            await self._replace()
            await asyncio.sleep(min(wait, 0.5))
            return {}
        for partition, records in batch.items():
            self.position[partition] = records[-1].offset + 1
        if batch:
            self._progress = time.monotonic()
        elif time.monotonic() - self._progress > settings.STALL_SECONDS:
            self._progress = time.monotonic()
            if await self._behind(consumer):
                log.warning("the consumer stalled although the log goes on, a new one takes over")
                await self._replace()
        return batch

    async def _open(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, client_id=self.client_id, **settings.CONSUMER
        )
        await start(consumer)
        consumer.assign(list(self.position))
        for partition, offset in self.position.items():
            consumer.seek(partition, offset)
        self._consumer = consumer
        return consumer

    async def _replace(self) -> None:
        try:
            await self.close()
        except KafkaError as error:
            log.debug("the broken consumer did not close: %s", error)

    async def _behind(self, consumer: AIOKafkaConsumer) -> bool:
        try:
            ends: dict[TopicPartition, int] = await asyncio.wait_for(
                consumer.end_offsets(list(self.position)), timeout=5
            )
        except (KafkaError, TimeoutError):
            return False
        return any(end > self.position[partition] for partition, end in ends.items())


async def start(client: Any) -> None:
    """Start an aiokafka client; one that can't start is closed, so that nothing of it stays behind."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
