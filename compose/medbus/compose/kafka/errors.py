"""What can go wrong with the embedded broker, each with what to do about it."""

import signal
from pathlib import Path

from medbus.schemas.errors import MedbusError


class BrokerError(MedbusError):
    """The embedded Kafka broker can't start or has stopped."""


class JarLockInvalid(BrokerError):
    """The lock file of the broker's jars can't be read."""


class RegistryUnreachable(BrokerError):
    """The broker's jars are not in the cache, and the package registry does not give them."""


class JarDigestMismatch(BrokerError):
    """A jar is not the one that was reviewed and locked."""


class JavaMissing(BrokerError):
    """The Java runtime wheel is not installed."""


class HomeUnusable(BrokerError):
    """The home folder can't be written to, or its path can't be told to Kafka."""


class HomeInUse(BrokerError):
    """Another broker works on the same home folder."""


class DiskSpaceLow(BrokerError):
    """There is less room on the disk than the settings ask for."""


class PortTaken(BrokerError):
    """The port that was asked for can't be listened on."""


class StorageDamaged(BrokerError):
    """The data folder holds data, but not what says whose it is. Nothing was changed in it."""


class FormatFailed(BrokerError):
    """Kafka's own tool did not prepare the data folder."""


class BrokerNotReady(BrokerError):
    """The broker runs but did not answer in time."""


class BrokerCrashed(BrokerError):
    """The broker's process ended without being asked to.

    Args:
        returncode: exit code of the process; negative is the number of the signal that ended it.
        log_file: the broker's log.
        lines: the last lines of the log.
    """

    def __init__(self, returncode: int, log_file: Path, lines: str) -> None:
        super().__init__(
            f"The embedded Kafka broker ended by itself ({how_it_ended(returncode)}).",
            f"Its data is kept and it can be started again.{log_advice(log_file, lines)}",
        )
        self.returncode = returncode
        self.log_file = log_file


def how_it_ended(returncode: int) -> str:
    """An exit code in words: ``exit code 1`` or ``SIGKILL``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def log_advice(log_file: Path, lines: str) -> str:
    """Where the log is and what it said last, to stand at the end of an advice."""
    return f" The log is {log_file}; its last lines are:\n{lines}" if lines else f" The log is {log_file}."
