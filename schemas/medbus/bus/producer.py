"""A producer that does not give up: a broken one is replaced, and what it did not deliver is sent again."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from medbus.bus import admin, settings
from medbus.bus.lifetime import ended, start
from medbus.schemas.codec import Encoded
from medbus.schemas.errors import BusError, InvalidEvent

log = logging.getLogger(__name__)

_REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError, ValueError, TypeError)
_FORBIDDEN = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, InvalidTopicError)


class Sent(NamedTuple):
    """Where a record was written."""

    partition: int
    offset: int


class Producer:
    """Writes records, each until every in-sync replica has it.

    Args:
        bootstrap: HOST:PORT of the brokers.
        client_id: how this client names itself to the broker.
    """

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self.bootstrap = bootstrap
        self.client_id = client_id
        self._client: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._stopping: set[asyncio.Task[None]] = set()

    async def send(self, topic: str, record: Encoded) -> Sent:
        """Write a record; see `Bus.publish`."""
        while True:
            client = await self._started()
            try:
                sent = await (await _begin(client, topic, record))
            except UnknownTopicOrPartitionError as error:
                # It may also be that no broker could be asked for so long.
                if not await self._may_exist(topic):
                    raise BusError(f"There is no topic {topic}.", "Run `medbus topics create`.") from error
            except _REFUSED as error:
                raise InvalidEvent(f"Kafka does not take the record: {error}.") from error
            except _FORBIDDEN as error:
                raise BusError(f"Kafka does not let {self.client_id} write {topic}: {error}.") from error
            except KafkaError as error:
                # OutOfOrderSequenceNumber and the like are final for a producer, but not for the event:
                # it is sent again under the same id.
                await self._replace(client, error)
            else:
                if sent.offset >= 0:
                    return Sent(sent.partition, sent.offset)
                # The broker knows that it has the record already, but not where. It is written once more:
                # readers know it by its id, and the caller is owed its position.
                await self._replace(client, "the broker lost the place of a record")

    async def send_all(self, records: Sequence[tuple[str, Encoded]]) -> list[Sent]:
        """Write several records at once; see `Bus.publish_all`."""
        sent: dict[int, Sent] = {}
        todo = list(range(len(records)))
        while todo:
            outcomes = await self._send_some([records[number] for number in todo])
            sent |= {
                number: outcome for number, outcome in zip(todo, outcomes, strict=True) if outcome is not None
            }
            todo = [number for number in todo if number not in sent]
            if todo:
                # The first that failed waits for the broker, and tells what can't be mended; those after it
                # stay after it.
                sent[todo[0]] = await self.send(*records[todo[0]])
                del todo[0]
        return [sent[number] for number in range(len(records))]

    async def _send_some(self, records: Sequence[tuple[str, Encoded]]) -> list[Sent | None]:
        """Write as many as one producer takes; None for each that must be sent again.

        Of records of one partition, none succeeds after one that failed: the broker sees the gap in their
        numbers.
        """
        client = await self._started()
        pending: list[asyncio.Future[Any]] = []
        try:
            for topic, record in records:
                pending.append(await _begin(client, topic, record))
        except (KafkaError, *_REFUSED) as error:
            log.debug("a producer takes no more: %r", error)
        outcomes = await asyncio.gather(*pending, return_exceptions=True)
        found = [
            None
            if isinstance(outcome, BaseException) or outcome.offset < 0
            else Sent(outcome.partition, outcome.offset)
            for outcome in outcomes
        ]
        return found + [None] * (len(records) - len(found))

    async def close(self) -> None:
        """Close; records that are still on their way have a few seconds to arrive."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await _stop(client)
        await asyncio.gather(*self._stopping)

    async def _started(self) -> AIOKafkaProducer:
        if self._client is not None:
            return self._client
        async with self._lock:
            warned = False
            while self._client is None:
                if self._closed:
                    raise BusError("The bus has been closed already.", "Open a new one.")
                client = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap, client_id=self.client_id, **settings.PRODUCER
                )
                try:
                    await start(client.start, client.stop)
                except KafkaError as error:
                    log.log(
                        logging.DEBUG if warned else logging.WARNING,
                        "no broker at %s yet: %r",
                        self.bootstrap,
                        error,
                    )
                    warned = True
                    await asyncio.sleep(0.5)
                else:
                    self._client = client
                    if self._closed:
                        await self.close()
            return self._client

    async def _replace(self, broken: AIOKafkaProducer, reason: KafkaError | str) -> None:
        """Take a producer out of use, unless somebody has done so."""
        if self._client is broken:
            self._client = None
            log.warning("publishing failed, a new producer takes over: %r", reason)
            task = asyncio.create_task(_stop(broken))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        await asyncio.sleep(0.1)

    async def _may_exist(self, topic: str) -> bool:
        try:
            return topic in await admin.topic_names(self.bootstrap)
        except BusError:
            return True


async def _begin(client: AIOKafkaProducer, topic: str, record: Encoded) -> asyncio.Future[Any]:
    """Hand a record to a producer; the future says where it was written."""
    partition = None
    if record.slot is not None:
        partition = record.slot % len(await client.partitions_for(topic))
    written: asyncio.Future[Any] = await client.send(
        topic, record.value, key=record.key, headers=list(record.headers), partition=partition
    )
    return written


async def _stop(client: AIOKafkaProducer) -> None:
    """Stop a producer within a bounded time, even if the broker is away.

    aiokafka's own `stop` waits until everything is delivered, for ever if need be.
    """
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait([stopping], timeout=settings.CLOSE_SECONDS)
    finally:  # also if cancelled
        if not stopping.done():
            log.warning("records that were not confirmed may or may not be in the log")
            client._message_accumulator.fail_all(ProducerClosed())
            client._sender.sender_task.cancel()
        await ended(stopping, settings.CANCEL_SECONDS)
        await ended(asyncio.ensure_future(client.client.close()), settings.CANCEL_SECONDS)
