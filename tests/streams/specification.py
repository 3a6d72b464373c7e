"""A language for deciders of contracts: given(events).when(command).then(events)."""

import re
from dataclasses import dataclass

import pytest

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import SubscriberEvent
from medbus.streams.contracts.commands import Command
from medbus.streams.contracts.decider import State, decide, fold


@dataclass(frozen=True)
class When:
    """A command, and the state that it meets."""

    state: State
    command: Command

    def then(self, *events: SubscriberEvent) -> None:
        """Exactly these events follow."""
        assert decide(self.state, self.command) == events

    def then_nothing(self) -> None:
        """No event follows, and no error."""
        assert decide(self.state, self.command) == ()

    def then_error(self, kind: type[MedbusError], message: str) -> None:
        """It is refused: with an error of this kind that says this, and advises what to do."""
        with pytest.raises(kind, match=re.escape(message)) as caught:
            decide(self.state, self.command)
        assert caught.value.advice


@dataclass(frozen=True)
class Given:
    """What has happened."""

    events: tuple[SubscriberEvent, ...]

    def when(self, command: Command) -> When:
        """A command is given."""
        return When(fold(State(), self.events), command)


def given(*events: SubscriberEvent) -> Given:
    """These events have happened, in this order."""
    return Given(events)
