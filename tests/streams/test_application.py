"""The settings of Faust and of its Kafka client, by value: the defaults lose data."""

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from faust.types.enums import ProcessingGuarantee

from medbus.bus import settings as bus_settings
from medbus.projections.database import Database
from medbus.streams.application import CONCURRENCY, Buffer, application
from medbus.streams.auth import service as auth
from medbus.streams.auth.lookup import Lookup


def made() -> Any:
    return application("127.0.0.1:1,[::1]:2", group="medbus.auth", client_id="auth-1", member="auth-1")


def test_the_versions_that_were_tried_together() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka").startswith("0.14.")


async def test_faust_is_set_to_lose_nothing() -> None:
    conf = made().conf
    assert conf.processing_guarantee is ProcessingGuarantee.AT_LEAST_ONCE
    assert CONCURRENCY == 1
    assert conf.agent_supervisor.__name__ == "CrashingSupervisor"
    assert conf.stream_buffer_maxsize == 64
    assert conf.stream_wait_empty is False
    assert conf.broker_commit_interval == 0.5
    assert conf.broker_commit_every == 1000
    assert conf.broker_session_timeout == 6.0
    assert conf.broker_heartbeat_interval == 1.5
    assert conf.broker_rebalance_timeout == 10.0
    assert conf.broker_request_timeout == 20.0
    assert conf.broker_max_poll_records == 64
    assert conf.broker_max_poll_interval == 3600.0
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.consumer_max_fetch_size == 1024 * 1024
    assert conf.producer_acks == -1


async def test_a_decision_is_made_alone_and_few_requests_wait_for_one(tmp_path: Path) -> None:
    processor = auth.processor(Lookup(Database(f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite")))
    assert (processor.batch, processor.in_flight, processor.buffer) == (1, 32, 64)


async def test_a_processor_may_fetch_more_at_once() -> None:
    conf = application("127.0.0.1:1", group="medbus.billing", client_id="billing-1", buffer=2000).conf
    assert (conf.stream_buffer_maxsize, conf.broker_max_poll_records) == (2000, 2000)


async def test_a_buffer_says_when_all_of_it_has_been_taken() -> None:
    app = made()
    buffer = app.FlowControlQueue(maxsize=64)
    assert app.buffers == [buffer]
    assert isinstance(buffer, Buffer)
    assert buffer.taken.is_set()
    app.flow_control.resume()
    await buffer.put("first")
    await buffer.put("second")
    assert not buffer.taken.is_set()
    assert await buffer.get() == "first"
    assert not buffer.taken.is_set()
    assert buffer.get_nowait() == "second"
    assert buffer.taken.is_set()


async def test_a_buffer_that_is_cleared_at_a_rebalance_is_taken() -> None:
    app = made()
    buffer = app.FlowControlQueue(maxsize=64, clear_on_resume=True)
    app.flow_control.resume()
    await buffer.put("first")
    app.flow_control.suspend()
    app.flow_control.clear()
    assert buffer.taken.is_set()
    assert buffer.empty()


async def test_a_record_that_finds_room_is_delivered_without_a_task() -> None:
    app = made()
    app.finalize()
    buffer = app.FlowControlQueue(maxsize=1)
    app.flow_control.resume()
    tasks = asyncio.all_tasks()
    seen: list[set[Any]] = []

    async def deliver() -> None:
        seen.append(asyncio.all_tasks())
        await buffer.put("record")

    rebalance = asyncio.Event()
    await app.consumer.wait_first(deliver(), rebalance.wait())
    assert (buffer.qsize(), seen) == (1, [tasks])


async def test_a_record_that_finds_no_room_waits_until_there_is_a_rebalance() -> None:
    app = made()
    app.finalize()
    buffer = app.FlowControlQueue(maxsize=1)
    app.flow_control.resume()
    await buffer.put("first")
    rebalance = asyncio.Event()
    waiting = asyncio.create_task(app.consumer.wait_first(buffer.put("second"), rebalance.wait()))
    assert not (await asyncio.wait([waiting], timeout=0.1))[0]
    rebalance.set()
    await asyncio.wait_for(waiting, 5)
    assert buffer.get_nowait() == "first"
    await asyncio.sleep(0)
    assert buffer.empty()


async def test_faust_keeps_nothing_of_its_own() -> None:
    app = made()
    assert app.conf.web_enabled is False
    assert app.conf.topic_allow_declare is False
    assert app.conf.topic_disable_leader is True
    assert app.conf.reply_create_topic is False
    assert app.conf.table_standby_replicas == 0
    assert str(app.conf.store) == "memory:"
    assert app.boot_strategy.enable_web is False
    assert app.boot_strategy.enable_kafka_producer is False


async def test_the_environment_can_not_change_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSING_GUARANTEE", "exactly_once")
    monkeypatch.setenv("APP_WEB_ENABLED", "1")
    monkeypatch.setenv("BROKER_URL", "kafka://elsewhere:9092")
    monkeypatch.setenv("CONSUMER_AUTO_OFFSET_RESET", "latest")
    conf = made().conf
    assert conf.processing_guarantee is ProcessingGuarantee.AT_LEAST_ONCE
    assert conf.web_enabled is False
    assert [str(url) for url in conf.broker] == ["aiokafka://127.0.0.1:1", "aiokafka://[::1]:2"]
    assert conf.consumer_auto_offset_reset == "earliest"


async def test_the_kafka_client_that_faust_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(aiokafka, "AIOKafkaConsumer", lambda **options: given.update(options))
    app = made()
    app.finalize()
    app.consumer._thread._create_consumer(loop=asyncio.get_running_loop())
    assert given["group_id"] == "medbus.auth"
    assert given["group_instance_id"] == "auth-1"
    assert given["client_id"] == "auth-1"
    assert given["bootstrap_servers"] == ["127.0.0.1:1", "[::1]:2"]
    assert given["enable_auto_commit"] is False
    assert given["auto_offset_reset"] == "earliest"
    assert given["isolation_level"] == "read_uncommitted"
    assert given["check_crcs"] is True
    assert given["session_timeout_ms"] == 6000
    assert given["heartbeat_interval_ms"] == 1500
    assert given["rebalance_timeout_ms"] == 10000
    assert given["request_timeout_ms"] == 20000
    assert given["max_poll_records"] == 64
    assert given["max_partition_fetch_bytes"] == 1024 * 1024
    assert [each.__name__ for each in given["partition_assignment_strategy"]] == [
        "RoundRobinPartitionAssignor"
    ]


def test_what_processors_publish_with() -> None:
    assert bus_settings.PRODUCER["acks"] == "all"
    assert bus_settings.PRODUCER["enable_idempotence"] is True


async def test_the_broker_gathers_records_for_who_can_wait() -> None:
    def fetching(app: Any) -> tuple[int, int]:
        app.finalize()
        client = app.consumer._thread._create_consumer(loop=asyncio.get_running_loop())
        return client._fetch_min_bytes, client._fetch_max_wait_ms

    patient = application("127.0.0.1:1", group="medbus.billing", client_id="billing-1", linger=0.25)
    assert fetching(patient) == (64 * 1024, 250)
    assert fetching(made())[0] == 1
