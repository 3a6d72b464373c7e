"""The registry's state is what a Confluent or Karapace registry would read from, and write to, its topic."""

import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st
from tests.schemas import golden_bytes

from medbus.schemas import avro
from medbus.schemas.codec import Codec
from medbus.schemas.errors import SchemaError
from medbus.schemas.registry import Registry, Version

ERASED = "medbus.images.ImageErased"
SUBJECTS = sorted(avro.EVENT_NAMED)


def record(subject: str, version: int, schema_id: int, text: str, **more: Any) -> tuple[bytes, bytes]:
    """A record as another registry writes it, with its own order of fields and blanks."""
    key = {"subject": subject, "version": version, "magic": 1, "keytype": "SCHEMA"}
    value = {"subject": subject, "version": version, "id": schema_id, "schema": text, "deleted": False}
    return json.dumps(key).encode(), json.dumps(value | more).encode()


def fill(registry: Registry) -> list[Version]:
    """Register what is missing."""
    missing = registry.missing()
    for version in missing:
        registry.apply(*version.record())
    return missing


def changed(subject: str) -> str:
    """The text of another version of a schema."""
    schema = json.loads(avro.text(subject))
    schema["fields"].append({"name": "extra", "type": ["null", "string"], "default": None, "doc": "More."})
    return json.dumps(schema)


def test_a_version_is_written_as_confluent_writes_it() -> None:
    version = Version(subject="medbus.x.Y", version=2, id=17, text='{"type":"record","doc":"é"}')
    assert version.record() == (
        b'{"keytype":"SCHEMA","subject":"medbus.x.Y","version":2,"magic":1}',
        '{"subject":"medbus.x.Y","version":2,"id":17,'
        '"schema":"{\\"type\\":\\"record\\",\\"doc\\":\\"é\\"}","deleted":false}'.encode(),
    )


def test_an_empty_registry_lacks_every_event_and_gives_ids_from_one() -> None:
    missing = Registry().missing()
    assert sorted(version.subject for version in missing) == SUBJECTS
    assert [version.id for version in missing] == list(range(1, len(SUBJECTS) + 1))
    assert {version.version for version in missing} == {1}


def test_what_was_registered_is_found_and_not_missing() -> None:
    registry = Registry()
    versions = fill(registry)
    assert registry.missing() == []
    assert registry.subjects() == SUBJECTS
    for version in versions:
        assert registry.id_of(version.subject) == version.id
        assert registry.text(version.id) == avro.text(version.subject)
        assert registry.versions(version.subject) == [version]
        assert registry.versions_of_id(version.id) == [version]


def test_ids_stay_when_the_topic_is_read_again() -> None:
    first = Registry()
    records = [version.record() for version in fill(first)]
    second = Registry()
    for each in [*records, *records]:
        second.apply(*each)
    assert second == first


def test_a_changed_schema_gets_the_next_version_and_a_new_id() -> None:
    registry = Registry()
    older = changed(ERASED)
    registry.apply(*record(ERASED, 1, 1, older))
    added = {version.subject: version for version in fill(registry)}
    assert added[ERASED].version == 2
    assert sorted(version.id for version in added.values()) == list(range(2, len(SUBJECTS) + 2))
    assert registry.id_of(ERASED) == added[ERASED].id
    assert registry.text(1) == older
    assert [version.version for version in registry.versions(ERASED)] == [1, 2]


def test_a_version_that_this_program_does_not_have_is_not_used_to_write() -> None:
    """A newer program registered its schema: this one goes on writing its own."""
    registry = Registry.of_this_program()
    before = registry.id_of(ERASED)
    registry.apply(*record(ERASED, 2, 500, changed(ERASED)))
    assert registry.id_of(ERASED) == before
    assert registry.missing() == []


def test_ids_of_other_programs_are_not_taken() -> None:
    registry = Registry()
    registry.apply(*record("orders-value", 1, 40, '{"type":"string"}'))
    assert min(version.id for version in fill(registry)) == 41
    assert "orders-value" in registry.subjects()


