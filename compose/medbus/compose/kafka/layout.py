"""Where the embedded broker keeps its things."""

import os
from dataclasses import dataclass
from pathlib import Path

from medbus.compose.kafka.errors import HomeUnusable


@dataclass(frozen=True)
class Layout:
    """The folders and files of one broker, all under ``<home>/kafka``."""

    root: Path

    @classmethod
    def of_home(cls, home: Path) -> "Layout":
        """The layout for a medbus home folder."""
        return cls(home.expanduser().absolute() / "kafka")

    @property
    def data(self) -> Path:
        """Kafka's log segments: the events themselves."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """What the broker writes about itself."""
        return self.root / "logs"

    @property
    def config(self) -> Path:
        """Configuration; written again at every start."""
        return self.root / "config"

    @property
    def tmp(self) -> Path:
        """Native libraries that the jars unpack; emptied at every start and stop."""
        return self.root / "tmp"

    @property
    def server_log(self) -> Path:
        """The broker's own log, rotated."""
        return self.logs / "server.log"

    @property
    def jvm_output(self) -> Path:
        """What the Java machine printed in this run."""
        return self.logs / "jvm.out"

    @property
    def format_output(self) -> Path:
        """What Kafka's storage tool printed when it prepared the data folder."""
        return self.logs / "format.out"

    @property
    def server_properties(self) -> Path:
        """Kafka's configuration."""
        return self.config / "server.properties"

    @property
    def log4j2_properties(self) -> Path:
        """Configuration of the broker's log."""
        return self.config / "log4j2.properties"

    @property
    def java_arguments(self) -> Path:
        """Options of the Java machine."""
        return self.config / "java.args"

    @property
    def ports(self) -> Path:
        """The ports of the last run."""
        return self.root / "ports.json"

    def create(self) -> None:
        """Make the folders.

        Raises:
            HomeUnusable: a folder can't be made or written to, or Kafka could not be told its path.
        """
        # Kafka splits log.dirs at commas, and knows no way to escape one.
        if "," in str(self.root):
            raise HomeUnusable(
                f"Kafka can't keep its data in {self.root}: there is a comma in the path.",
                "Choose a home folder without a comma.",
            )
        for folder in (self.root, self.data, self.logs, self.config):
            try:
                # Events name patients: for this user only.
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise HomeUnusable(
                    f"The folder {folder} can't be made: {error.strerror}.",
                    "Choose another home folder, or change who may write there.",
                ) from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise HomeUnusable(
                    f"The folder {folder} can't be written to.",
                    "Choose another home folder, or change who may write there.",
                )
