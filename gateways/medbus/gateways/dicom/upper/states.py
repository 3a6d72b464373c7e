"""The upper layer's state machine, as PS3.8 Table 9-10 has it. Pure."""

from collections.abc import Mapping
from enum import Enum, unique
from typing import Final

from medbus.schemas.errors import MedbusError


@unique
class State(Enum):
    """States (PS3.8 Tables 9-1 to 9-5)."""

    STA1 = "idle"
    STA2 = "connection open, awaiting A-ASSOCIATE-RQ"
    STA3 = "awaiting the user's answer to an association request"
    STA4 = "awaiting the transport connection"
    STA5 = "awaiting A-ASSOCIATE-AC or -RJ"
    STA6 = "association established"
    STA7 = "awaiting A-RELEASE-RP"
    STA8 = "awaiting the user's answer to a release request"
    STA9 = "release collision, requestor: awaiting the user's answer"
    STA10 = "release collision, acceptor: awaiting A-RELEASE-RP"
    STA11 = "release collision, requestor: awaiting A-RELEASE-RP"
    STA12 = "release collision, acceptor: awaiting the user's answer"
    STA13 = "awaiting the end of the transport connection"


@unique
class Event(Enum):
    """Events (PS3.8 Table 9-10)."""

    EVT1 = "A-ASSOCIATE request of the user"
    EVT2 = "transport connected"
    EVT3 = "A-ASSOCIATE-AC came"
    EVT4 = "A-ASSOCIATE-RJ came"
    EVT5 = "transport connection indicated"
    EVT6 = "A-ASSOCIATE-RQ came"
    EVT7 = "the user accepts"
    EVT8 = "the user rejects"
    EVT9 = "P-DATA request of the user"
    EVT10 = "P-DATA-TF came"
    EVT11 = "A-RELEASE request of the user"
    EVT12 = "A-RELEASE-RQ came"
    EVT13 = "A-RELEASE-RP came"
    EVT14 = "A-RELEASE response of the user"
    EVT15 = "A-ABORT request of the user"
    EVT16 = "A-ABORT came"
    EVT17 = "transport closed"
    EVT18 = "ARTIM expired"
    EVT19 = "an unrecognized or invalid PDU came"


@unique
class Action(Enum):
    """Actions (PS3.8 Tables 9-6 to 9-9)."""

    AE_1 = "open the transport connection"
    AE_2 = "send A-ASSOCIATE-RQ"
    AE_3 = "tell the user of the acceptance"
    AE_4 = "tell the user of the rejection and close the transport connection"
    AE_5 = "start ARTIM"
    AE_6 = "stop ARTIM, and ask the user or send A-ASSOCIATE-RJ"
    AE_7 = "send A-ASSOCIATE-AC"
    AE_8 = "send A-ASSOCIATE-RJ and start ARTIM"
    DT_1 = "send P-DATA-TF"
    DT_2 = "give P-DATA to the user"
    AR_1 = "send A-RELEASE-RQ"
    AR_2 = "tell the user of the release"
    AR_3 = "confirm the release to the user and close the transport connection"
    AR_4 = "send A-RELEASE-RP and start ARTIM"
    AR_5 = "stop ARTIM, all is over"
    AR_6 = "give P-DATA to the user, who waits for the release"
    AR_7 = "send P-DATA-TF before the release"
    AR_8 = "tell the user of a release collision"
    AR_9 = "send A-RELEASE-RP"
    AR_10 = "confirm the release to the user"
    AA_1 = "send A-ABORT of the user and start or restart ARTIM"
    AA_2 = "stop ARTIM if it runs and close the transport connection"
    AA_3 = "tell the user of the abort and close the transport connection"
    AA_4 = "tell the user of the provider's abort"
    AA_5 = "stop ARTIM, nothing was asked for"
    AA_6 = "pass over the PDU"
    AA_7 = "send A-ABORT"
    AA_8 = "send A-ABORT of the provider, tell the user and start ARTIM"


STARTS_ARTIM: Final = frozenset({Action.AE_5, Action.AE_8, Action.AR_4, Action.AA_1, Action.AA_8})
"""Actions that start or restart ARTIM; AE-6 does too where it rejects."""

