"""Reading topics on to their end, again and again: what a state is folded from."""

from collections.abc import AsyncIterator, Mapping

from medbus.bus import Bus, Partition, Position, Record, Undecodable
from medbus.schemas.errors import UndecodableRecord
from medbus.schemas.topics import Topic


class Reading:
    """Where reading some topics has come to.

    Args:
        bus: an open bus.
        topics: what is read, from its beginning.
    """

    def __init__(self, bus: Bus, *topics: Topic) -> None:
        self._bus = bus
        self._topics = topics
        self._next: dict[Partition, int] = {}

    async def on(self, end: Mapping[Partition, int] | None = None) -> AsyncIterator[list[Record]]:
        """What has not been read yet. A batch counts as read when the next one is asked for.

        Args:
            end: up to where; by default to where the log ends now. Whatever was recorded before this call
                comes.

        Raises:
            UndecodableRecord: there is something that this version does not understand: to go on without it
                could be wrong.
        """
        if end is None:
            end = await self._bus.end_offsets(*self._topics)
        if all(self._next.get(partition, 0) >= offset for partition, offset in end.items()):
            return
        async for batch in self._bus.replay(*self._topics, since=self._next, until=end):
            for record in batch:
                if isinstance(record.event, Undecodable):
                    topic = record.position.partition.topic
                    raise UndecodableRecord(
                        f"{record.position} does not decode: {record.event.error}",
                        f"Update medbus, or look at the record with `medbus tail {topic}`.",
                    )
            yield batch
            for record in batch:
                self.passed(record.position)

    def passed(self, position: Position) -> None:
        """A record is known: reading goes on behind it."""
        self._next[position.partition] = position.offset + 1