def test_the_same_schema_under_two_subjects_has_one_id() -> None:
    registry = Registry()
    registry.apply(*record("medbus.images-value", 1, 9, avro.text(ERASED)))
    added = {version.subject: version for version in fill(registry)}
    assert added[ERASED].id == 9
    assert [version.subject for version in registry.versions_of_id(9)] == ["medbus.images-value", ERASED]


# Deletion


def test_a_version_that_is_deleted_is_not_listed_but_its_events_are_read() -> None:
    registry = Registry.of_this_program()
    old = registry.versions(ERASED)[0]
    registry.apply(*record(ERASED, 1, old.id, old.text, deleted=True))
    assert registry.versions(ERASED) == []
    assert ERASED not in registry.subjects()
    assert registry.versions_of_id(old.id) == []
    assert registry.text(old.id) == old.text


def test_after_a_deletion_the_number_is_not_given_again_and_the_id_is() -> None:
    """The record of the deleted version must stay: after compaction, only it tells what its id means."""
    registry = Registry.of_this_program()
    old = registry.versions(ERASED)[0]
    registry.apply(*record(ERASED, 1, old.id, old.text, deleted=True))
    assert fill(registry) == [Version(subject=ERASED, version=2, id=old.id, text=old.text)]


def test_a_deletion_can_be_taken_back() -> None:
    registry = Registry.of_this_program()
    old = registry.versions(ERASED)[0]
    registry.apply(*record(ERASED, 1, old.id, old.text, deleted=True))
    registry.apply(*old.record())
    assert registry.versions(ERASED) == [old]


def test_a_whole_subject_can_be_deleted() -> None:
    registry = Registry.of_this_program()
    old = registry.versions(ERASED)[0]
    registry.apply(*record(ERASED, 2, 500, changed(ERASED)))
    registry.apply(*record(ERASED, 3, 501, changed(ERASED) + " "))
    key = json.dumps({"keytype": "DELETE_SUBJECT", "subject": ERASED, "magic": 0}).encode()
    registry.apply(key, json.dumps({"subject": ERASED, "version": 2}).encode())
    assert [version.version for version in registry.versions(ERASED)] == [3]
    assert registry.text(old.id) == old.text


def test_a_tombstone_takes_a_version_and_its_id_away() -> None:
    registry = Registry.of_this_program()
    old = registry.versions(ERASED)[0]
    registry.apply(old.record()[0], None)
    assert registry.versions(ERASED) == []
    with pytest.raises(SchemaError, match=f"No schema has the id {old.id}"):
        registry.text(old.id)
    assert [version.subject for version in registry.missing()] == [ERASED]


def test_a_tombstone_keeps_an_id_that_another_subject_has() -> None:
    registry = Registry.of_this_program()
    old = registry.versions(ERASED)[0]
    registry.apply(*record("medbus.images-value", 1, old.id, old.text))
    registry.apply(old.record()[0], None)
    assert registry.text(old.id) == old.text


def test_a_tombstone_for_what_is_not_there_changes_nothing() -> None:
    registry = Registry.of_this_program()
    registry.apply(*[*Version(subject="x", version=1, id=0, text="").record()[:1], None])
    assert registry == Registry.of_this_program()


# Two programs that register at the same time


def test_an_id_that_is_given_twice_stays_with_the_first_and_the_second_is_registered_again() -> None:
    registry = Registry()
    mine, theirs = avro.text(ERASED), '{"type":"string"}'
    registry.apply(*record("orders-value", 1, 1, theirs))
    registry.apply(*record(ERASED, 1, 1, mine))
    assert registry.text(1) == theirs
    with pytest.raises(SchemaError, match="not registered"):
        registry.id_of(ERASED)
    added = {version.subject: version for version in fill(registry)}
    # The same key, so that the wrong record is compacted away.
    assert added[ERASED].version == 1
    assert registry.text(added[ERASED].id) == mine


