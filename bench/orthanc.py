"""Orthanc as a peer: a DICOM archive with an index, as Debian ships it, every file synced to the disk."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.process import NODELAY, Server, free_port

NAME = "Orthanc"
AE_TITLE = "ORTHANC"
INSTALL = "There is no peer to compare with: apt-get install orthanc, then systemctl stop orthanc."


def program() -> str | None:
    """Where it is; None if it is not installed."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


class Orthanc(Server):
    """An Orthanc of our own; use with `with`.

    Args:
        program: where it is.
        folder: of all its data; it must be there.
        destinations: where C-MOVE may send to: AE title to port of loopback.
        port: where it listens; by default a free one.

    Attributes:
        storage: folder of the images that it holds.
    """

    def __init__(
        self, program: str, folder: Path, destinations: Mapping[str, int], port: int | None = None
    ) -> None:
        port = free_port() if port is None else port
        self.storage = folder / "storage"
        settings = {
            "Name": "bench",
            "StorageDirectory": str(self.storage),
            "IndexDirectory": str(self.storage),
            "SyncStorageArea": True,
            "HttpServerEnabled": False,
            "DicomAet": AE_TITLE,
            "DicomPort": port,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {title: [title, "127.0.0.1", each] for title, each in destinations.items()},
        }
        file = folder / "orthanc.json"
        file.write_text(json.dumps(settings))
        super().__init__([program, str(file)], port=port, log=folder / "orthanc.log", environment=NODELAY)
