"""The Faust application of a processor, with the settings that lose nothing. A test pins each of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import faust
from faust.app.base import BootStrategy as FaustBootStrategy
from faust.transport.drivers import aiokafka
from mode.services import WaitResults
from mode.utils.queues import ThrowableQueue
from yarl import URL

from medbus.schemas.topics import Topic

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "processing_guarantee": "at_least_once",
        # Events are acknowledged by the processor, in order. A crash is a crash: the process ends and is
        # started again, and nothing is skipped.
        "agent_supervisor": "mode.CrashingSupervisor",
        # No web server, no tables, no topics of Faust's own.
        "web_enabled": False,
        "store": "memory://",
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "reply_create_topic": False,
        # Records reach us as bytes.
        "key_serializer": "raw",
        "value_serializer": "raw",
        # A new group begins at the beginning. Kafka uses the same setting for a position that the log no
        # longer has; `offsets.verify` refuses to start on that.
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": 1024 * 1024,
        "broker_check_crcs": True,
        "broker_commit_interval": 0.5,
        "broker_commit_every": 1000,
        # The partitions of a killed worker are left alone for so long; brokers take no less than 6 s by
        # default.
        "broker_session_timeout": 6.0,
        "broker_heartbeat_interval": 1.5,
        # How long a rebalance waits for a member that does not answer.
        "broker_rebalance_timeout": 10.0,
        "broker_request_timeout": 20.0,
        # Faust fetches in a thread of its own, however long a handler takes; the watchdog sees to a dead
        # handler.
        "broker_max_poll_interval": 3600.0,
        # Faust's producer is never started; should it be, it waits for all replicas.
        "producer_acks": -1,
        # Not Faust's waiting for what is in flight, which has no end, but ours: see Application.drain.
        "stream_wait_empty": False,
    }
)

BUFFER = 64
"""How many records are fetched at once, and how many wait at most to be taken."""

GATHERED_BYTES = 64 * 1024
"""A broker that is asked to gather records gives out this many bytes before the time is over."""

CONCURRENCY = 1
"""Of the agent: with more, Faust may commit an offset past an event that is still in flight."""


class Buffer(ThrowableQueue[Any]):
    """What lies between Kafka and an agent, and when all of it has been taken."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.taken = asyncio.Event()
        self.taken.set()
        super().__init__(*args, **options)

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.taken.clear()

    def _get(self) -> Any:
        item = super()._get()
        if not self.qsize():
            self.taken.set()
        return item

    def clear(self) -> None:
        """Forget what is in it: at a rebalance."""
        super().clear()
        self.taken.set()


class Consumer(aiokafka.Consumer):
    """Faust's consumer with another way of dealing with a full buffer.

    Faust's leaves the partition out of its fetches, and where all are left out it sleeps for a second: under
    load, decisions that take milliseconds took one or two seconds. Without that, a full buffer makes fetching
    wait, with four tasks for each record. This one fetches when the buffer is empty, and no more than it
    holds.
    """

    app: "Application"

    def _new_consumer_thread(self) -> "ConsumerThread":
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def on_buffer_full(self, tp: Any) -> None:
        """Go on: what has been fetched finds room."""

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        for buffer in self.app.buffers:
            await buffer.taken.wait()
        return await super()._wait_next_records(timeout)

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - Faust's
        """Wait for one of several; what comes from Kafka is delivered while waiting for a rebalance."""
        if len(coros) == 2 and self._has_room():
            delivery, rebalance = coros
            rebalance.close()
            await delivery
            return WaitResults([], [], False)
        return await super().wait_first(*coros, timeout=timeout)

    def _has_room(self) -> bool:
        """Whether a record can be delivered at once."""
        return self.app.flow_control.is_active() and not any(buffer.full() for buffer in self.app.buffers)


class ConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """Faust's, with a client that can let the broker gather records: Faust has no setting for that."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        client = super()._create_worker_consumer(transport)
        app: Any = self.app
        if app.linger:
            client._fetch_min_bytes = GATHERED_BYTES
            client._fetch_max_wait_ms = round(app.linger * 1000)
        return client


class Transport(aiokafka.Transport):
    """Kafka, with the consumer above."""

    Consumer = Consumer


class Settings(faust.Settings):
    """Settings that the environment can't change: Faust lets variables such as PROCESSING_GUARANTEE win."""

    def getenv(self, env_name: str) -> None:
        return None


class Application(faust.App):
    """A Faust application that only consumes: no producer, no web server, no folders on disk.

    Attributes:
        joined: set when the group has told this member its partitions, be they none.
        drain: awaited when partitions are about to go, at a rebalance and at the end; must be bounded in
            time.
        buffers: where records wait for an agent.
        linger: seconds for which the broker gathers records before it gives them out.
    """

    Settings = Settings
    mundane_level = "debug"
    """Of log lines about starting and stopping."""

    class BootStrategy(FaustBootStrategy):
        enable_web = False
        enable_kafka_producer = False

    def __init__(self, *args: Any, **options: Any) -> None:
        self.joined = asyncio.Event()
        self.drain: Callable[[], Awaitable[None]] | None = None
        self.buffers: list[Buffer] = []
        self.linger = 0.0
        super().__init__(*args, **options)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> Buffer:  # noqa: N802
        """A new buffer."""
        buffer = Buffer(maxsize=maxsize, flow_control=self.flow_control, clear_on_resume=clear_on_resume)
        self.buffers.append(buffer)
        return buffer

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        """Let what is in flight be finished and commit it, so that a rebalance repeats little."""
        if self.drain is not None:
            await self.drain()
        await consumer.commit()

    async def _on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        await super()._on_partitions_assigned(assigned, generation_id)
        self.joined.set()


def application(
    bootstrap: str,
    *,
    group: str,
    client_id: str,
    member: str | None = None,
    buffer: int = BUFFER,
    linger: float = 0.0,
) -> Application:
    """A Faust application for one consumer group; to be made inside the event loop that runs it.

    Args:
        bootstrap: HOST:PORT of the brokers, separated by commas.
        group: name of the consumer group.
        client_id: how it names itself to the broker.
        member: identity of this member in the group (`group.instance.id`). A worker that is killed and
            started again under the same identity takes up its partitions at once. No two running workers
            may share one.
        buffer: how many records are fetched at once, and how many wait to be taken.
        linger: seconds for which the broker gathers records before it gives them out.
    """
    made = Application(
        group,
        broker=[URL(f"aiokafka://{address.strip()}") for address in bootstrap.split(",")],
        broker_client_id=client_id,
        consumer_group_instance_id=member,
        broker_max_poll_records=buffer,
        stream_buffer_maxsize=buffer,
        **SETTINGS,
    )
    made.linger = linger
    return made


def source(app: Application, prefix: str, topics: tuple[Topic, ...]) -> Any:
    """The channel of the raw records of some topics."""
    return app.topic(
        *(topic.full_name(prefix) for topic in topics),
        key_type=bytes,
        value_type=bytes,
        allow_empty=True,
        internal=False,
    )
