"""The HTTP gateway: a stock Avro consumer reads our topics through it, and it says how it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from medbus.bus import Bus
from medbus.gateways.http.gateway import Settings, gateway
from medbus.schemas import avro
from medbus.schemas.events import Meta, SubscriberActivated
from medbus.schemas.topics import SUBSCRIBERS

SUBJECT = "medbus.subscribers.SubscriberActivated"
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


@pytest.fixture
async def url(kafka: str, bus: Bus, tmp_path: Path) -> AsyncIterator[str]:
    """A running gateway's address."""
    settings = Settings(
        bootstrap=kafka,
        prefix=bus.prefix,
        database=f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite",
        blobs=(tmp_path / "blobs").as_uri(),
        port=0,
        grace=1,
    )
    async with gateway(settings) as (port, _):
        yield f"http://127.0.0.1:{port}"


async def call(url: str, body: object = None) -> tuple[int, str, Any]:
    """Status, content type and content of an answer."""

    def work() -> tuple[int, str, Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(url, data), timeout=10) as response:  # noqa: S310
                return response.status, response.headers["Content-Type"], json.load(response)
        except HTTPError as error:
            return error.code, error.headers["Content-Type"], json.load(error)

    return await asyncio.to_thread(work)


async def test_a_stock_avro_consumer_reads_a_topic(url: str, bus: Bus) -> None:
    event = SubscriberActivated(
        meta=Meta.first(uuid4(), source="test", occurred_at=datetime(2026, 1, 7, 12, tzinfo=UTC)),
        subscriber="A-hospital",
        program="medbus 0.1",
    )
    await bus.publish(event)

    def work() -> Any:
        consumer = Consumer(
            {"bootstrap.servers": bus.bootstrap, "group.id": str(uuid4()), "auto.offset.reset": "earliest"}
        )
        topic = SUBSCRIBERS.full_name(bus.prefix)
        try:
            consumer.subscribe([topic])
            message = consumer.poll(20)
            assert message is not None, "nothing came"
            deserialize = AvroDeserializer(SchemaRegistryClient({"url": url}))
            return deserialize(message.value(), SerializationContext(topic, MessageField.VALUE))
        finally:
            consumer.close()

    read = await asyncio.to_thread(work)
    assert read["subscriber"] == "A-hospital"
    assert read["program"] == "medbus 0.1"
    assert read["meta"]["occurred_at"] == datetime(2026, 1, 7, 12, tzinfo=UTC)
    assert str(read["meta"]["event_id"]) == str(event.meta.event_id)


async def test_the_read_calls_answer_as_registries_do(url: str, bus: Bus) -> None:
    schema_id = bus.codec.registry.id_of(SUBJECT)
    text = avro.text(SUBJECT)
    version = {"subject": SUBJECT, "version": 1, "id": schema_id, "schemaType": "AVRO", "schema": text}
    expected = {
        f"/schemas/ids/{schema_id}": {"schema": text},
        f"/schemas/ids/{schema_id}/schema": json.loads(text),
        f"/schemas/ids/{schema_id}/versions": [{"subject": SUBJECT, "version": 1}],
        "/schemas/types": ["AVRO"],
        f"/subjects/{SUBJECT}/versions": [1],
        f"/subjects/{SUBJECT}/versions/1": version,
        f"/subjects/{SUBJECT}/versions/latest": version,
        f"/subjects/{SUBJECT}/versions/latest/schema": json.loads(text),
    }
    for path, content in expected.items():
        assert await call(url + path) == (200, MEDIA_TYPE, content), path
    status, _, subjects = await call(url + "/subjects")
    assert status == 200
    assert set(avro.EVENT_NAMED) <= set(subjects)


async def test_a_schema_is_looked_up_by_its_text(url: str, bus: Bus) -> None:
    written_otherwise = json.dumps(json.loads(avro.text(SUBJECT)), indent=4)
    status, _, found = await call(f"{url}/subjects/{SUBJECT}", {"schema": written_otherwise})
    assert status == 200
    assert found["id"] == bus.codec.registry.id_of(SUBJECT)
    other = {"schema": '{"type":"record","name":"Other","fields":[]}'}
    assert (await call(f"{url}/subjects/{SUBJECT}", other))[2]["error_code"] == 40403
    assert (await call(f"{url}/subjects/nothing", other))[2]["error_code"] == 40401
    status, _, error = await call(f"{url}/subjects/{SUBJECT}", {"schema": "no schema"})
    assert (status, error["error_code"]) == (422, 42201)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/schemas/ids/999999", 404, 40403),
        ("/schemas/ids/999999/versions", 404, 40403),
        ("/subjects/nothing/versions", 404, 40401),
        ("/subjects/nothing/versions/1", 404, 40401),
        (f"/subjects/{SUBJECT}/versions/77", 404, 40402),
        (f"/subjects/{SUBJECT}/versions/x", 422, 42202),
        ("/nothing", 404, 404),
    ],
)
async def test_errors_are_those_of_registries(url: str, path: str, status: int, code: int) -> None:
    answered, media_type, error = await call(url + path)
    assert (answered, media_type, error["error_code"]) == (status, MEDIA_TYPE, code)
    assert error["message"]


async def test_it_says_that_it_is_well(url: str) -> None:
    status, _, health = await call(url + "/health")
    assert (status, health) == (200, {"status": "ok", "kafka": "ok", "catalogs": "ok"})
