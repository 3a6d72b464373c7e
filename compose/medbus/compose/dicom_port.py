"""The port of the DICOM gateway: held by the service, listened at by all processes of the gateway."""

import socket
import tempfile
from types import TracebackType
from typing import IO, Self

from medbus.gateways.dicom.network.listening import listen
from medbus.gateways.dicom.network.turns import SIZE
from medbus.schemas.errors import SettingsError

LISTENER, TURNS = "MEDBUS_DICOM_LISTENER", "MEDBUS_DICOM_TURNS"
"""Variables by which a process learns the numbers of the descriptors that it has inherited."""


class DicomPort:
    """A listening socket for several processes, which outlives each of them; a context manager.

    Args:
        host: the address to listen at.
        port: the port; 0 for any free one.

    Raises:
        SettingsError: on entering, if the port can't be had.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket
        self._turns: IO[bytes]

    def __enter__(self) -> Self:
        host, port = self._address
        try:
            self._socket = listen(host, port)
        except OSError as error:
            raise SettingsError(
                f"Port {port} at {host} can't be listened at: {error}.",
                "Choose another with --dicom-port or MEDBUS_DICOM_PORT.",
            ) from error
        self._turns = tempfile.TemporaryFile()
        self._turns.truncate(SIZE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._turns.close()

    @property
    def descriptors(self) -> tuple[int, int]:
        """What a process of the gateway must inherit."""
        return self._socket.fileno(), self._turns.fileno()

    @property
    def environment(self) -> dict[str, str]:
        """What it must know of them."""
        listener, turns = self.descriptors
        return {LISTENER: str(listener), TURNS: str(turns)}
