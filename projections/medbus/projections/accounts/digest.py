"""The digest of the fees behind a line of an invoice."""

from collections.abc import Iterable
from hashlib import sha256


class FeesDigest:
    """SHA-256 of the ids of fees in ascending order, 16 bytes each; they come in any order.

    It takes 16 bytes of memory for each: they are kept apart by their first byte, so that only a few at a
    time are objects to be sorted.
    """

    def __init__(self) -> None:
        self._ids = [bytearray() for _ in range(256)]

    def add(self, fee_ids: Iterable[bytes]) -> None:
        """Take fees in, each once."""
        for each in fee_ids:
            self._ids[each[0]] += each

    def hexdigest(self) -> str:
        """The digest of all of them, in hexadecimal."""
        digest = sha256()
        for ids in self._ids:
            digest.update(b"".join(sorted(ids[at : at + 16] for at in range(0, len(ids), 16))))
        return digest.hexdigest()
