"""How work on a stack is shared among threads, and how it ends early."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from medbus.streams.processing.pixels.errors import ProcessingCancelled

SHARES = 4
"""So many pieces for each thread: the last ones end at nearly the same time."""


def never() -> bool:
    """Nobody cancels."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Who does the work. numpy and scipy let go of the interpreter, so threads are enough.

    Attributes:
        workers: threads, 1 or more.
        cancelled: asked between slices; may be called by any thread.
        slab: slices in a piece of work; by default as the stack and the threads are. Results do not depend on
            it.
    """

    workers: int = 1
    cancelled: Callable[[], bool] = never
    slab: int | None = None

    def check(self) -> None:
        """Raises ProcessingCancelled: somebody asked for the end."""
        if self.cancelled():
            raise ProcessingCancelled("The processing was cancelled.")

    def pieces(self, count: int, least: int = 1) -> list[range]:
        """Split so many things, in their order.

        Args:
            count: of the things.
            least: things in a piece, so that what a piece needs beside them does not weigh.
        """
        length = self.slab
        if length is None:
            length = count if self.workers == 1 else max(least, -(-count // (self.workers * SHARES)))
        return [range(start, min(start + length, count)) for start in range(0, count, length)]

    def each(self, pieces: Sequence[range], do: Callable[[range], None]) -> None:
        """Do all the pieces; the first error ends what has not begun.

        Raises:
            ProcessingCancelled: somebody asked for the end.
        """
        if self.workers == 1 or len(pieces) == 1:
            for piece in pieces:
                self.check()
                do(piece)
            return

        def checked(piece: range) -> None:
            self.check()
            do(piece)

        with ThreadPoolExecutor(min(self.workers, len(pieces)), thread_name_prefix="pixels") as pool:
            for _ in pool.map(checked, pieces):
                pass
