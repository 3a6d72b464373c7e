"""The book, kept up to date with the log."""

from medbus.bus import Bus, Partition, Undecodable
from medbus.schemas.errors import UndecodableRecord
from medbus.schemas.topics import SUBSCRIBERS, TARIFFS
from medbus.streams.billing.book import Book


class History:
    """Contracts and price lists as the log has them.

    Args:
        bus: an open bus.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._next: dict[Partition, int] = {}
        self.book = Book()

    async def refresh(self) -> Book:
        """Read on to the present end of the log: whatever was recorded before this call is in the book.

        Raises:
            UndecodableRecord: there is something that this version does not understand; to bill without it
                could be wrong.
        """
        end = await self._bus.end_offsets(SUBSCRIBERS, TARIFFS)
        if all(self._next.get(partition, 0) >= offset for partition, offset in end.items()):
            return self.book
        async for batch in self._bus.replay(SUBSCRIBERS, TARIFFS, since=self._next, until=end):
            for record in batch:
                if isinstance(record.event, Undecodable):
                    raise UndecodableRecord(
                        f"Nothing can be billed: {record.position} does not decode: {record.event.error}",
                        "Update medbus, or look at the record with `medbus tail`.",
                    )
            self.book.take(batch)
            for record in batch:
                self._next[record.position.partition] = record.position.offset + 1
        return self.book
