"""A consumer of given partitions from given offsets, replaced when it breaks or stalls."""

import asyncio
import logging
import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, OffsetOutOfRangeError, RequestTimedOutError

from medbus.bus import settings
from medbus.bus.lifetime import start, stop_consumer
from medbus.schemas.errors import BusError, OffsetOutOfRange

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
        self._closed = self._failing = self._held = False
        self._checked = time.monotonic()
        self._drained = False
        # Where partitions stood at the last check that had more records in the log then.
        self._waiting: dict[TopicPartition, int] = {}

    async def close(self) -> None:
        """Stop reading for good."""
        self._closed = True
        await self._drop()

    async def poll(self, *, wait: float, limit: int = settings.BATCH_RECORDS, hold: bool = False) -> RawBatch:
        """The next records, at most `limit`; empty if there were none within `wait` seconds.

        May be cancelled: no record is lost by it.

        Args:
            wait: seconds to wait for the first record.
            limit: most records.
            hold: after a batch that was all there was, nothing is fetched until the next poll. Else the
                consumer would fetch the very next record at once, and the ones after it only when that is
                taken.

        Raises:
            OffsetOutOfRange: the log no longer holds the offset at which reading was to go on.
            BusError: the reader is closed.
        """
        if self._closed:
            raise _closed()
        since_check = time.monotonic() - self._checked
        try:
            consumer = self._consumer or await self._open()
            if since_check > settings.STALL_SECONDS / 2 and await self._stalled(consumer):
                log.warning("the consumer stalled although the log goes on, a new one takes over")
                await self._drop()
                consumer = await self._open()
            if self._held:
                consumer.resume(*self.position)
                self._held = False
            batch: RawBatch = await consumer.getmany(timeout_ms=int(wait * 1000), max_records=limit)
            if hold and 0 < sum(map(len, batch.values())) < limit:
                # Before the consumer's own task runs again: it passes over what is paused.
                consumer.pause(*self.position)
                self._held = True
        except OffsetOutOfRangeError as error:
            raise OffsetOutOfRange(
                f"The log does not hold what was to be read next: {_places(error)}.",
                "Records were deleted: restore the topic, and see `medbus topics verify`.",
            ) from error
        except ConsumerStoppedError as error:
            raise _closed() from error
        except KafkaError as error:
            log.log(logging.DEBUG if self._failing else logging.WARNING, "a new consumer is made: %r", error)
            self._failing = True
            await self._drop()
            await asyncio.sleep(min(wait, 0.5))
            return {}
        if batch:
            self._failing = False
        # Not the records' offsets: transaction markers and compaction leave gaps that must be passed too.
        # Nothing here gives way to other tasks, so that no records are lost if this one is cancelled.
        for partition in self.position:
            self.position[partition] = await consumer.position(partition)
        if sum(map(len, batch.values())) < limit and since_check > settings.STALL_SECONDS / 4:
            self._drained = True
        return {partition: records for partition, records in batch.items() if partition in self.position}

    def finish(self, partition: TopicPartition) -> None:
        """Read no more of this partition."""
        self.position.pop(partition, None)
        self._waiting.pop(partition, None)
        if self._consumer is not None:
            self._consumer.pause(partition)

    async def _open(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, client_id=self.client_id, **settings.CONSUMER
        )
        await start(consumer.start, lambda: stop_consumer(consumer))
        if self._closed:  # while it started
            await stop_consumer(consumer)
            raise _closed()
        self._held = False
        consumer.assign(list(self.position))
        for partition, offset in self.position.items():
            consumer.seek(partition, offset)
        self._consumer = consumer
        return consumer

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)

    async def _stalled(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether this consumer gave all that it had, and nothing of a partition that has had more."""
        stalled = self._drained and any(self.position[p] == offset for p, offset in self._waiting.items())
        self._checked, self._drained, self._waiting = time.monotonic(), False, {}
        if stalled:
            return True
        try:
            ends: dict[TopicPartition, int] = await asyncio.wait_for(
                consumer.end_offsets(list(self.position)), timeout=settings.CLOSE_SECONDS
            )
        except TimeoutError as error:
            raise RequestTimedOutError from error
        self._waiting = {p: offset for p, offset in self.position.items() if ends[p] > offset}
        return False


def _closed() -> BusError:
    return BusError("What reads the log has been closed already.", "Open a new subscription.")


def _places(error: OffsetOutOfRangeError) -> str:
    return ", ".join(f"{p.topic}/{p.partition}@{offset}" for p, offset in error.args[0].items())
