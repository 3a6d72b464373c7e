"""DCMTK's storescp: takes images and writes files, neither synced nor indexed.

No peer for a service, but it shows how fast the clients are.
"""

from pathlib import Path

from bench.process import NODELAY, Server, dcmtk, free_port

AE_TITLE = "STORESCP"
INSTALL = "DCMTK's storescp is not installed: apt-get install dcmtk."


def installed() -> bool:
    """Whether there is one."""
    return dcmtk("storescp") is not None


class Storescp(Server):
    """A storescp of our own; use with `with`.

    Args:
        folder: of its log and the images; it must be there.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        super().__init__(
            [
                dcmtk("storescp") or "storescp",
                "--fork",
                "-pdu",
                "131072",
                "+B",
                "-od",
                str(folder),
                str(port),
            ],
            port=port,
            log=folder / "storescp.log",
            environment=NODELAY,
        )
