"""A listening socket."""

import socket
from typing import Final

WAITING: Final = 128
"""Connections that may wait to be taken up, for example while a process is started again."""


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address of this machine; at port 0: at any that is free. Looks up a name: may block.

    Raises:
        OSError: the port can't be had.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family, backlog=WAITING)
