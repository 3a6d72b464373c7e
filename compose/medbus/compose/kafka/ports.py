"""Which ports a broker listens on, and that it keeps them."""

import errno
import json
import random
import socket
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from medbus.compose.kafka.errors import PortTaken
from medbus.schemas.errors import SettingsError

LOOPBACK = "127.0.0.1"
LOWEST = 20_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
EPHEMERAL_ELSEWHERE = 49_152
TRIES = 200


@dataclass(frozen=True)
class Ports:
    """The two ports of one broker."""

    broker: int
    controller: int


def choose_ports(host: str, port: int, remembered: Ports | None) -> Ports:
    """The ports to listen on: those of the last run where they are still free.

    Clients reconnect to the address that they know, so a restart has to find its ports again.

    Args:
        host: address that the broker listens on.
        port: the broker's port; 0 for any.
        remembered: the ports of the last run on this home.

    Raises:
        PortTaken: the port that was asked for, or each one that was tried, is in use.
        SettingsError: the host is no address of this machine.
    """
    if port:
        check_free(host, port)
        broker = port
    elif remembered and is_free(host, remembered.broker):
        broker = remembered.broker
    else:
        broker = free_port(host)
    if remembered and remembered.controller != broker and is_free(LOOPBACK, remembered.controller):
        return Ports(broker, remembered.controller)
    return Ports(broker, free_port(LOOPBACK, but_not=broker))


def free_port(host: str, but_not: int = 0) -> int:
    """A port that is free now, outside the range from which the system takes ports for outgoing connections.

    From that range, a client's own connection could take the broker's port while the broker restarts, even by
    connecting to itself.
    """
    highest = max(ephemeral_start(), LOWEST + TRIES)
    for _ in range(TRIES):
        port = random.randrange(LOWEST, highest)
        if port != but_not and is_free(host, port):
            return port
    raise PortTaken(
        f"No free port was found on {host} between {LOWEST} and {highest}.",
        "Choose one with the port setting.",
    )


def ephemeral_start() -> int:
    """The lowest port that the system gives to outgoing connections."""
    with suppress(OSError, ValueError, IndexError):
        return int(EPHEMERAL.read_text().split()[0])
    return EPHEMERAL_ELSEWHERE


def is_free(host: str, port: int) -> bool:
    """Whether the port can be listened on."""
    try:
        listen_once(host, port)
    except OSError as error:
        refuse_foreign_host(host, error)
        return False
    return True


def check_free(host: str, port: int) -> None:
    """Raise what there is to say about a port that can't be listened on.

    Raises:
        PortTaken: it is in use, or this user may not have it.
        SettingsError: the host is no address of this machine.
    """
    try:
        listen_once(host, port)
    except OSError as error:
        refuse_foreign_host(host, error)
        if error.errno == errno.EADDRINUSE:
            raise port_taken(host, port) from error
        raise PortTaken(
            f"Port {port} on {host} can't be used: {error.strerror}.",
            "Choose a port above 1023, or 0 for a free one.",
        ) from error


def port_taken(host: str, port: int) -> PortTaken:
    """The error for a port that somebody else listens on."""
    return PortTaken(
        f"Port {port} on {host} is taken{holder_of(port)}.",
        "Stop that process, or choose another port (0 takes a free one and keeps it).",
    )


def listen_once(host: str, port: int) -> None:
    """Listen and stop again. Raises OSError where that can't be done."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with closing(socket.socket(family, kind, protocol)) as probe:
        # As Kafka does it: connections of an earlier run that are still being closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def refuse_foreign_host(host: str, error: OSError) -> None:
    """Raise SettingsError if the trouble is with the host, not with the port."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        raise SettingsError(
            f"{host} is no address of this machine, so the broker can't listen on it.",
            "Set the broker's host to 127.0.0.1, or to an address that this machine has.",
        ) from error


def holder_of(port: int) -> str:
    """Who listens on a port, as far as the system tells us: `` by java (process 12)``."""
    with suppress(psutil.Error, OSError):
        for socket_ in psutil.net_connections(kind="tcp"):
            listens = socket_.status == psutil.CONN_LISTEN and socket_.laddr and socket_.laddr.port == port
            if listens and socket_.pid:
                return f" by {psutil.Process(socket_.pid).name()} (process {socket_.pid})"
    return ""


def remember_ports(file: Path, ports: Ports) -> None:
    """Keep the ports for the next run."""
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps({"broker": ports.broker, "controller": ports.controller}) + "\n")
    draft.replace(file)


def remembered_ports(file: Path) -> Ports | None:
    """The ports of the last run; none if there was none, or the file can't be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text())
        return Ports(int(kept["broker"]), int(kept["controller"]))
    return None
