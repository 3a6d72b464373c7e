"""What is kept of a record that could not be handled."""

from datetime import UTC, datetime
from uuid import UUID

from medbus.bus import Partition, Position, Record, Undecodable
from medbus.bus.dead_letters import MAX_ERROR, Raw, dead_letter, event_id, without_contents
from medbus.schemas.events import DeadLettered, Evidence, Meta, RecordHeader, VerificationRequested

AT = datetime(2026, 1, 2, tzinfo=UTC)
POSITION = Position(Partition("requests", 3), 17)
RAW = Raw(key=b"k", value=b"v", headers=(("h", b"1"), ("h", None)))
REQUEST = VerificationRequested(
    meta=Meta.first(UUID(int=7), source="gateway", occurred_at=AT, actor="A"),
    evidence=Evidence(address="10.0.0.1"),
)


def test_a_dead_letter_is_the_record_as_it_was_and_where_it_was() -> None:
    letter = dead_letter("auth", Record(position=POSITION, timestamp=AT, event=REQUEST), "why", raw=RAW)
    assert letter == DeadLettered(
        meta=Meta(
            event_id=event_id("auth", POSITION),
            cause_id=UUID(int=7),
            correlation_id=UUID(int=7),
            actor="A",
            source="auth",
            occurred_at=AT,
        ),
        processor="auth",
        topic="requests",
        partition=3,
        offset=17,
        key=b"k",
        value=b"v",
        headers=(RecordHeader(key="h", value=b"1"), RecordHeader(key="h", value=None)),
        error="why",
    )


def test_what_does_not_decode_has_no_cause() -> None:
    record = Record(position=POSITION, timestamp=AT, event=Undecodable(error="?", key=None, value=None))
    meta = dead_letter("auth", record, "?", raw=Raw(key=None, value=None)).meta
    assert meta == Meta.first(event_id("auth", POSITION), source="auth", occurred_at=AT)


def test_the_same_failure_has_the_same_id() -> None:
    assert event_id("auth", POSITION) == event_id("auth", Position(Partition("requests", 3), 17))
    others = {
        event_id("auth", POSITION),
        event_id("billing", POSITION),
        event_id("auth", Position(Partition("requests", 3), 18)),
        event_id("auth", Position(Partition("requests", 4), 17)),
        event_id("auth", Position(Partition("images", 3), 17)),
    }
    assert len(others) == 5


def test_a_long_error_is_cut() -> None:
    record = Record(position=POSITION, timestamp=AT, event=REQUEST)
    error = dead_letter("auth", record, "x" * 10_000, raw=RAW).error
    assert len(error) == MAX_ERROR
    assert error.endswith("x...")


def test_contents_that_are_too_long_stay_where_they_are() -> None:
    record = Record(position=POSITION, timestamp=AT, event=REQUEST)
    letter = without_contents(dead_letter("auth", record, "why", raw=Raw(key=b"k", value=b"v" * 5)))
    assert (letter.key, letter.value, letter.headers) == (None, None, ())
    assert letter.error == "why (Its 5 bytes are too many for a dead letter: read it at its origin.)"
    assert (letter.topic, letter.partition, letter.offset) == ("requests", 3, 17)
