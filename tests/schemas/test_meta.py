"""Who, when and because of what: an effect that is derived twice is the same event."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from tests import strategies

from medbus.schemas.events import Meta

metas = strategies.values(Meta)
NOW = datetime(2024, 5, 17, tzinfo=UTC)


def test_the_first_event_of_a_chain_correlates_with_itself() -> None:
    head = Meta.first(UUID(int=7), source="gateway-dicom@host", occurred_at=NOW, actor="A-hospital")
    assert head == Meta(
        event_id=UUID(int=7),
        cause_id=None,
        correlation_id=UUID(int=7),
        actor="A-hospital",
        source="gateway-dicom@host",
        occurred_at=NOW,
    )


def test_the_id_of_an_effect_is_uuid5_of_its_cause_and_its_kind() -> None:
    head = Meta.first(UUID(int=7), source="gateway", occurred_at=NOW)
    effect = head.caused("decision", source="auth", occurred_at=NOW)
    assert effect.event_id == uuid5(UUID(int=7), "decision")
    # The value itself, so that no change of the rule passes unseen: it is in logs that exist.
    assert effect.event_id == UUID("7dd66e01-913f-5925-8cbd-9ce3d9f14a3c")


@given(metas, st.text(max_size=10), st.timedeltas(timedelta(0), timedelta(days=400)), st.text(max_size=5))
def test_cause_and_kind_alone_make_the_id(cause: Meta, kind: str, later: timedelta, other: str) -> None:
    once = cause.caused(kind, source="auth-1", occurred_at=NOW)
    again = cause.caused(kind, source="auth-2", occurred_at=NOW + later, actor=other)
    assert once.event_id == again.event_id
    assert once.cause_id == cause.event_id
    assert once.correlation_id == cause.correlation_id


@given(metas, st.text(max_size=10), st.text(max_size=10))
def test_different_kinds_are_different_events(cause: Meta, one: str, other: str) -> None:
    assume(one != other)
    ids = {cause.caused(kind, source="s", occurred_at=NOW).event_id for kind in (one, other)}
    assert len(ids) == 2
    assert cause.event_id not in ids


@given(metas, metas, st.text(max_size=10))
def test_different_causes_have_different_effects(cause: Meta, other: Meta, kind: str) -> None:
    assume(cause.event_id != other.event_id)
    other = msgspec.structs.replace(other, correlation_id=cause.correlation_id)
    assert (
        cause.caused(kind, source="s", occurred_at=NOW).event_id
        != other.caused(kind, source="s", occurred_at=NOW).event_id
    )


@given(metas)
def test_a_chain_keeps_its_correlation_and_its_actor(cause: Meta) -> None:
    last = cause
    for step in range(4):
        last = last.caused(f"step {step}", source="s", occurred_at=NOW)
    assert last.correlation_id == cause.correlation_id
    assert last.actor == cause.actor
    assert last.caused("end", source="s", occurred_at=NOW, actor="D-hospital").actor == "D-hospital"