def test_a_version_that_was_overwritten_is_written_again_under_its_id() -> None:
    """Both took number 1 of the same subject: compaction would drop the first, and its events with it."""
    registry = Registry()
    newer = changed(ERASED)
    registry.apply(*record(ERASED, 1, 1, newer))
    registry.apply(*record(ERASED, 1, 2, avro.text(ERASED)))
    added = [version for version in registry.missing() if version.subject == ERASED]
    assert added == [Version(subject=ERASED, version=2, id=1, text=newer)]
    fill(registry)
    assert registry.missing() == []
    assert registry.id_of(ERASED) == 2


# What else may stand in the topic

OTHERS: list[tuple[bytes | None, bytes | None]] = [
    (b'{"keytype":"NOOP","magic":0}', None),
    (
        b'{"keytype":"CONFIG","subject":null,"magic":0}',
        b'{"subject":null,"compatibilityLevel":"FULL_TRANSITIVE"}',
    ),
    (b'{"keytype":"CONFIG","subject":"medbus.images.ImageErased","magic":0}', None),
    (b'{"keytype":"MODE","subject":null,"magic":0}', b'{"mode":"READONLY"}'),
    (b'{"keytype":"CLEAR_SUBJECT","subject":"medbus.images.ImageErased","magic":0}', b"{}"),
    (b'{"keytype":"SOMETHING_NEW","subject":"a","version":1,"magic":7}', b'{"id":1,"schema":"x"}'),
    (None, None),
    (None, b"{}"),
    (b"", b""),
    (b"\xff\xfe", b"{}"),
    (b"[1, 2]", b"3"),
    (b'"text"', None),
    (b'{"keytype":"SCHEMA"}', b'{"id":1}'),
    (b'{"keytype":"SCHEMA","subject":1,"version":"1","magic":1}', b'{"id":1,"schema":"x"}'),
    (b'{"keytype":"SCHEMA","subject":"medbus.images.ImageErased","version":1,"magic":1}', b"not json"),
    (b'{"keytype":"SCHEMA","subject":"medbus.images.ImageErased","version":1,"magic":1}', b'{"id":"1"}'),
]


@pytest.mark.parametrize(("key", "value"), OTHERS)
def test_records_of_other_kinds_change_nothing(key: bytes | None, value: bytes | None) -> None:
    registry = Registry.of_this_program()
    registry.apply(key, value)
    assert registry == Registry.of_this_program()


@given(st.none() | st.binary(max_size=50), st.none() | st.binary(max_size=50))
def test_any_bytes_change_nothing(key: bytes | None, value: bytes | None) -> None:
    registry = Registry()
    registry.apply(key, value)
    assert registry == Registry()


def test_schemas_in_other_languages_are_kept_as_they_are() -> None:
    registry = Registry()
    registry.apply(*record("orders-value", 1, 3, 'syntax = "proto3";', schemaType="PROTOBUF", references=[]))
    assert registry.text(3) == 'syntax = "proto3";'
    fill(registry)
    assert registry.missing() == []


# A stock consumer


def test_confluents_deserializer_reads_every_event_with_our_ids() -> None:
    registry = Registry.of_this_program()
    stock = SchemaRegistryClient.new_client({"url": "mock://medbus"})
    versions = [version for subject in registry.subjects() for version in registry.versions(subject)]
    for version in sorted(versions, key=lambda version: version.id):
        assert stock.register_schema(version.subject, Schema(version.text, "AVRO")) == version.id
    deserialize = AvroDeserializer(stock)
    for event in avro.EVENT_NAMED.values():
        full = golden_bytes.full(event)
        context = SerializationContext("any", MessageField.VALUE)
        found = deserialize(Codec(registry).encode(full).value, context)
        assert json.loads(json.dumps(found, default=str)).keys() == golden_bytes.as_json(full).keys()
        assert found["meta"]["event_id"] == full.meta.event_id
        assert found["meta"]["occurred_at"] == full.meta.occurred_at
