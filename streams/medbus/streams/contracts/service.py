"""Commands about contracts, carried out against the log: read, decide, publish."""

import asyncio
from typing import NamedTuple, cast

from medbus.bus import Bus, Partition, Position, Undecodable
from medbus.schemas.errors import MedbusError, UndecodableRecord
from medbus.schemas.events import SubscriberEvent
from medbus.schemas.topics import SUBSCRIBERS
from medbus.streams.contracts.commands import Command
from medbus.streams.contracts.decider import State, decide, evolve, fold


class OvertakenByAnother(MedbusError):
    """Two commands that exclude each other were recorded at the same time."""


class Recorded(NamedTuple):
    """An event and where it stands in the log."""

    event: SubscriberEvent
    position: Position


class ContractService:
    """Carries out commands about contracts.

    The state is folded from the topic itself, up to its end, before every command: the catalog may lag
    behind.

    Args:
        bus: an open bus.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._state = State()
        self._next: dict[Partition, int] = {}
        self._lock = asyncio.Lock()

    async def state(self) -> State:
        """All contracts as the log has them now.

        Raises:
            UndecodableRecord: the topic holds something that this version does not understand.
        """
        async with self._lock:
            return await self._read(await self._bus.end_offsets(SUBSCRIBERS))

    async def handle(self, command: Command) -> tuple[Recorded, ...]:
        """Carry out a command; returns what happened, nothing if it had happened already.

        Give a command that failed halfway, for example when the broker went away, again as it was: its id
        keeps it from happening twice.

        Raises:
            MedbusError: it can't be carried out, see `decide`.
            OvertakenByAnother: it is in the log, but another process recorded at the same time what excludes
            it. UndecodableRecord: see `state`.
        """
        async with self._lock:
            before = await self._read(await self._bus.end_offsets(SUBSCRIBERS))
            events = decide(before, command)
            recorded = tuple([Recorded(event, await self._bus.publish(event)) for event in events])
            for event, position in recorded:
                # What another process wrote in between was not known when this was decided.
                meanwhile = await self._read({position.partition: position.offset})
                if meanwhile is not before:
                    _check(meanwhile, command)
                self._state = evolve(meanwhile, event)
                self._next[position.partition] = position.offset + 1
            return recorded

    async def _read(self, end: dict[Partition, int]) -> State:
        if all(self._next.get(partition, 0) >= offset for partition, offset in end.items()):
            return self._state
        async for batch in self._bus.replay(SUBSCRIBERS, since=self._next, until=end):
            events: list[SubscriberEvent] = []
            for record in batch:
                if isinstance(record.event, Undecodable):
                    raise UndecodableRecord(
                        f"Contracts are not known: {record.position} does not decode: {record.event.error}",
                        "Update medbus, or look at the record with `medbus tail subscribers`.",
                    )
                events.append(cast(SubscriberEvent, record.event))
            self._state = fold(self._state, events)
            for record in batch:
                self._next[record.position.partition] = record.position.offset + 1
        return self._state


def _check(meanwhile: State, command: Command) -> None:
    try:
        decide(meanwhile, command)
    except MedbusError as error:
        raise OvertakenByAnother(
            f"This was recorded, but so was, at the same time, what excludes it: {error.message}",
            "Look at both with `medbus subscriber list` and change or cancel one of them.",
        ) from error
