"""Topics and schemas on a cluster: create, verify, read."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    for_code,
)

from medbus.bus import settings
from medbus.bus.lifetime import start, stop_consumer, stopped
from medbus.bus.reader import Reader
from medbus.schemas import registry as schemas
from medbus.schemas.errors import BusError, SettingsError, TopicMisconfigured
from medbus.schemas.registry import Registry
from medbus.schemas.topics import TOPICS

REGISTRY_SETTINGS = {"cleanup.policy": "compact"}


async def create_topics(bootstrap: str, prefix: str = settings.DEFAULT_PREFIX) -> list[str]:
    """Create the topics that are missing, register the schemas that are missing, and verify all.

    Safe to run again. One program at a time: two that register at once could give one id twice.

    Returns:
        What was created: names of topics and of schemas.
    """
    wanted: dict[str, tuple[int, Mapping[str, str]]] = {
        topic.full_name(prefix): (topic.partitions, topic.settings) for topic in TOPICS
    }
    wanted[schemas.TOPIC] = (1, REGISTRY_SETTINGS)
    async with _admin(bootstrap) as admin:
        there = set(await admin.list_topics())
        replicas = min(3, len((await admin.describe_cluster())["brokers"]))
        new = [
            NewTopic(
                name,
                num_partitions=partitions,
                replication_factor=replicas,
                topic_configs={**each, **durability(replicas)},
            )
            for name, (partitions, each) in wanted.items()
            if name not in there
        ]
        if new:
            response = await admin.create_topics(new)
            for name, code, *message in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise BusError(f"Kafka did not create {name}: {error.__name__} {message}.")
            await _settle(admin, set(wanted))
    registered = await register_schemas(bootstrap)
    await verify_topics(bootstrap, prefix)
    return [topic.name for topic in new] + registered


def durability(replicas: int) -> Mapping[str, str]:
    """Settings of new topics by the number of replicas: of three, two must have an event before it counts."""
    return {"min.insync.replicas": "2"} if replicas >= 3 else {}


async def verify_topics(bootstrap: str, prefix: str = settings.DEFAULT_PREFIX) -> dict[str, int]:
    """Check that every topic is there with the settings that keep everything.

    Returns:
        The number of partitions of each topic.

    Raises:
        BusError: a topic is missing, or no broker answers.
        TopicMisconfigured: a setting is not as it must be; all such settings are named.
    """
    wanted: dict[str, Mapping[str, str]] = {t.full_name(prefix): t.settings for t in TOPICS}
    wanted[schemas.TOPIC] = REGISTRY_SETTINGS
    async with _admin(bootstrap) as admin:
        there = set(await admin.list_topics())
        if missing := sorted(wanted.keys() - there):
            raise BusError(
                f"Topics are missing at {bootstrap}: {', '.join(missing)}.", "Run `medbus topics create`."
            )
        wrong = await _wrong_settings(admin, wanted)
        described = await admin.describe_topics(sorted(wanted))
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    single = [schemas.TOPIC, *(t.full_name(prefix) for t in TOPICS if t.partitions == 1)]
    wrong += [
        f"{name}: it has {counts[name]} partitions, must have 1" for name in single if counts[name] != 1
    ]
    if wrong:
        raise TopicMisconfigured(
            f"Settings that could lose or reorder events: {'; '.join(wrong)}.",
            "Set them with kafka-configs.sh --alter, or use another --prefix; medbus never changes them.",
        )
    return counts


async def topic_names(bootstrap: str) -> set[str]:
    """The names of all topics of the cluster."""
    async with _admin(bootstrap) as admin:
        return set(await admin.list_topics())


async def read_registry(bootstrap: str) -> Registry:
    """The schema registry's state, from its topic."""
    registry = Registry()
    partition = TopicPartition(schemas.TOPIC, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **settings.CONSUMER)
    try:
        await start(consumer.start, lambda: stop_consumer(consumer))
        try:
            end = (await consumer.end_offsets([partition]))[partition]
            first = (await consumer.beginning_offsets([partition]))[partition]
        finally:
            await stop_consumer(consumer)
    except KafkaError as error:
        raise unreachable(bootstrap) from error
    reader = Reader(bootstrap, "medbus-registry", {partition: first})
    deadline = time.monotonic() + settings.START_SECONDS
    try:
        # By position, not by count: compaction leaves gaps.
        while reader.position[partition] < end:
            if time.monotonic() > deadline:
                raise unreachable(bootstrap)
            for records in (await reader.poll(wait=settings.LAST_SECONDS)).values():
                for record in records:
                    registry.apply(record.key, record.value)
    finally:
        await reader.close()
    return registry


async def register_schemas(bootstrap: str) -> list[str]:
    """Add this program's schemas to the registry's topic where they are missing; returns their names."""
    registered: list[str] = []
    # Read back what was written: a program that did the same at the same time may have taken the ids.
    for _ in range(5):
        missing = (await read_registry(bootstrap)).missing()
        if not missing:
            return registered
        registered += [version.subject for version in missing if version.subject not in registered]
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **settings.PRODUCER)
        try:
            await start(producer.start, producer.stop)
            try:
                for version in missing:
                    key, value = version.record()
                    await producer.send_and_wait(schemas.TOPIC, value, key=key)
            finally:
                await stopped(producer.stop)
        except KafkaError as error:
            raise BusError(f"The schemas could not be registered: {error}.", "Try again.") from error
    raise BusError("Other programs register schemas at the same time.", "Try again.")


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="medbus-admin", **settings.ADMIN)
    try:
        try:
            await start(client.start, client.close)
        except (ValueError, OverflowError) as error:
            raise SettingsError(
                f"{bootstrap!r} is no address of a Kafka broker: {error}.",
                "Give HOST:PORT, several separated by commas.",
            ) from error
        yield client
    except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError, TimeoutError) as error:
        raise unreachable(bootstrap) from error
    except KafkaError as error:
        raise BusError(f"Kafka at {bootstrap} refuses: {error!r}.") from error
    finally:
        await stopped(client.close)


async def _settle(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until every topic has a leader for every partition: creation is not at once."""
    for _ in range(100):
        described = await admin.describe_topics(sorted(names))
        if all(
            not topic["error_code"] and all(p["leader"] >= 0 for p in topic["partitions"])
            for topic in described
        ):
            return
        await asyncio.sleep(0.1)
    raise BusError("New topics have no leader after 10 s.", "Look at the broker's log.")


async def _wrong_settings(admin: AIOKafkaAdminClient, wanted: Mapping[str, Mapping[str, str]]) -> list[str]:
    answers = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(each)) for name, each in wanted.items()]
    )
    found: dict[str, dict[str, Any]] = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }
    return [
        f"{name}: {key} is {found[name].get(key)}, must be {value}"
        for name, each in wanted.items()
        for key, value in each.items()
        if found[name].get(key) != value
    ]


def unreachable(bootstrap: str) -> BusError:
    """The error for a broker that does not answer."""
    return BusError(
        f"No Kafka broker answers at {bootstrap}.",
        "Start the service with `medbus up`, or give the right address with --kafka.",
    )
