"""Memory that begins on a page, as the disk wants it that is written and read past the page cache."""

import mmap
from collections import deque
from typing import Final

PAGE: Final = 4096


def rounded(size: int) -> int:
    """So many bytes in whole pages."""
    return (size + PAGE - 1) // PAGE * PAGE


def aligned(size: int) -> memoryview:
    """New memory for that many bytes; whole pages, at least one."""
    return memoryview(mmap.mmap(-1, rounded(max(size, 1))))


class Buffers:
    """Buffers of one size that are used again and again. Any number of threads may use it.

    Args:
        size: bytes of each, a multiple of a page.
        keep: how many are kept while nobody needs them.
    """

    def __init__(self, size: int, keep: int) -> None:
        self.size = size
        self._idle: deque[memoryview] = deque(maxlen=keep)

    def take(self) -> memoryview:
        """A buffer; whatever is in it."""
        try:
            return self._idle.pop()
        except IndexError:
            return aligned(self.size)

    def give(self, buffer: memoryview) -> None:
        """Give a buffer back that nobody looks at any more."""
        self._idle.append(buffer)
