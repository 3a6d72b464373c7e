"""The book, kept up to date with the log."""

from medbus.bus import Bus
from medbus.schemas.topics import SUBSCRIBERS, TARIFFS
from medbus.streams.billing.book import Book
from medbus.streams.reading import Reading


class History:
    """Contracts and price lists as the log has them.

    Args:
        bus: an open bus.
    """

    def __init__(self, bus: Bus) -> None:
        self._reading = Reading(bus, SUBSCRIBERS, TARIFFS)
        self.book = Book()

    async def refresh(self) -> Book:
        """Read on to the present end of the log: whatever was recorded before this call is in the book.

        Raises:
            UndecodableRecord: there is something that this version does not understand; to bill without it
                could be wrong.
        """
        async for batch in self._reading.on():
            self.book.take(batch)
        return self.book
