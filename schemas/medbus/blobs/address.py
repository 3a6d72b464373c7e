"""The addresses of blobs: the BLAKE3 of their bytes."""

import re
from typing import Final

from blake3 import blake3

from medbus.blobs.errors import BlobNotFound

_ADDRESS: Final = re.compile(r"blake3:([0-9a-f]{64})")


class Digest:
    """Computes an address while the bytes go by."""

    def __init__(self) -> None:
        self._hash = blake3()
        self.size = 0

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def address(self) -> str:
        """The address of the bytes so far, such as `blake3:af1349…`."""
        return f"blake3:{self._hash.hexdigest()}"

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the digest."""
        return self._hash.digest()


def address_of(data: bytes | bytearray | memoryview) -> str:
    """The address of a run of bytes."""
    digest = Digest()
    digest.update(data)
    return digest.address


def digest_of(address: str) -> bytes:
    """The 32 bytes in an address.

    Raises:
        BlobNotFound: it is no address.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise BlobNotFound(address)
    return bytes.fromhex(match[1])


def key_of(address: str) -> str:
    """Where a blob stands below the root of a store: `blake3/af/af1349…`, so that no folder grows too large.

    Raises:
        BlobNotFound: it is no address.
    """
    name = digest_of(address).hex()
    return f"blake3/{name[:2]}/{name}"
