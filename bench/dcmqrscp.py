"""DCMTK's dcmqrscp as a peer for what goes out: files and a small index, nothing synced, a process for each
association. It loses images that are stored over several associations at once, so it is filled over one."""

from collections.abc import Mapping
from pathlib import Path

from bench.association import MAX_LENGTH
from bench.process import NODELAY, Server, dcmtk, free_port

NAME = "dcmqrscp"
AE_TITLE = "QRSCP"
INSTALL = "DCMTK's dcmqrscp is not installed: apt-get install dcmtk."


def installed() -> bool:
    """Whether there is one."""
    return dcmtk(NAME) is not None


class Dcmqrscp(Server):
    """A dcmqrscp of our own; use with `with`.

    Args:
        folder: of all its data; it must be there.
        destinations: where C-MOVE may send to: AE title to port of loopback.
    """

    def __init__(self, folder: Path, destinations: Mapping[str, int]) -> None:
        port = free_port()
        images = folder / "images"
        images.mkdir()
        hosts = [f"{title.lower()} = ({title}, 127.0.0.1, {each})" for title, each in destinations.items()]
        lines = [
            f"NetworkTCPPort = {port}",
            f"MaxPDUSize = {MAX_LENGTH}",
            "MaxAssociations = 16",
            *("HostTable BEGIN", *hosts, "HostTable END"),
            *("VendorTable BEGIN", "VendorTable END"),
            *("AETable BEGIN", f"{AE_TITLE} {images} RW (500, 4096mb) ANY", "AETable END"),
        ]
        settings = folder / "dcmqrscp.cfg"
        settings.write_text("\n".join(lines) + "\n")
        super().__init__(
            [dcmtk(NAME) or NAME, "-c", str(settings)],
            port=port,
            log=folder / "dcmqrscp.log",
            environment=NODELAY,
        )
