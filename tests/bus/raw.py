"""Kafka without medbus: what others may do to the cluster."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.bus.waiting import until

from medbus.schemas.topics import TOPICS


@asynccontextmanager
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def producer(kafka: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    client = AIOKafkaProducer(bootstrap_servers=kafka, **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def consumer(kafka: str, *partitions: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
    client = AIOKafkaConsumer(bootstrap_servers=kafka)
    await client.start()
    try:
        client.assign(list(partitions))
        yield client
    finally:
        await client.stop()


async def create(
    kafka: str, partitions: Mapping[str, int], settings: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Create topics by hand: names with numbers of partitions, and settings by name."""
    async with admin(kafka) as client:
        response = await client.create_topics(
            [
                NewTopic(
                    name,
                    num_partitions=number,
                    replication_factor=1,
                    topic_configs=dict((settings or {}).get(name, {})),
                )
                for name, number in partitions.items()
            ]
        )
        assert all(not code for _, code, *_ in response.topic_errors), response

        async def led() -> bool:
            described = await client.describe_topics(list(partitions))
            return all(
                not topic["error_code"] and all(each["leader"] >= 0 for each in topic["partitions"])
                for topic in described
            )

        await until(led, 10, f"leaders of {sorted(partitions)}")


async def delete(kafka: str, *names: str) -> None:
    async with admin(kafka) as client:
        await client.delete_topics(list(names))


async def delete_all(kafka: str, prefix: str) -> None:
    """Delete the topics of an installation."""
    async with admin(kafka) as client:
        there = set(await client.list_topics())
        await client.delete_topics([name for t in TOPICS if (name := t.full_name(prefix)) in there])


async def delete_records(kafka: str, topic: str, partition: int, before: int) -> None:
    """Delete the records of a partition before an offset."""
    async with admin(kafka) as client:
        await client.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})


async def settings_of(kafka: str, topic: str) -> dict[str, str]:
    """All settings of a topic."""
    async with admin(kafka) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def partitions_of(kafka: str, topic: str) -> int:
    async with admin(kafka) as client:
        (described,) = await client.describe_topics([topic])
        return len(described["partitions"])
