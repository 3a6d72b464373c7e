"""Events to bytes and back: what goes in comes out, what does not fit is refused, nothing else is raised."""

import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests import strategies
from tests.schemas import golden_bytes

from medbus.schemas import avro, codec
from medbus.schemas.codec import FINGERPRINT, Codec
from medbus.schemas.errors import InvalidEvent, SchemaError, UndecodableRecord, UnknownSchema
from medbus.schemas.events import (
    DeadLettered,
    Event,
    Evidence,
    ImageRegistered,
    Meta,
    RejectionReason,
    RequestAuthorized,
    RequestRejected,
    Scope,
    SubscriberActivated,
    SubscriberContracted,
    VerificationRequested,
)
from medbus.schemas.registry import Registry, Version
from medbus.schemas.topics import MAX_DEAD_LETTER_BYTES, MAX_EVENT_BYTES, TOPIC_OF

FRAME = struct.Struct(">bI")
REGISTRY = Registry.of_this_program()
CODEC = Codec(REGISTRY)
NOW = datetime(2024, 5, 17, 12, 30, 15, 123456, UTC)


def rejected(**changes: Any) -> RequestRejected:
    event = RequestRejected(
        meta=Meta.first(UUID(int=1), source="auth", occurred_at=NOW),
        request_id=UUID(int=2),
        subscriber="A-hospital",
        reason=RejectionReason.WRONG_ROLE,
        detail="A-hospital may not register images.",
    )
    return msgspec.structs.replace(event, **changes)


def dead_letter(**changes: Any) -> DeadLettered:
    event = DeadLettered(
        meta=Meta.first(UUID(int=1), source="auth", occurred_at=NOW),
        processor="auth",
        topic="requests",
        partition=0,
        offset=0,
        error="why",
    )
    return msgspec.structs.replace(event, **changes)


# Round trip


@given(strategies.events())
def test_what_is_encoded_is_decoded(event: Event) -> None:
    encoded = CODEC.encode(event)
    assert CODEC.decode(encoded.value, encoded.headers) == event


@given(strategies.events())
def test_times_come_back_in_utc_to_the_microsecond(event: Event) -> None:
    decoded = CODEC.decode(CODEC.encode(event).value)
    assert decoded.meta.occurred_at.tzinfo is UTC
    assert decoded.meta.occurred_at - event.meta.occurred_at == timedelta(0)


def test_a_record_is_framed_as_confluent_does_and_says_its_fingerprint() -> None:
    event = rejected()
    encoded = CODEC.encode(event)
    name = "medbus.decisions.RequestRejected"
    assert FRAME.unpack_from(encoded.value) == (0, REGISTRY.id_of(name))
    assert encoded.key == str(event.meta.correlation_id).encode()
    assert encoded.headers == ((FINGERPRINT, avro.fingerprint(avro.text(name))),)


@given(strategies.events())
def test_the_key_is_the_topics(event: Event) -> None:
    assert CODEC.encode(event).key == TOPIC_OF[type(event)].key(event).encode()


# What is refused

