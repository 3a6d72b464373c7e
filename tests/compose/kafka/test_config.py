"""What Kafka and Java are told."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.compose.kafka import BrokerSettings
from medbus.compose.kafka.config import (
    address,
    java_environment,
    java_options,
    log4j2_properties,
    render_argfile,
    render_properties,
    server_properties,
)
from medbus.compose.kafka.layout import Layout
from medbus.compose.kafka.ports import Ports
from medbus.schemas.errors import SettingsError

LAYOUT = Layout.of_home(Path("/srv/medbus"))
PORTS = Ports(broker=29092, controller=29093)


def properties(settings: BrokerSettings | None = None) -> dict[str, str]:
    return server_properties(settings or BrokerSettings(), LAYOUT, PORTS)


def test_nothing_is_ever_deleted_and_time_is_the_time_of_arrival() -> None:
    told = properties()
    assert told["log.retention.ms"] == "-1"
    assert told["log.retention.bytes"] == "-1"
    assert told["log.message.timestamp.type"] == "LogAppendTime"
    assert told["unclean.leader.election.enable"] == "false"


def test_committed_positions_do_not_expire() -> None:
    assert properties()["offsets.retention.minutes"] == "2147483647"


def test_topics_are_made_on_purpose_only() -> None:
    assert properties()["auto.create.topics.enable"] == "false"


def test_one_node_needs_no_replicas() -> None:
    told = properties()
    for name in ("default.replication.factor", "offsets.topic.replication.factor", "min.insync.replicas"):
        assert told[name] == "1"
    assert told["transaction.state.log.replication.factor"] == "1"
    assert told["transaction.state.log.min.isr"] == "1"


def test_groups_form_at_once() -> None:
    assert properties()["group.initial.rebalance.delay.ms"] == "0"


def test_every_batch_is_on_the_disk_before_it_is_acknowledged_unless_asked_otherwise() -> None:
    assert properties()["log.flush.interval.messages"] == "1"
    assert properties(BrokerSettings(fsync=False))["log.flush.interval.messages"] == str(2**63 - 1)


def test_it_listens_on_this_machine_only_unless_asked_otherwise() -> None:
    told = properties()
    assert told["listeners"] == "CLIENTS://127.0.0.1:29092,CONTROLLER://127.0.0.1:29093"
    assert told["advertised.listeners"] == "CLIENTS://127.0.0.1:29092"


def test_the_controller_stays_on_this_machine_whatever_the_host() -> None:
    told = properties(BrokerSettings(host="0.0.0.0", advertised_host="pacs.example"))  # noqa: S104
    assert told["listeners"] == "CLIENTS://0.0.0.0:29092,CONTROLLER://127.0.0.1:29093"
    assert told["advertised.listeners"] == "CLIENTS://pacs.example:29092"
    assert told["controller.quorum.voters"] == "1@127.0.0.1:29093"


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])  # noqa: S104
def test_clients_are_never_told_a_wildcard(wildcard: str) -> None:
    with pytest.raises(SettingsError, match="advertised_host"):
        BrokerSettings(host=wildcard)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(SettingsError, match=str(port)):
        BrokerSettings(port=port)


def test_properties_of_the_user_win() -> None:
    told = properties(BrokerSettings(properties={"log.segment.bytes": "1048576", "num.io.threads": "2"}))
    assert (told["log.segment.bytes"], told["num.io.threads"]) == ("1048576", "2")


def test_the_log_of_the_broker_is_bounded() -> None:
    told = log4j2_properties(LAYOUT)
    assert told["appender.file.fileName"] == "/srv/medbus/kafka/logs/server.log"
    assert told["appender.file.policies.size.size"] == "10MB"
    assert told["appender.file.strategy.max"] == "5"


def test_the_java_machine_is_small() -> None:
    options = java_options(LAYOUT, [Path("/cache/a.jar"), Path("/cache/b.jar")], heap_mb=512)
    assert {"-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"} < set(options)
    assert options[-2:] == ["-cp", f"/cache/a.jar{os.pathsep}/cache/b.jar"]


def test_the_environment_can_not_change_the_java_machine() -> None:
    told = java_environment({"PATH": "/bin", "JAVA_TOOL_OPTIONS": "-Xmx9g", "CLASSPATH": "/evil.jar"})
    assert told == {"PATH": "/bin", "LC_ALL": "C.UTF-8"}


def test_an_ipv6_address_gets_brackets() -> None:
    assert address("::1", 9092) == "[::1]:9092"
    assert address("127.0.0.1", 9092) == "127.0.0.1:9092"


def test_an_argument_file_keeps_blanks_quotes_and_backslashes() -> None:
    assert render_argfile(["-cp", 'C:\\my "jars"']) == '"-cp"\n"C:\\\\my \\"jars\\""\n'


def test_properties_are_written_as_java_reads_them() -> None:
    assert render_properties({"log.dirs": "/home/Jörg 𝄞/a\\b"}) == (
        "log.dirs=/home/J\\u00f6rg \\ud834\\udd1e/a\\\\b\n"
    )
    assert render_properties({"a": "  b"}) == "a=\\  b\n"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\f\0")))
def test_any_value_survives_the_properties_format(value: str) -> None:
    line = render_properties({"key": value})
    assert line.isascii()
    assert line.count("\n") == 1
    assert read_java_value(line.removeprefix("key=").removesuffix("\n")) == value


def read_java_value(text: str) -> str:
    """What ``java.util.Properties`` makes of the part after the ``=`` (its documented rules)."""
    text = text.lstrip(" \t\f")
    units = bytearray()
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            character = text[position]
            position += 1
            if character == "u":
                units += bytes.fromhex(text[position : position + 4])
                position += 4
                continue
            character = {"n": "\n", "r": "\r", "t": "\t"}.get(character, character)
        units += character.encode("utf-16-be")
    return units.decode("utf-16-be")