STOPS_ARTIM: Final = frozenset({Action.AE_6, Action.AR_5, Action.AA_2, Action.AA_5})


class ImpossibleEvent(MedbusError):
    """An event that can't occur in a state: the Standard's table is blank there."""

    def __init__(self, event: Event, state: State) -> None:
        super().__init__(f"{event.name} ({event.value}) can't occur in {state.name} ({state.value}).")


# Rows of Table 9-10: for each event, states by number and what follows; "!" is AA-8 and Sta13.
_ROWS: Final = {
    1: {"1": "AE_1 4"},
    2: {"4": "AE_2 5"},
    3: {"2": "AA_1 13", "3 6 7 8 9 10 11 12": "!", "5": "AE_3 6", "13": "AA_6 13"},
    4: {"2": "AA_1 13", "3 6 7 8 9 10 11 12": "!", "5": "AE_4 1", "13": "AA_6 13"},
    5: {"1": "AE_5 2"},
    6: {"2": "AE_6 3", "3 5 6 7 8 9 10 11 12": "!", "13": "AA_7 13"},
    7: {"3": "AE_7 6"},
    8: {"3": "AE_8 13"},
    9: {"6": "DT_1 6", "8": "AR_7 8"},
    10: {"2": "AA_1 13", "3 5 8 9 10 11 12": "!", "6": "DT_2 6", "7": "AR_6 7", "13": "AA_6 13"},
    11: {"6": "AR_1 7"},
    12: {"2": "AA_1 13", "3 5 8 9 10 11 12": "!", "6": "AR_2 8", "7": "AR_8 9", "13": "AA_6 13"},
    13: {
        "2": "AA_1 13",
        "3 5 6 8 9 12": "!",
        "7": "AR_3 1",
        "10": "AR_10 12",
        "11": "AR_3 1",
        "13": "AA_6 13",
    },
    14: {"8": "AR_4 13", "9": "AR_9 11", "12": "AR_4 13"},
    15: {"3 5 6 7 8 9 10 11 12": "AA_1 13", "4": "AA_2 1"},
    16: {"2": "AA_2 1", "3 5 6 7 8 9 10 11 12": "AA_3 1", "13": "AA_2 1"},
    17: {"2": "AA_5 1", "3 4 5 6 7 8 9 10 11 12": "AA_4 1", "13": "AR_5 1"},
    18: {"2": "AA_2 1", "13": "AA_2 1"},
    19: {"2": "AA_1 13", "3 5 6 7 8 9 10 11 12": "!", "13": "AA_7 13"},
}


def _table() -> dict[tuple[Event, State], tuple[Action, State]]:
    found = {}
    for number, row in _ROWS.items():
        for states, what in row.items():
            action, following = ("AA_8 13" if what == "!" else what).split()
            for state in states.split():
                key = Event[f"EVT{number}"], State[f"STA{state}"]
                found[key] = Action[action], State[f"STA{following}"]
    return found


TABLE: Final[Mapping[tuple[Event, State], tuple[Action, State]]] = _table()
"""What to do, and the state that follows. AE-6 leads to Sta13 instead where the request is not acceptable to
the provider, AR-8 to Sta10 where this side is the acceptor."""


class Machine:
    """One association's state.

    Args:
        requestor: whether this side asks for the association.
    """

    def __init__(self, *, requestor: bool) -> None:
        self.state = State.STA1
        self.requestor = requestor

    def on(self, event: Event, *, acceptable: bool = True) -> Action:
        """Take an event; what is to be done now.

        Args:
            event: what happened.
            acceptable: of an A-ASSOCIATE-RQ: whether the provider can serve it (its protocol version).

        Raises:
            ImpossibleEvent: it can't occur in this state.
        """
        try:
            action, following = TABLE[event, self.state]
        except KeyError:
            raise ImpossibleEvent(event, self.state) from None
        if action is Action.AE_6 and not acceptable:
            following = State.STA13
        elif action is Action.AR_8 and not self.requestor:
            following = State.STA10
        self.state = following
        return action
