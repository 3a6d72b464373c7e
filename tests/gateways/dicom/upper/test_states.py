"""The state machine against PS3.8 Table 9-10, row by row as the Standard prints it."""

import pytest
from pynetdicom.fsm import ACTIONS, TRANSITION_TABLE

from medbus.gateways.dicom.upper.states import (
    STARTS_ARTIM,
    STOPS_ARTIM,
    TABLE,
    Action,
    Event,
    ImpossibleEvent,
    Machine,
    State,
)

# Columns are Sta1 to Sta13; "." is a blank of the Standard. AE-6 and AR-8 have two outcomes, tested below.
TABLE_9_10 = """
Evt1  AE-1/4 . . . . . . . . . . . .
Evt2  . . . AE-2/5 . . . . . . . . .
Evt3  . AA-1/13 AA-8/13 . AE-3/6 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-6/13
Evt4  . AA-1/13 AA-8/13 . AE-4/1 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-6/13
Evt5  AE-5/2 . . . . . . . . . . . .
Evt6  . AE-6/3 AA-8/13 . AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-7/13
Evt7  . . AE-7/6 . . . . . . . . . .
Evt8  . . AE-8/13 . . . . . . . . . .
Evt9  . . . . . DT-1/6 . AR-7/8 . . . . .
Evt10 . AA-1/13 AA-8/13 . AA-8/13 DT-2/6 AR-6/7 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-6/13
Evt11 . . . . . AR-1/7 . . . . . . .
Evt12 . AA-1/13 AA-8/13 . AA-8/13 AR-2/8 AR-8/9 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-6/13
Evt13 . AA-1/13 AA-8/13 . AA-8/13 AA-8/13 AR-3/1 AA-8/13 AA-8/13 AR-10/12 AR-3/1 AA-8/13 AA-6/13
Evt14 . . . . . . . AR-4/13 AR-9/11 . . AR-4/13 .
Evt15 . . AA-1/13 AA-2/1 AA-1/13 AA-1/13 AA-1/13 AA-1/13 AA-1/13 AA-1/13 AA-1/13 AA-1/13 .
Evt16 . AA-2/1 AA-3/1 . AA-3/1 AA-3/1 AA-3/1 AA-3/1 AA-3/1 AA-3/1 AA-3/1 AA-3/1 AA-2/1
Evt17 . AA-5/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AA-4/1 AR-5/1
Evt18 . AA-2/1 . . . . . . . . . . AA-2/1
Evt19 . AA-1/13 AA-8/13 . AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-8/13 AA-7/13
"""

CELLS = [
    (Event[row.split()[0].upper()], State[f"STA{number}"], cell)
    for row in TABLE_9_10.strip().splitlines()
    for number, cell in enumerate(row.split()[1:], start=1)
]


def machine(state: State, *, requestor: bool = True) -> Machine:
    found = Machine(requestor=requestor)
    found.state = state
    return found


def test_every_pair_is_in_the_table() -> None:
    assert len(CELLS) == len(Event) * len(State) == 19 * 13


@pytest.mark.parametrize(("event", "state", "cell"), CELLS, ids=lambda each: getattr(each, "name", each))
def test_the_standard_says_what_follows(event: Event, state: State, cell: str) -> None:
    one = machine(state)
    if cell == ".":
        with pytest.raises(ImpossibleEvent, match=event.name):
            one.on(event)
        assert one.state is state
        return
    action, following = cell.split("/")
    assert one.on(event) is Action[action.replace("-", "_")]
    assert one.state is State[f"STA{following}"]


def test_pynetdicom_has_the_same_table() -> None:
    ours = {(event.name, state.name): action.name for (event, state), (action, _) in TABLE.items()}
    theirs = {
        (event.upper(), state.upper()): action.replace("-", "_")
        for (event, state), action in TRANSITION_TABLE.items()
    }
    assert ours == theirs
    for action, following in TABLE.values():
        states = ACTIONS[action.name.replace("_", "-")][2]
        assert following.name in str(states).upper()


PEER = [Event[f"EVT{number}"] for number in (3, 4, 6, 10, 12, 13, 16, 17, 19)]
"""What a peer can bring about."""


@pytest.mark.parametrize("state", [each for each in State if each not in (State.STA1, State.STA4)])
@pytest.mark.parametrize("event", PEER)
def test_whatever_a_peer_does_there_is_an_answer(event: Event, state: State) -> None:
    for requestor in (False, True):
        machine(state, requestor=requestor).on(event)


@pytest.mark.parametrize("event", PEER)
def test_after_an_abort_only_the_end_of_the_connection_counts(event: Event) -> None:
    one = machine(State.STA13)
    action = one.on(event)
    assert one.state is (State.STA1 if event in (Event.EVT16, Event.EVT17) else State.STA13)
    assert action in (Action.AA_2, Action.AA_6, Action.AA_7, Action.AR_5)


def test_a_request_that_the_provider_cant_serve_is_rejected_by_it() -> None:
    one = machine(State.STA2, requestor=False)
    assert one.on(Event.EVT6, acceptable=False) is Action.AE_6
    assert one.state is State.STA13


def test_who_answers_first_in_a_release_collision() -> None:
    requestor, acceptor = machine(State.STA7), machine(State.STA7, requestor=False)
    assert requestor.on(Event.EVT12) is acceptor.on(Event.EVT12) is Action.AR_8
    assert (requestor.state, acceptor.state) == (State.STA9, State.STA10)
    assert requestor.on(Event.EVT14) is Action.AR_9
    assert acceptor.on(Event.EVT13) is Action.AR_10
    assert (requestor.state, acceptor.state) == (State.STA11, State.STA12)
    assert acceptor.on(Event.EVT14) is Action.AR_4
    assert requestor.on(Event.EVT13) is Action.AR_3
    assert (requestor.state, acceptor.state) == (State.STA1, State.STA13)


def test_artim() -> None:
    """PS3.8 Tables 9-6 to 9-9."""
    assert {each.name for each in STARTS_ARTIM} == {"AE_5", "AE_8", "AR_4", "AA_1", "AA_8"}
    assert {each.name for each in STOPS_ARTIM} == {"AE_6", "AR_5", "AA_2", "AA_5"}
