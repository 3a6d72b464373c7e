"""A real broker on one home: it starts, keeps everything, and says what is wrong when it can't."""

import asyncio
import logging
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.compose.kafka import topic

from medbus.compose.kafka import (
    BrokerCrashed,
    BrokerNotReady,
    BrokerSettings,
    DiskSpaceLow,
    EmbeddedKafka,
    FormatFailed,
    HomeInUse,
    HomeUnusable,
    PortTaken,
    StorageDamaged,
    broker,
)
from medbus.compose.kafka.jars import fetch_jars
from medbus.compose.kafka.ports import Ports, choose_ports, remember_ports


async def broker_configuration(bootstrap: str) -> dict[str, str]:
    """What the running broker says its settings are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for entry in answers[0].resources[0][4]}


async def test_a_restart_finds_everything_at_the_same_address(home: Path) -> None:
    home = home / 'Jörgs "medbus" \\ home'  # each of these has its own quoting rule in Kafka's files
    async with EmbeddedKafka(home) as kafka:
        first = kafka.bootstrap, kafka.cluster_id
        assert kafka.pid is not None
        assert kafka.returncode is None
        await topic.create(kafka.bootstrap, "images")
        await topic.publish(kafka.bootstrap, "images", b"one", b"two")
    assert kafka.pid is None
    assert kafka.returncode == 128 + signal.SIGTERM
    assert await kafka.wait_dead() is None
    async with EmbeddedKafka(home) as again:
        assert (again.bootstrap, again.cluster_id) == first
        assert await topic.read(again.bootstrap, "images") == [b"one", b"two"]
    assert (home / "kafka").stat().st_mode & 0o777 == 0o700  # events name patients
    assert {path.name for path in (home / "kafka").iterdir()} == {
        *("broker.lock", "config", "data", "logs", "owner.lock", "ports.json")
    }


async def test_a_second_broker_on_the_same_home_is_refused_and_the_first_goes_on(home: Path) -> None:
    async with EmbeddedKafka(home) as first:
        with pytest.raises(HomeInUse, match=rf"\(process {os.getpid()}\)") as caught:
            await EmbeddedKafka(home).start()
        assert "choose another home" in caught.value.advice
        assert first.layout.tmp.is_dir()
        await topic.create(first.bootstrap, "images")
        await topic.publish(first.bootstrap, "images", b"still here")


async def test_a_taken_port_is_refused(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {number} on 127.0.0.1 is taken"):
            await EmbeddedKafka(home, port=number).start()


async def test_a_remembered_port_that_is_taken_is_left(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    kafka = EmbeddedKafka(home)
    kafka.layout.create()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        remember_ports(kafka.layout.ports, Ports(number, number))
        async with kafka:
            assert not kafka.bootstrap.endswith(f":{number}")
    assert f"port {number} is taken" in caplog.text


async def test_a_port_that_is_taken_while_kafka_starts_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        answers = iter([Ports(number, choose_ports("127.0.0.1", 0, None).controller)])
        monkeypatch.setattr(
            broker, "choose_ports", lambda *asked: next(answers, None) or choose_ports(*asked)
        )
        async with EmbeddedKafka(home) as kafka:
            assert not kafka.bootstrap.endswith(f":{number}")
    assert "somebody took a port" in caplog.text


async def test_the_running_broker_is_as_it_was_asked_to_be(home: Path) -> None:
    settings = BrokerSettings(host="127.0.0.2", properties={"num.partitions": "3"})
    async with EmbeddedKafka(home, settings) as kafka:
        host, _, port = kafka.bootstrap.partition(":")
        assert host == "127.0.0.2"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), timeout=2)
        told = await broker_configuration(kafka.bootstrap)
    assert told["num.partitions"] == "3"
    assert told["log.retention.ms"] == "-1"
    assert told["log.retention.bytes"] == "-1"
    assert told["log.message.timestamp.type"] == "LogAppendTime"
    assert told["log.flush.interval.messages"] == "1"
    assert told["auto.create.topics.enable"] == "false"


async def test_too_little_disk_space_is_refused_before_anything_is_written(home: Path) -> None:
    kafka = EmbeddedKafka(home, BrokerSettings(min_free_bytes=2**60))
    with pytest.raises(DiskSpaceLow, match=f"{2**40} MiB are needed") as caught:
        await kafka.start()
    assert "Make room" in caught.value.advice
    assert list(kafka.layout.data.iterdir()) == []


@pytest.mark.parametrize("home", ["/srv/a,b", "/dev/null/home"])
async def test_a_home_that_can_not_be_used_is_refused(home: str) -> None:
    with pytest.raises(HomeUnusable, match=re.escape(home)):
        await EmbeddedKafka(Path(home)).start()


@pytest.mark.parametrize("name", ["owner.lock", "ports.json"])
async def test_a_file_that_can_not_be_used_is_named(home: Path, name: str) -> None:
    kafka = EmbeddedKafka(home)
    kafka.layout.create()
    (kafka.layout.root / name).mkdir()
    with pytest.raises(HomeUnusable, match=f"directory: .*{name}"):
        await kafka.start()


async def test_a_format_that_was_killed_is_done_again(home: Path) -> None:
    starting = asyncio.create_task(EmbeddedKafka(home).start())
    data = home / "kafka" / "data"
    async with asyncio.timeout(60):
        while not any(data.glob("*")):  # noqa: ASYNC110  the first file that the tool writes
            await asyncio.sleep(0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    # Whatever the tool got done: this is what it has written before its last file.
    (data / "meta.properties").unlink(missing_ok=True)
    (data / "meta.properties.tmp").write_text("cluster.i")
    async with EmbeddedKafka(home) as kafka:
        await topic.create(kafka.bootstrap, "images")
        assert len(kafka.cluster_id) == 22


async def test_data_whose_owner_is_unknown_is_refused_and_kept(home: Path) -> None:
    async with EmbeddedKafka(home) as kafka:
        await topic.create(kafka.bootstrap, "images")
        await topic.publish(kafka.bootstrap, "images", b"precious")
    meta = kafka.layout.data / "meta.properties"
    kept = meta.rename(home / "meta.properties")
    with pytest.raises(StorageDamaged, match=r"meta\.properties is missing"):
        await EmbeddedKafka(home).start()
    kept.rename(meta)
    async with EmbeddedKafka(home) as again:
        assert await topic.read(again.bootstrap, "images") == [b"precious"]


async def test_a_killed_broker_is_noticed_and_its_restart_has_every_acknowledged_event(home: Path) -> None:
    values = [str(number).encode() for number in range(100)]
    async with EmbeddedKafka(home) as kafka:
        address = kafka.bootstrap
        await topic.create(address, "images")
        await topic.publish(address, "images", *values)
        assert kafka.pid
        os.kill(kafka.pid, signal.SIGKILL)
        crash = await asyncio.wait_for(kafka.wait_dead(), 5)
        assert isinstance(crash, BrokerCrashed)
        assert crash.returncode == kafka.returncode == -signal.SIGKILL
        assert "SIGKILL" in crash.message
        assert str(kafka.layout.server_log) in crash.advice
        assert "INFO" in crash.advice.splitlines()[-1]
        await asyncio.wait_for(kafka.start(), 30)
        assert kafka.bootstrap == address
        assert await topic.read(address, "images") == values
        await topic.publish(address, "images", b"more")


async def test_a_broker_that_does_not_shut_down_is_killed_and_loses_nothing(home: Path) -> None:
    kafka = EmbeddedKafka(home, BrokerSettings(stop_timeout=0.5))
    async with kafka:
        await topic.create(kafka.bootstrap, "images")
        await topic.publish(kafka.bootstrap, "images", b"kept")
        assert kafka.pid
        os.kill(kafka.pid, signal.SIGSTOP)
    assert kafka.returncode == -signal.SIGKILL
    async with kafka:
        assert await topic.read(kafka.bootstrap, "images") == [b"kept"]


async def test_a_machine_that_slept_finds_its_broker_at_work(home: Path) -> None:
    async with EmbeddedKafka(home) as kafka:
        await topic.create(kafka.bootstrap, "images")
        await topic.publish(kafka.bootstrap, "images", b"before")
        assert kafka.pid
        os.kill(kafka.pid, signal.SIGSTOP)
        await asyncio.sleep(4)  # longer than the broker's session with its controller
        os.kill(kafka.pid, signal.SIGCONT)
        await asyncio.wait_for(topic.publish(kafka.bootstrap, "images", b"after"), 20)
        assert await topic.read(kafka.bootstrap, "images") == [b"before", b"after"]


async def test_a_broker_that_is_not_ready_in_time_is_stopped_with_a_word_about_its_log(home: Path) -> None:
    kafka = EmbeddedKafka(home, BrokerSettings(ready_timeout=0.3))
    with pytest.raises(BrokerNotReady, match=r"did not answer at 127\.0\.0\.1:\d+ within 0\.3 s") as caught:
        await kafka.start()
    assert str(kafka.layout.server_log) in caught.value.advice
    assert kafka.pid is None


async def test_settings_that_kafka_refuses_are_told_in_its_words(home: Path) -> None:
    wrong = BrokerSettings(properties={"log.segment.bytes": "many"})
    with pytest.raises(FormatFailed, match=r"many for configuration log\.segment\.bytes"):
        await EmbeddedKafka(home, wrong).start()
    async with EmbeddedKafka(home):
        pass
    with pytest.raises(BrokerCrashed, match=r"many for configuration log\.segment\.bytes") as caught:
        await EmbeddedKafka(home, wrong).start()
    assert caught.value.returncode == 1


async def test_a_start_that_is_given_up_leaves_the_home_free(home: Path) -> None:
    starting = asyncio.create_task(EmbeddedKafka(home).start())
    log = home / "kafka" / "logs" / "jvm.out"
    async with asyncio.timeout(60):
        while not log.exists():  # noqa: ASYNC110  made when the broker's process is
            await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    # With the home still taken, it would not come to this.
    with pytest.raises(DiskSpaceLow):
        await EmbeddedKafka(home, BrokerSettings(min_free_bytes=2**60)).start()


async def test_starting_and_stopping_twice_is_the_same_as_once(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kafka = EmbeddedKafka(home)
    await kafka.stop()
    await kafka.start()
    pid = kafka.pid
    await kafka.start()
    assert kafka.pid == pid
    await kafka.stop()
    await kafka.stop()
    assert [record.message for record in caplog.records if record.name == broker.__name__] == [
        f"kafka answers at {kafka.bootstrap} (process {pid})",
        "kafka has ended (exit code 143)",
    ]


def test_the_real_jars_need_no_network_once_they_are_there() -> None:
    fetch_jars()
    assert len(fetch_jars(repositories={"nowhere": "http://127.0.0.1:9/"})) == 46
