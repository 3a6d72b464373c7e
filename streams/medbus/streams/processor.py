"""A processor: what it reads, what it makes of a record, and what it does when it can't.

A processor reads topics and publishes the events that follow. It is given each record at least once: a
rebalance or a restart gives it the last ones again. So its handler

- derives the id of every event from its cause (`meta.caused(kind, ...)`): the same record gives the same
  ids, and every sink ignores an id that it has seen;
- takes the time from the record, not from the clock, so that the repeated event is the same event;
- has no outward effect of its own. What must be sent, printed or called goes through an event that a reactor
  with its own position acts on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from medbus.bus import Bus, Record, Undecodable
from medbus.bus.dead_letters import Raw, dead_letter, without_contents
from medbus.projections.errors import CatalogMissing
from medbus.schemas.errors import BusError, InvalidEvent, UndecodableRecord, UnknownSchema
from medbus.schemas.events import Event
from medbus.schemas.topics import Topic

log = logging.getLogger(__name__)

Handler = Callable[[Record], Awaitable[Sequence[Event]]]


def transient(error: Exception) -> bool:
    """Whether the same may succeed a moment later: trouble with the database, Kafka or the network."""
    if isinstance(error, DataError | IntegrityError):
        return False
    return isinstance(error, DBAPIError | PoolTimeout | CatalogMissing | KafkaError | BusError | OSError)


def say_nothing(record: Record, error: str) -> Sequence[Event]:
    """No event beside the dead letter."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What a processor is.

    Args:
        name: of the processor, its consumer group and the source of its events.
        topics: what it reads.
        handle: makes events of a record, whose event is never Undecodable; see above for what it owes.
        refuse: pure; the events that are published beside the dead letter when a record can't be handled, so
            that nobody waits in vain. The record's event may be Undecodable.
        delays: seconds to wait before each further try after a transient failure; then the record is given
            up.
        in_flight: how many records may be under way at once. Handling is always one after the other. With 1,
            a record is handled when the events of the one before are in the log; with more, they are still on
            their way, and may change places if a broker fails just then.
        stall_seconds: without progress for so long, although there is work, the processor ends. Longer than
            the handler takes, retries included.
    """

    name: str
    topics: tuple[Topic, ...]
    handle: Handler
    refuse: Callable[[Record, str], Sequence[Event]] = say_nothing
    delays: tuple[float, ...] = (0.05, 0.25, 1.0, 2.0)
    in_flight: int = 32
    stall_seconds: float = 60.0


class Handling:
    """What happens to one record.

    Args:
        processor: whose record it is.
        bus: an open bus.
    """

    def __init__(self, processor: Processor, bus: Bus) -> None:
        self._processor = processor
        self._bus = bus

    async def decode(self, raw: Raw) -> Event | Undecodable:
        """The event in a record's bytes."""
        try:
            return self._bus.codec.decode(raw.value, raw.headers)
        except UnknownSchema:
            await self._bus.refresh_registry()
        except UndecodableRecord as error:
            return Undecodable(error=str(error), key=raw.key, value=raw.value, headers=raw.headers)
        try:
            return self._bus.codec.decode(raw.value, raw.headers)
        except UndecodableRecord as error:
            return Undecodable(error=str(error), key=raw.key, value=raw.value, headers=raw.headers)

    async def answer(self, record: Record) -> "Sequence[Event] | Failed":
        """The events that follow from a record. Every exception of the handler ends here."""
        if isinstance(record.event, Undecodable):
            return Failed(record.event.error)
        for delay in (*self._processor.delays, None):
            try:
                return await self._processor.handle(record)
            except Exception as error:
                if delay is None or not transient(error):
                    log.exception("%s can't handle %s", self._processor.name, record.position)
                    return Failed(f"{type(error).__name__}: {error}")
                log.warning(
                    "%s tries %s again in %g s: %s", self._processor.name, record.position, delay, error
                )
                await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def publish(self, record: Record, raw: Raw, answer: "Sequence[Event] | Failed") -> None:
        """Write the events of a record, or its dead letter; returns when every in-sync replica has all of
        them.

        Raises:
            MedbusError: not even the dead letter could be written. The record must not be acknowledged.
        """
        if isinstance(answer, Failed):
            await self._bury(record, raw, answer.error)
            return
        try:
            await self._publish_all(answer)
        except InvalidEvent as error:
            log.exception("%s made no valid event of %s", self._processor.name, record.position)
            await self._bury(record, raw, f"InvalidEvent: {error}")

    async def _bury(self, record: Record, raw: Raw, error: str) -> None:
        letter = dead_letter(self._processor.name, record, error, raw=raw)
        log.error("%s gives up %s: %s", self._processor.name, record.position, error)
        try:
            await self._bus.publish(letter)
        except InvalidEvent:
            await self._bus.publish(without_contents(letter))
        await self._publish_all(self._processor.refuse(record, error))

    async def _publish_all(self, events: Sequence[Event]) -> None:
        if len(events) == 1:
            await self._bus.publish(events[0])
        elif events:
            try:
                await self._bus.publish_all(events)
            except ExceptionGroup as group:
                raise _first(group) from group


@dataclass(frozen=True)
class Failed:
    """A record could not be handled."""

    error: str


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
