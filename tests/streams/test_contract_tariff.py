"""A contract and its price list."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from tests.streams.specification import given

from medbus.schemas.events import (
    ContractChanged,
    Meta,
    PaymentCondition,
    Role,
    SubscriberContracted,
    TariffSet,
    Terms,
)
from medbus.streams.contracts.commands import Change, Contract
from medbus.streams.contracts.decider import State, decide, fold
from medbus.streams.contracts.terms import InvalidTerms

AT = datetime(2026, 1, 2, tzinfo=UTC)
FREE = Terms(name="A", roles=(Role.IMAGE_RECEIVING,))
PRICED = msgspec.structs.replace(FREE, tariff="standard")
STANDARD = TariffSet(
    meta=Meta.first(UUID(int=9), source="cli", occurred_at=AT),
    tariff="standard",
    version=1,
    valid_from=AT,
    currency="EUR",
    policy="half-up-2",
)


def contract(terms: Terms) -> Contract:
    return Contract(command_id=UUID(int=1), at=AT, source="cli", subscriber="A", terms=terms)


def test_the_price_list_must_be_there() -> None:
    given().when(contract(PRICED)).then_error(InvalidTerms, "There is no price list 'standard'.")
    state = fold(State(), (STANDARD,))
    command = contract(PRICED)
    assert decide(state, command) == (
        SubscriberContracted(meta=command.meta(), subscriber="A", terms=PRICED),
    )


def test_it_can_be_changed_to_another_that_is_there() -> None:
    made = contract(FREE)
    state = fold(State(), (SubscriberContracted(meta=made.meta(), subscriber="A", terms=FREE), STANDARD))
    change = Change(command_id=UUID(int=2), at=AT, source="cli", subscriber="A", terms=PRICED)
    assert decide(state, change) == (ContractChanged(meta=change.meta(), subscriber="A", terms=PRICED),)


def test_where_nothing_is_charged_nothing_can_be_demanded() -> None:
    terms = msgspec.structs.replace(FREE, payment=PaymentCondition.PREPAID)
    given().when(contract(terms)).then_error(InvalidTerms, "Payment can't be a condition")


def test_a_condition_must_be_one_that_is_known() -> None:
    terms = msgspec.structs.replace(PRICED, payment=PaymentCondition.UNSPECIFIED)
    given().when(contract(terms)).then_error(InvalidTerms, "is not known here")