WRONG: dict[str, tuple[Callable[[], Event], str]] = {
    "text for a number": (lambda: dead_letter(partition="3"), "partition"),
    "fraction for a number": (lambda: dead_letter(partition=1.0), "partition"),
    "not a number": (lambda: dead_letter(offset=float("nan")), "offset"),
    "truth for a number": (lambda: dead_letter(partition=True), "partition"),
    "number for a text": (lambda: rejected(detail=404), "detail"),
    "nothing for a text": (lambda: rejected(detail=None), "detail"),
    "bytes for a text": (lambda: rejected(detail=b"why"), "detail"),
    "text for bytes": (lambda: dead_letter(value="QUJD"), "value"),
    "text for a uuid": (lambda: rejected(request_id=str(UUID(int=2))), "request_id"),
    "no uuid": (lambda: rejected(request_id="2"), "request_id"),
    "text for a time": (lambda: grant(expires_at="2024-05-17T12:30:15Z"), "expires_at"),
    "naive time": (lambda: grant(expires_at=NOW.replace(tzinfo=None)), "timezone"),
    "naive time in the head": (lambda: rejected(meta=head(occurred_at=datetime(2024, 5, 17))), "timezone"),  # noqa: DTZ001
    "symbol that is none": (lambda: rejected(reason="LATE"), "reason"),
    "text for a list": (lambda: grant(scope=Scope(patients="abc")), "patients"),  # type: ignore[arg-type]
    "misspelt field": (lambda: grant(scope={**scope(), "patient": []}), "patient"),
    "missing field": (lambda: grant(scope={"patients": [], "registrants": []}), "modalities"),
    "number of 33 bits": (lambda: dead_letter(partition=2**31), "partition"),
    "negative number of 33 bits": (lambda: dead_letter(partition=-(2**31) - 1), "partition"),
    "number of 65 bits": (lambda: dead_letter(offset=2**63), "offset"),
    "half a character": (lambda: rejected(detail="\ud83d"), "surrogates"),
    "other record": (lambda: rejected(meta=Evidence(address="10.0.0.1")), "meta"),
    "time after the end of the calendar": (
        lambda: grant(expires_at=datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))),
        "range",
    ),
    "time before the calendar in the head": (
        lambda: rejected(meta=head(occurred_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=5))))),
        "range",
    ),
}


def grant(**changes: Any) -> RequestAuthorized:
    return msgspec.structs.replace(golden_bytes.full(RequestAuthorized), **changes)


def head(**changes: Any) -> Meta:
    return msgspec.structs.replace(rejected().meta, **changes)


def scope() -> dict[str, Any]:
    return {"patients": [], "registrants": [], "modalities": []}


@pytest.mark.parametrize(("make", "named"), WRONG.values(), ids=WRONG)
def test_an_event_that_does_not_fit_its_schema_is_refused(make: Callable[[], Event], named: str) -> None:
    with pytest.raises(InvalidEvent, match=named):
        CODEC.encode(make())


@pytest.mark.parametrize("number", [2**31 - 1, -(2**31)])
def test_the_longest_numbers_are_taken(number: int) -> None:
    event = dead_letter(partition=number, offset=number * 2**32)
    assert CODEC.decode(CODEC.encode(event).value) == event


def test_a_misspelt_field_can_not_even_be_made() -> None:
    with pytest.raises(TypeError, match="patient"):
        Scope(patient=("P1",))  # type: ignore[call-arg]


def of_length(event: Event, field: str, length: int) -> Event:
    """The event with a text just so long that its encoding has this length."""
    long = msgspec.structs.replace(event, **{field: "x" * length})
    excess = len(CODEC_WITHOUT_LIMIT.encode(long).value) - length
    return msgspec.structs.replace(event, **{field: "x" * (length - excess)})


class WithoutLimit(Codec):
    def encode(self, event: Event) -> codec.Encoded:
        try:
            return super().encode(event)
        except InvalidEvent as error:
            length = int(error.message.split(" is ")[1].split()[0])
            return codec.Encoded(key=b"", value=bytes(length), headers=())


CODEC_WITHOUT_LIMIT = WithoutLimit(REGISTRY)


@pytest.mark.parametrize(
    ("event", "field", "limit"),
    [(rejected(), "detail", MAX_EVENT_BYTES), (dead_letter(), "error", MAX_DEAD_LETTER_BYTES)],
    ids=["event", "dead letter"],
)
def test_an_event_may_be_so_long_and_no_longer(event: Event, field: str, limit: int) -> None:
    longest = of_length(event, field, limit)
    assert len(CODEC.encode(longest).value) == limit
    with pytest.raises(InvalidEvent, match=f"{limit + 1} bytes long; {limit} are allowed") as raised:
        CODEC.encode(msgspec.structs.replace(longest, **{field: getattr(longest, field) + "x"}))
    assert raised.value.advice == "Put what is large into a blob and refer to it."


