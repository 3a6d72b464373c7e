"""Whose turn it is to take up a connection, among processes that listen at one port.

Every process writes how many associations it has into its place of a small shared file, and lets those take
a new connection that have fewer. A process that died leaves a number behind: it delays the others for a
moment at worst.
"""

import mmap
import struct
from typing import Final

PLACES: Final = 64
"""Most processes at one port."""

SIZE: Final = 4 * PLACES

YIELD: Final = 0.004
"""Seconds for which a connection is left to processes that have less to do."""


class Turns:
    """This process's view of all of them.

    Args:
        descriptor: of the shared file.
        place: this process's, from 0.
        processes: how many there are.
    """

    def __init__(self, descriptor: int, place: int, processes: int) -> None:
        self._counts = mmap.mmap(descriptor, SIZE)
        self._place = place
        self._others = [4 * number for number in range(processes) if number != place]
        self.has(0)

    def has(self, associations: int) -> None:
        """Tell the others how many associations this process has."""
        struct.pack_into("=I", self._counts, 4 * self._place, associations)

    def mine(self) -> bool:
        """Whether no other process has fewer associations."""
        (mine,) = struct.unpack_from("=I", self._counts, 4 * self._place)
        return all(struct.unpack_from("=I", self._counts, at)[0] >= mine for at in self._others)
