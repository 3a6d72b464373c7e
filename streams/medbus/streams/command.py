"""Commands, carried out against the log: read, decide, publish. Time and identity travel in the command."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID, uuid5

from medbus.bus import Bus, Partition, Position
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Event, Instant, Meta, Value
from medbus.schemas.topics import Topic
from medbus.streams.reading import Reading


class Command(Value):
    """What all commands have.

    Attributes:
        command_id: its identity; whoever repeats a command repeats the id, and nothing happens twice.
        at: when it is given, UTC.
        source: the component that gives it.
        actor: on whose behalf, where that is a subscriber.
    """

    command_id: UUID
    at: Instant
    source: str
    actor: str | None = None

    @property
    def event_id(self) -> UUID:
        """Identity of the event that the command leads to."""
        return uuid5(self.command_id, type(self).__name__)

    def meta(self) -> Meta:
        """The head of the event that the command leads to."""
        return Meta.first(self.event_id, source=self.source, occurred_at=self.at, actor=self.actor)


S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)


class OvertakenByAnother(MedbusError):
    """Two commands that exclude each other were recorded at the same time."""


class Recorded(NamedTuple, Generic[E]):
    """An event and where it stands in the log."""

    event: E
    position: Position


class CommandService(Generic[S, C, E]):
    """Carries out commands of one decider.

    The state is folded from the topics themselves, up to their end, before every command: the catalog may
    lag behind.

    Args:
        bus: an open bus.
    """

    topics: tuple[Topic, ...]
    """What the state is folded from."""

    look_at: str
    """Where a person sees what is recorded."""

    def __init__(self, bus: Bus, state: S) -> None:
        self._bus = bus
        self._state = state
        self._reading = Reading(bus, *self.topics)
        self._lock = asyncio.Lock()

    def fold(self, state: S, events: Iterable[Any]) -> S:
        """The state after some events. Pure."""
        raise NotImplementedError

    def decide(self, state: S, command: C) -> Sequence[E]:
        """What happens on a command. Pure."""
        raise NotImplementedError

    async def state(self) -> S:
        """The state as the log has it now.

        Raises:
            UndecodableRecord: a topic holds something that this version does not understand.
        """
        async with self._lock:
            return await self._read()

    async def handle(self, command: C) -> tuple[Recorded[E], ...]:
        """Carry out a command; returns what happened, nothing if it had happened already.

        Give a command that failed halfway, for example when the broker went away, again as it was: its id
        keeps it from happening twice.

        Raises:
            MedbusError: it can't be carried out, see `decide`.
            OvertakenByAnother: it is in the log, but another process recorded at the same time what excludes
            it. UndecodableRecord: see `state`.
        """
        async with self._lock:
            before = await self._read()
            events = self.decide(before, command)
            recorded = tuple([Recorded(event, await self._bus.publish(event)) for event in events])
            for event, position in recorded:
                # What another process wrote in between was not known when this was decided.
                meanwhile = await self._read({position.partition: position.offset})
                if meanwhile is not before:
                    self._check(meanwhile, command)
                self._state = self.fold(meanwhile, (event,))
                self._reading.passed(position)
            return recorded

    def _check(self, meanwhile: S, command: C) -> None:
        try:
            self.decide(meanwhile, command)
        except MedbusError as error:
            raise OvertakenByAnother(
                f"This was recorded, but so was, at the same time, what excludes it: {error.message}",
                f"Look at both with `{self.look_at}` and change or cancel one of them.",
            ) from error

    async def _read(self, end: Mapping[Partition, int] | None = None) -> S:
        async for batch in self._reading.on(end):
            self._state = self.fold(self._state, (record.event for record in batch))
        return self._state