def test_the_limits_are_those_of_the_design() -> None:
    assert MAX_EVENT_BYTES == 256 * 1024
    assert MAX_DEAD_LETTER_BYTES < 1024 * 1024


class Unlisted(Event):
    """An event of no topic."""


def test_an_event_of_no_topic_is_refused() -> None:
    with pytest.raises(SchemaError, match="Unlisted belongs to no topic"):
        CODEC.encode(Unlisted(meta=rejected().meta))


def test_an_event_whose_schema_is_not_registered_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"RequestRejected .* is not registered"):
        Codec(Registry()).encode(rejected())


# Other bytes


def bodies() -> Iterator[bytes]:
    for event in TOPIC_OF:
        yield CODEC.encode(golden_bytes.full(event)).value


WRITTEN = list(bodies())
IDS = [REGISTRY.id_of(name) for name in avro.EVENT_NAMED]


def decoded_or_refused(value: bytes | None) -> Event | None:
    try:
        return CODEC.decode(value)
    except UndecodableRecord:
        return None


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0")
@example(b"\0\0\0\0")
def test_any_bytes_are_an_event_or_refused(value: bytes) -> None:
    decoded_or_refused(value)


@given(st.sampled_from(IDS), st.binary(max_size=300))
def test_any_bytes_behind_a_frame_are_an_event_or_refused(schema_id: int, body: bytes) -> None:
    decoded_or_refused(FRAME.pack(0, schema_id) + body)


@given(st.sampled_from(WRITTEN), st.randoms(use_true_random=False), st.integers(1, 8))
def test_damaged_events_are_events_or_refused(value: bytes, chance: random.Random, times: int) -> None:
    damaged = bytearray(value)
    for _ in range(times):
        at = chance.randrange(FRAME.size, len(damaged))
        damaged[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(12))
    decoded_or_refused(bytes(damaged))


@pytest.mark.parametrize("value", WRITTEN, ids=[event.__name__ for event in TOPIC_OF])
def test_an_event_cut_short_is_refused(value: bytes) -> None:
    assert decoded_or_refused(value) is not None
    for length in range(len(value)):
        assert decoded_or_refused(value[:length]) is None


HUGE = b"\xff" * 9 + b"\x01"
"""The variable-length number that stands for -2**63: a length, or a count of items, to fall over."""
LARGE = b"\xfe" + b"\xff" * 8 + b"\x01"
"""The same for 2**63 - 1."""


@pytest.mark.parametrize("length", [HUGE, LARGE, b"\x01", b"\x80\x80\x80\x80\x20"])
@pytest.mark.parametrize("event", [ImageRegistered, SubscriberContracted, DeadLettered])
def test_impossible_lengths_are_refused_at_once(event: type[Event], length: bytes) -> None:
    value = CODEC.encode(golden_bytes.full(event)).value
    for at in range(FRAME.size, len(value), 7):
        decoded_or_refused(value[:at] + length + value[at + 1 :])
        decoded_or_refused(value[:at] + length)


def test_bytes_that_are_left_over_are_refused() -> None:
    value = CODEC.encode(rejected()).value
    with pytest.raises(UndecodableRecord, match="181 bytes long, the record 184"):
        CODEC.decode(value + b"abc")


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\0", b"\1\0\0\0\1", b'{"a": 1}'])
def test_what_is_not_framed_is_refused(value: bytes | None) -> None:
    with pytest.raises(UndecodableRecord, match="no Confluent framing"):
        CODEC.decode(value)


# The registry's say


def test_an_id_that_is_not_registered_is_told_apart() -> None:
    value = CODEC.encode(rejected()).value
    with pytest.raises(UnknownSchema, match="No schema has the id 4711"):
        CODEC.decode(FRAME.pack(0, 4711) + value[FRAME.size :])


