"""Commands about price lists, carried out against the log."""

from collections.abc import Iterable, Sequence
from typing import Any

from medbus.bus import Bus
from medbus.schemas.events import TariffSet
from medbus.schemas.topics import TARIFFS
from medbus.streams.command import CommandService
from medbus.streams.tariffs import decider
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.decider import State


class TariffService(CommandService[State, SetTariff, TariffSet]):
    """Carries out commands about price lists.

    Args:
        bus: an open bus.
    """

    topics = (TARIFFS,)
    look_at = "medbus tariff list"

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, State())

    def fold(self, state: State, events: Iterable[Any]) -> State:
        return decider.fold(state, events)

    def decide(self, state: State, command: SetTariff) -> Sequence[TariffSet]:
        return decider.decide(state, command)
