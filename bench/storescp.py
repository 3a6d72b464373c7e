"""DCMTK's storescp: takes images and either forgets them or writes files, neither synced nor indexed.

No peer for a service, but it shows how fast the clients are, and it is the destination of C-MOVE.
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
        folder: of its log, and of the images if they are kept; it must be there.
        keep: whether images are written to files.
    """

    def __init__(self, folder: Path, *, keep: bool) -> None:
        port = free_port()
        keeping = ["+B", "-od", str(folder)] if keep else ["--ignore"]
        super().__init__(
            [dcmtk("storescp") or "storescp", "--fork", "-pdu", "131072", *keeping, str(port)],
            port=port,
            log=folder / "storescp.log",
            environment=NODELAY,
        )
