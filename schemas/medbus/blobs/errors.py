"""What can go wrong in the blob store."""

import errno
from pathlib import Path
from typing import Final

from medbus.schemas.errors import MedbusError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the operating system says where no space is left."""


class BlobError(MedbusError):
    """The blob store did not do what was asked of it."""


class BlobNotFound(BlobError):
    """There is no blob of that digest."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"There is no blob {digest}.",
            "Check that this is the blob store that the image was registered in.",
        )
        self.digest = digest


class BlobCorrupted(BlobError):
    """The bytes of a blob are no longer those of its digest."""

    def __init__(self, digest: str, found: str) -> None:
        super().__init__(
            f"The blob {digest} is damaged: its bytes have the digest {found}.", "Restore it from a backup."
        )
        self.digest = digest
        self.found = found


class BlobStoreFull(BlobError):
    """There is no space left; what was being written is not kept."""

    def __init__(self, where: str) -> None:
        super().__init__(f"No space is left for blobs in {where}.", "Make room, or move the blob store.")


def disk_failed(error: OSError, where: Path) -> BlobError:
    """What an error of the operating system means for a blob store in a folder."""
    if error.errno in FULL:
        return BlobStoreFull(str(where))
    return BlobError(
        f"The blob folder {where} can't be used: {error.strerror or error}.",
        "Check that it exists, that it may be written to, and that the disk is well.",
    )
