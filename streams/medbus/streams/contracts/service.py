"""Commands about contracts, carried out against the log."""

from collections.abc import Iterable, Sequence
from typing import Any

from medbus.bus import Bus
from medbus.schemas.events import SubscriberEvent
from medbus.schemas.topics import SUBSCRIBERS, TARIFFS
from medbus.streams.command import CommandService
from medbus.streams.contracts import decider
from medbus.streams.contracts.commands import Command
from medbus.streams.contracts.decider import State


class ContractService(CommandService[State, Command, SubscriberEvent]):
    """Carries out commands about contracts.

    Args:
        bus: an open bus.
    """

    topics = (SUBSCRIBERS, TARIFFS)
    look_at = "medbus subscriber list"

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, State())

    def fold(self, state: State, events: Iterable[Any]) -> State:
        return decider.fold(state, events)

    def decide(self, state: State, command: Command) -> Sequence[SubscriberEvent]:
        return decider.decide(state, command)