def test_an_id_that_was_given_to_another_schema_is_detected() -> None:
    """Two schemas that read each other's bytes: without the fingerprint, a cancellation is an activation."""
    activated = golden_bytes.full(SubscriberActivated)
    encoded = CODEC.encode(activated)
    schema_id = REGISTRY.id_of("medbus.subscribers.SubscriberActivated")
    mixed_up = Registry()
    name = "medbus.subscribers.ContractCancelled"
    mixed_up.apply(*Version(subject=name, version=1, id=schema_id, text=avro.text(name)).record())
    assert type(Codec(mixed_up).decode(encoded.value)).__name__ == "ContractCancelled"
    with pytest.raises(UndecodableRecord, match=f"Schema id {schema_id} is not the schema that wrote"):
        Codec(mixed_up).decode(encoded.value, encoded.headers)


@pytest.mark.parametrize("content", [None, b"", b"\0" * 8])
def test_a_wrong_fingerprint_is_refused(content: bytes | None) -> None:
    encoded = CODEC.encode(rejected())
    with pytest.raises(UndecodableRecord, match="fingerprint"):
        CODEC.decode(encoded.value, [(FINGERPRINT, content)])


def test_a_record_without_fingerprint_is_read() -> None:
    """Producers in other languages may leave it out, and headers of others do not matter."""
    encoded = CODEC.encode(rejected())
    assert CODEC.decode(encoded.value) == rejected()
    assert CODEC.decode(encoded.value, [("traceparent", b"00-ab-cd-01"), ("empty", None)]) == rejected()


FOREIGN = {
    "another program's record": '{"type":"record","name":"org.others.Order","fields":[]}',
    "a primitive": '"string"',
    "a union": '["null","string"]',
    "protocol buffers": 'syntax = "proto3"; message Order { string id = 1; }',
    "JSON schema": '{"$schema":"https://json-schema.org/draft-07/schema","type":"object"}',
    "a reference to another subject": (
        '{"type":"record","name":"org.others.Order","fields":[{"name":"i","type":"org.others.Item"}]}'
    ),
    "a record without a name": '{"type":"record","fields":[]}',
    "nothing": "",
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_schemas_of_others_are_refused(text: str) -> None:
    registry = Registry.of_this_program()
    registry.apply(*Version(subject="others-value", version=1, id=900, text=text).record())
    with pytest.raises(UndecodableRecord):
        Codec(registry).decode(FRAME.pack(0, 900) + b"\0\0\0\0")


# Speed: parsing a schema is a thousand times slower than using it


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the schemas that are parsed during the test."""
    parsed: list[str] = []
    parse = avro.parse

    def counted(schema_text: str) -> dict[str, Any]:
        schema = parse(schema_text)
        parsed.append(schema["name"])
        return schema

    monkeypatch.setattr(avro, "parse", counted)
    return parsed


def test_a_schema_is_parsed_once_for_writing_and_once_for_reading(parses: list[str]) -> None:
    fresh = Codec(REGISTRY)
    verification = VerificationRequested(
        meta=Meta.first(uuid4(), source="gateway", occurred_at=NOW), evidence=Evidence(address="::1")
    )
    for _ in range(50):
        for event in (rejected(), verification):
            encoded = fresh.encode(event)
            assert fresh.decode(encoded.value, encoded.headers) == event
    assert sorted(parses) == sorted(
        2 * ["medbus.decisions.RequestRejected"] + 2 * ["medbus.requests.VerificationRequested"]
    )


def test_another_version_is_parsed_once_with_todays_beside_it(parses: list[str]) -> None:
    name = "medbus.decisions.RequestRejected"
    newer = msgspec.json.decode(avro.text(name))
    newer["fields"].append({"name": "extra", "type": ["null", "string"], "default": None})
    registry = Registry()
    text = msgspec.json.encode(newer).decode()
    registry.apply(*Version(subject=name, version=2, id=5, text=text).record())
    fresh = Codec(registry)
    body = golden_bytes.sample(rejected()).body + b"\0"
    parses.clear()
    for _ in range(50):
        assert fresh.decode(FRAME.pack(0, 5) + body) == rejected()
    assert parses == [name, name]
