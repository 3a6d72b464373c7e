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
from dataclasses import dataclass, replace
from typing import TypeVar

from aiokafka.errors import KafkaError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from medbus.bus import Bus, Record, Undecodable
from medbus.bus.dead_letters import Raw, dead_letter, without_contents
from medbus.projections.errors import CatalogMissing
from medbus.schemas.errors import BusError, InvalidEvent, UndecodableRecord, UnknownSchema
from medbus.schemas.events import DeadLettered, Event
from medbus.schemas.topics import Topic
from medbus.streams.application import BUFFER

log = logging.getLogger(__name__)

A = TypeVar("A")
R = TypeVar("R")

Handler = Callable[[Record], Awaitable[Sequence[Event]]]
Preparation = Callable[[Sequence[Record]], Awaitable[None]]


def transient(error: Exception) -> bool:
    """Whether the same may succeed a moment later: trouble with the database, Kafka or the network."""
    if isinstance(error, DataError | IntegrityError):
        return False
    return isinstance(error, DBAPIError | PoolTimeout | CatalogMissing | KafkaError | BusError | OSError)


def say_nothing(record: Record, error: str) -> Sequence[Event]:
    """No event beside the dead letter."""
    return ()


async def need_nothing(records: Sequence[Record]) -> None:
    """No state to read."""


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What a processor is.

    Args:
        name: of the processor, its consumer group and the source of its events.
        topics: what it reads.
        handle: makes events of a record, whose event is never Undecodable; see above for what it owes.
        prepare: reads what the records of a batch need, before they are handled one after the other. Called
            once for each batch, never with an Undecodable. If it fails for good, every record of the batch is
            prepared and handled by itself, so that one that can't be does not take the others with it.
        batch: how many records that have arrived are taken together at most: their events are written
            together. None is waited for: a record that comes alone is handled at once.
        refuse: pure; the events that are published beside the dead letter when a record can't be handled, so
            that nobody waits in vain. The record's event may be Undecodable.
        delays: seconds to wait before each further try after a transient failure; then the record is given
            up.
        in_flight: how many records may be under way at once, counted in whole batches. Handling is always one
            after the other. With no more than a batch, a batch is handled when the events of the one before
            are in the log. With more, they are still on their way, and events of different batches may change
            places.
        buffer: how many records are fetched at once, and how many wait at most to be taken.
        linger: seconds for which the broker gathers records before it gives them out. For a processor on
            whose events nobody waits: on the same machine somebody waits for a decision.
        stall_seconds: without progress for so long, although there is work, the processor ends. Longer than
            the handler takes, retries included.

    Raises:
        ValueError: fewer records may be under way than a batch has.
    """

    name: str
    topics: tuple[Topic, ...]
    handle: Handler
    prepare: Preparation = need_nothing
    batch: int = 1
    refuse: Callable[[Record, str], Sequence[Event]] = say_nothing
    delays: tuple[float, ...] = (0.05, 0.25, 1.0, 2.0)
    in_flight: int = 32
    buffer: int = BUFFER
    linger: float = 0.0
    stall_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.in_flight:
            raise ValueError(f"A batch of {self.batch} does not fit into {self.in_flight} under way.")


@dataclass(frozen=True)
class Failed:
    """A record could not be handled."""

    error: str


@dataclass(frozen=True, slots=True)
class Handled:
    """A record, and the events that follow from it."""

    record: Record
    raw: Raw
    answer: Sequence[Event] | Failed


class Handling:
    """What happens to records.

    Args:
        processor: whose records they are.
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

    async def prepare(self, records: Sequence[Record]) -> Failed | None:
        """Read what a batch needs. Every exception of the processor ends here."""
        readable = [each for each in records if not isinstance(each.event, Undecodable)]
        if not readable:
            return None
        return await self._tried(
            self._processor.prepare, readable, f"{len(readable)} records from {readable[0].position} on"
        )

    async def answer(self, record: Record) -> Sequence[Event] | Failed:
        """The events that follow from a record. Every exception of the processor ends here."""
        if isinstance(record.event, Undecodable):
            log.error("%s can't read %s: %s", self._processor.name, record.position, record.event.error)
            return Failed(record.event.error)
        return await self._tried(self._processor.handle, record, record.position)

    async def publish(self, batch: Sequence[Handled]) -> None:
        """Write the events of records, or their dead letters; returns when every in-sync replica has all of
        them.

        Raises:
            MedbusError: not even a dead letter could be written. None of the records may be acknowledged.
        """
        try:
            await self._write([event for each in batch for event in self._events(each)])
        except InvalidEvent as error:
            if len(batch) > 1:
                # Which record it was shows when each is written by itself.
                for each in batch:
                    await self.publish([each])
            else:
                await self._bury(batch[0], error)

    async def _tried(self, work: Callable[[A], Awaitable[R]], argument: A, what: object) -> R | Failed:
        for delay in (*self._processor.delays, None):
            try:
                return await work(argument)
            except Exception as error:
                if delay is None or not transient(error):
                    log.exception("%s can't handle %s", self._processor.name, what)
                    return Failed(f"{type(error).__name__}: {error}")
                log.warning("%s tries %s again in %g s: %s", self._processor.name, what, delay, error)
                await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def _bury(self, handled: Handled, error: InvalidEvent) -> None:
        if isinstance(handled.answer, Failed):
            # The dead letter itself: the record's bytes are too many for it.
            letter = without_contents(self._letter(handled.record, handled.raw, handled.answer))
            await self._write([letter, *self._processor.refuse(handled.record, handled.answer.error)])
        else:
            log.error(
                "%s made no valid event of %s: %s", self._processor.name, handled.record.position, error
            )
            await self.publish([replace(handled, answer=Failed(f"InvalidEvent: {error}"))])

    def _events(self, handled: Handled) -> Sequence[Event]:
        if not isinstance(handled.answer, Failed):
            return handled.answer
        letter = self._letter(handled.record, handled.raw, handled.answer)
        return (letter, *self._processor.refuse(handled.record, handled.answer.error))

    def _letter(self, record: Record, raw: Raw, failed: Failed) -> DeadLettered:
        return dead_letter(self._processor.name, record, failed.error, raw=raw)

    async def _write(self, events: Sequence[Event]) -> None:
        if len(events) == 1:
            await self._bus.publish(events[0])
        elif events:
            await self._bus.publish_all(events)
