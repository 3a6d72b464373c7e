"""A broker finds its ports again, and says clearly when it can't have one."""

import socket
from pathlib import Path

import pytest

from medbus.compose.kafka import PortTaken
from medbus.compose.kafka.ports import (
    Ports,
    choose_ports,
    ephemeral_start,
    free_port,
    is_free,
    remember_ports,
    remembered_ports,
)
from medbus.schemas.errors import SettingsError

HOST = "127.0.0.1"


def listener() -> socket.socket:
    return socket.create_server((HOST, 0))


def test_two_free_ports_are_chosen_where_none_are_known() -> None:
    ports = choose_ports(HOST, 0, None)
    assert ports.broker != ports.controller
    assert is_free(HOST, ports.broker)
    assert is_free(HOST, ports.controller)


def test_a_chosen_port_is_never_one_that_an_outgoing_connection_could_get() -> None:
    assert all(20_000 <= free_port(HOST) < ephemeral_start() for _ in range(20))


def test_the_ports_of_the_last_run_are_taken_again() -> None:
    last = choose_ports(HOST, 0, None)
    assert choose_ports(HOST, 0, last) == last


def test_a_remembered_port_that_is_taken_is_replaced() -> None:
    with listener() as taken:
        number = taken.getsockname()[1]
        ports = choose_ports(HOST, 0, Ports(broker=number, controller=number))
    assert number not in (ports.broker, ports.controller)


def test_the_port_that_is_asked_for_is_the_one() -> None:
    port = free_port(HOST)
    last = choose_ports(HOST, 0, None)
    assert choose_ports(HOST, port, last) == Ports(broker=port, controller=last.controller)


def test_the_controller_does_not_get_the_port_that_is_asked_for() -> None:
    port = free_port(HOST)
    ports = choose_ports(HOST, port, Ports(broker=1, controller=port))
    assert ports.broker == port
    assert ports.controller != port


def test_a_taken_port_is_an_error_that_names_it_and_its_holder() -> None:
    with listener() as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {number} on 127\.0\.0\.1 is taken") as caught:
            choose_ports(HOST, number, None)
    assert "another port" in caught.value.advice


def test_a_closing_connection_does_not_make_a_port_taken() -> None:
    with listener() as server:
        number = server.getsockname()[1]
        client = socket.create_connection((HOST, number))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert is_free(HOST, number)


def test_a_host_of_another_machine_is_an_error_of_its_own() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1 is no address of this machine"):
        choose_ports("192.0.2.1", 0, None)


def test_ports_are_remembered(tmp_path: Path) -> None:
    remember_ports(tmp_path / "ports.json", Ports(21001, 21002))
    assert remembered_ports(tmp_path / "ports.json") == Ports(21001, 21002)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"broker": "x"}', '{"broker": 1}'])
def test_a_broken_memory_is_none(tmp_path: Path, text: str) -> None:
    assert remembered_ports(tmp_path / "ports.json") is None
    (tmp_path / "ports.json").write_text(text)
    assert remembered_ports(tmp_path / "ports.json") is None
