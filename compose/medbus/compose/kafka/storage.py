"""The state of the data folder, and what may be done about it."""

import base64
import uuid
from enum import Enum
from pathlib import Path

from medbus.compose.kafka.errors import StorageDamaged

NODE_ID = 1
META = "meta.properties"
METADATA_LOG = "__cluster_metadata-0"

# Kafka's storage tool writes the checkpoints first and meta.properties last.
LEFT_BY_FORMAT = ("bootstrap.checkpoint*", f"{META}*", ".lock", f"{METADATA_LOG}/*.checkpoint*")


class StorageState(Enum):
    """What a data folder holds."""

    EMPTY = "nothing"
    FORMATTED = "a broker's data"
    HALF_FORMATTED = "what an interrupted format leaves, and no data"


def inspect_storage(data: Path) -> StorageState:
    """What the data folder holds.

    Raises:
        StorageDamaged: there may be data in it, but nothing that says whose; or it is another node's.
    """
    files = sorted(path.relative_to(data) for path in data.rglob("*") if not path.is_dir())
    if not files:
        return StorageState.EMPTY
    meta = read_meta(data)
    if not meta.get("cluster.id"):
        foreign = [file for file in files if not any(file.match(pattern) for pattern in LEFT_BY_FORMAT)]
        if not foreign:
            return StorageState.HALF_FORMATTED
        raise StorageDamaged(
            f"{data / META} is missing or can't be read, but there is data beside it ({examples(foreign)}).",
            "Nothing was changed. Put the file back from a backup; or move the folder away, and the broker "
            "starts empty.",
        )
    node, version = meta.get("node.id"), meta.get("version")
    if (node, version) != (str(NODE_ID), "1"):
        raise StorageDamaged(
            f"{data} belongs to another Kafka: node {node}, format version {version}.",
            "Nothing was changed. Choose another home folder, or move the data away.",
        )
    return StorageState.FORMATTED


def clean_storage(data: Path) -> None:
    """Remove what an interrupted format has left; to be called for ``HALF_FORMATTED`` only."""
    if inspect_storage(data) is not StorageState.HALF_FORMATTED:
        raise StorageDamaged(f"{data} does not hold an interrupted format; nothing was removed.")
    for path in sorted(data.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def read_meta(data: Path) -> dict[str, str]:
    """The entries of Kafka's ``meta.properties``; empty if it is not there or is no text."""
    try:
        lines = (data / META).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def new_cluster_id() -> str:
    """A fresh cluster id in Kafka's form: 16 bytes as 22 characters of URL-safe base64, the first no dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def examples(files: list[Path]) -> str:
    """The first few of the files, for a message."""
    shown = ", ".join(map(str, files[:3]))
    return shown if len(files) <= 3 else f"{shown} and {len(files) - 3} more"
