"""The chain of a conversation: request, decision, what followed from it, and the fees for that."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from medbus.bus import Bus, Record
from medbus.schemas.events import Event
from medbus.schemas.topics import TOPICS


async def chain(
    bus: Bus, conversation: UUID, *, since: datetime, until: datetime | None = None
) -> AsyncIterator[Record]:
    """All events of a conversation, found in the log: nothing has to be believed of any catalog.

    Args:
        bus: an open connection to the log.
        conversation: the correlation id that they have in common.
        since: the log is read from here, by time of arrival, inclusive.
        until: to here, exclusive; None: to where it ends now.

    Yields:
        Records as they are found: in the order of the log within each partition, in none among partitions.
        Sort them by `timestamp` to see causes before effects.
    """
    async for batch in bus.replay(*TOPICS, since=since, until=until):
        for record in batch:
            if isinstance(record.event, Event) and record.event.meta.correlation_id == conversation:
                yield record
