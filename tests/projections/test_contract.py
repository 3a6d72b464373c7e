"""A contract as the sum of its events."""

from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from tests.projections.examples import (
    NOON,
    activated,
    cancelled,
    changed,
    contracted,
    issued,
    revoked,
    terms,
)

from medbus.projections.directory import Contract, evolve
from medbus.schemas.events import SubscriberEvent


def contract_of(*events: SubscriberEvent) -> Contract:
    contract: Contract | None = None
    for event in events:
        contract = evolve(contract, event)
    assert contract is not None
    return contract


def test_a_contract_begins_in_force_and_not_active() -> None:
    contract = contract_of(contracted("A"))
    assert contract == Contract(subscriber="A", terms=terms("A"), contracted_at=NOON)
    assert contract.live


def test_only_the_first_run_activates() -> None:
    contract = contract_of(contracted("A"), activated("A", minutes=1), activated("A", minutes=2))
    assert contract.activated_at == NOON + timedelta(minutes=1)


def test_new_terms_replace_the_old_ones_as_a_whole() -> None:
    new = terms("A2", name="New")
    assert contract_of(contracted("A"), changed("A", new)).terms == new


def test_a_cancelled_contract_is_not_in_force() -> None:
    contract = contract_of(contracted("A"), cancelled("A", minutes=3), cancelled("A", minutes=9))
    assert not contract.live
    assert contract.cancelled_at == NOON + timedelta(minutes=3)


def test_who_comes_back_gets_a_new_contract_without_the_old_credentials() -> None:
    contract = contract_of(contracted("A"), issued("A", "aa"), cancelled("A"), contracted("A", minutes=9))
    assert contract.live
    assert contract.credentials == ()
    assert contract.contracted_at == NOON + timedelta(minutes=9)


def test_credentials_are_issued_and_revoked_one_by_one() -> None:
    one, other = uuid4(), uuid4()
    contract = contract_of(
        contracted("A"),
        issued("A", "aa", credential_id=one),
        issued("A", "bb", credential_id=other),
        revoked("A", one),
    )
    assert [(c.credential_id, c.digest, c.revoked) for c in contract.credentials] == [
        (one, "aa", True),
        (other, "bb", False),
    ]


def test_events_of_a_contract_that_was_never_made_do_not_put_one_in_force() -> None:
    contract = contract_of(issued("A", "aa"), activated("A"))
    assert not contract.live


credential_ids = st.sampled_from([UUID(int=1), UUID(int=2), UUID(int=3)])
events: st.SearchStrategy[SubscriberEvent] = st.one_of(
    st.builds(contracted, st.just("A")),
    st.builds(activated, st.just("A")),
    st.builds(changed, st.just("A"), st.sampled_from([terms("A1"), terms("A2")])),
    st.builds(cancelled, st.just("A")),
    st.builds(issued, st.just("A"), st.sampled_from(["aa", "bb"]), credential_id=credential_ids),
    st.builds(revoked, st.just("A"), credential_ids),
)


@given(st.lists(events, min_size=1))
def test_whatever_happens_ids_of_credentials_are_unique_and_a_revoked_one_stays_revoked(
    some: list[SubscriberEvent],
) -> None:
    contract: Contract | None = None
    gone: set[UUID] = set()
    for event in some:
        before, contract = contract, evolve(contract, event)
        ids = [each.credential_id for each in contract.credentials]
        assert len(ids) == len(set(ids))
        if before is not None and before.contracted_at == contract.contracted_at:
            revoked_now = {each.credential_id for each in contract.credentials if each.revoked}
            assert gone <= revoked_now or not contract.credentials
            gone = revoked_now
        else:
            gone = set()
        assert contract.subscriber == "A"


@given(st.lists(events, min_size=1), events)
def test_after_a_cancellation_only_a_new_contract_is_in_force(
    some: list[SubscriberEvent], last: SubscriberEvent
) -> None:
    contract = evolve(contract_of(*some, cancelled("A")), last)
    assert contract.live == (type(last) is type(contracted("A")))
