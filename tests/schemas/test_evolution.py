"""Every version of every event that was ever released is read by today's program, and the other way round."""

import copy
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from fastavro import schemaless_reader, schemaless_writer
from tests.schemas import golden_bytes
from tests.schemas.compatibility import breaks, shape
from tests.schemas.golden_bytes import FRAME, Golden

from medbus.schemas import avro
from medbus.schemas.codec import FINGERPRINT, Codec
from medbus.schemas.events import RejectionReason, RequestRejected, SubscriberActivated
from medbus.schemas.registry import Registry, Version

ALL = golden_bytes.load()
MAKE = {"full": golden_bytes.full, "minimal": golden_bytes.minimal}
SAMPLES = [(version, kind) for version in ALL for kind in MAKE]


def ident(value: object) -> str:
    return f"{value.name}.{value.number}" if isinstance(value, Golden) else str(value)


def framed(schema_id: int, body: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + body


def today_reads(name: str, schema_text: str, body: bytes) -> Any:
    """What today's codec makes of bytes that another version of a schema wrote."""
    registry = Registry()
    registry.apply(*Version(subject=name, version=1, id=77, text=schema_text).record())
    return Codec(registry).decode(framed(77, body), [(FINGERPRINT, avro.fingerprint(schema_text))])


def other_reads(schema: dict[str, Any], name: str, body: bytes) -> dict[str, Any]:
    """What a reader with another version of the schema makes of bytes written today."""
    return read_with(schema, schema_of(name), body)


def read_with(reader: dict[str, Any], writer: dict[str, Any], body: bytes) -> dict[str, Any]:
    found = schemaless_reader(BytesIO(body), avro.parse(json.dumps(writer)), avro.parse(json.dumps(reader)))
    return cast(dict[str, Any], found)


def common(expected: Any, found: Any) -> Any:
    """`found` without the fields that `expected` does not have."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return {key: common(expected[key], value) for key, value in found.items() if key in expected}
    if isinstance(expected, list) and isinstance(found, list):
        return [common(e, f) for e, f in zip(expected, found, strict=True)]
    return found


def test_every_event_has_golden_bytes_of_its_present_schema() -> None:
    latest = {version.name: version for version in ALL}
    missing = [
        name
        for name in avro.EVENT_NAMED
        if name not in latest or shape(latest[name].schema) != shape(avro.schema(name))
    ]
    assert missing == [], "schemas are new or changed: run `python -m tests.schemas.golden_bytes`"


def test_versions_are_numbered_from_one_without_gaps() -> None:
    for name in avro.EVENT_NAMED:
        numbers = [version.number for version in ALL if version.name == name]
        assert numbers == list(range(1, len(numbers) + 1)), name


@pytest.mark.parametrize("version", ALL, ids=ident)
def test_present_schema_is_compatible_with_every_version(version: Golden) -> None:
    assert version.name in avro.EVENT_NAMED, "an event that was released can't be taken away"
    assert breaks(version.schema, avro.schema(version.name)) == []


@pytest.mark.parametrize(("version", "kind"), SAMPLES, ids=ident)
def test_today_reads_what_every_version_wrote(version: Golden, kind: str) -> None:
    sample = version.samples[kind]
    found = golden_bytes.as_json(today_reads(version.name, version.text, sample.body))
    assert common(sample.fields, found) == common(found, sample.fields)
    assert found["meta"] == sample.fields["meta"]


@pytest.mark.parametrize(("version", "kind"), SAMPLES, ids=ident)
def test_every_version_reads_what_today_writes(version: Golden, kind: str) -> None:
    event = MAKE[kind](avro.EVENT_NAMED[version.name])
    today = golden_bytes.sample(event)
    found = golden_bytes.as_json(other_reads(version.schema, version.name, today.body))
    assert common(today.fields, found) == common(found, today.fields)
    assert found["meta"] == today.fields["meta"]


@pytest.mark.parametrize(("version", "kind"), SAMPLES, ids=ident)
def test_the_latest_version_writes_the_same_bytes(version: Golden, kind: str) -> None:
    if shape(version.schema) == shape(avro.schema(version.name)):
        event = MAKE[kind](avro.EVENT_NAMED[version.name])
        assert golden_bytes.sample(event) == version.samples[kind]


def test_adding_writes_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    first = golden_bytes.add(tmp_path)
    assert {path.name for path in first} == {f"{name}.1.json" for name in avro.EVENT_NAMED}
    before = {path.name: path.read_bytes() for path in first}
    assert golden_bytes.add(tmp_path) == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_adding_a_changed_schema_makes_the_next_version_and_keeps_the_old(tmp_path: Path) -> None:
    golden_bytes.add(tmp_path)
    path = tmp_path / "medbus.images.ImageErased.1.json"
    older = json.loads(path.read_text(encoding="utf-8"))
    older["schema"]["fields"].pop()
    path.write_text(json.dumps(older), encoding="utf-8")
    before = path.read_bytes()
    assert [each.name for each in golden_bytes.add(tmp_path)] == ["medbus.images.ImageErased.2.json"]
    assert path.read_bytes() == before


# What must be found. Each change is made to a real schema; the second half says whether Avro's own
# resolution fails too: reading older events with the new schema, and newer events with the old one.

REJECTED = "medbus.decisions.RequestRejected"


def schema_of(name: str) -> dict[str, Any]:
    return copy.deepcopy(dict(avro.schema(name)))


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in schema["fields"] if each["name"] == name)
    return found


def add_field(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "extra", "type": "string"})


def remove_field(schema: dict[str, Any]) -> None:
    schema["fields"].remove(field(schema, "detail"))


def rename_field(schema: dict[str, Any]) -> None:
    field(schema, "detail")["name"] = "explanation"


def change_type(schema: dict[str, Any]) -> None:
    field(schema, "detail")["type"] = "long"


def widen_union(schema: dict[str, Any]) -> None:
    field(schema, "subscriber")["type"] = ["null", "string", "long"]


def make_nullable(schema: dict[str, Any]) -> None:
    field(schema, "detail")["type"] = ["null", "string"]


def change_unit(schema: dict[str, Any]) -> None:
    field(field(schema, "meta")["type"], "occurred_at")["type"]["logicalType"] = "timestamp-millis"


def reorder_symbols(schema: dict[str, Any]) -> None:
    field(schema, "reason")["type"]["symbols"].reverse()


def insert_symbol(schema: dict[str, Any]) -> None:
    field(schema, "reason")["type"]["symbols"].insert(1, "TOO_LATE")


def rename_symbol(schema: dict[str, Any]) -> None:
    field(schema, "reason")["type"]["symbols"][-1] = "UNSURE"


def drop_enum_default(schema: dict[str, Any]) -> None:
    del field(schema, "reason")["type"]["default"]


def rename_record(schema: dict[str, Any]) -> None:
    schema["name"] = "medbus.decisions.RequestRefused"


def add_field_deep(schema: dict[str, Any]) -> None:
    field(schema, "meta")["type"]["fields"].append({"name": "extra", "type": "string"})


BROKEN: list[tuple[Callable[[dict[str, Any]], None], str, bool, bool]] = [
    (add_field, ".extra: the field was added without a default, so older events lack it", True, False),
    (
        add_field_deep,
        ".meta.extra: the field was added without a default, so older events lack it",
        True,
        False,
    ),
    (remove_field, ".detail: the field was removed, but older readers have no default for it", False, True),
    (rename_field, ".detail: the field was renamed to explanation", True, True),
    (change_type, ".detail: the type changed from string to long", True, True),
    (make_nullable, ".detail: the type changed from string to [null, string]", False, True),
    (widen_union, ".subscriber: the union changed from [null, string] to [null, string, long]", False, False),
    (
        change_unit,
        ".meta.occurred_at: the type changed from long (timestamp-micros) to long (timestamp-millis)",
        False,
        False,
    ),
    (reorder_symbols, ".reason: the symbols were reordered; new ones go to the end", False, False),
    (insert_symbol, ".reason: the symbols were reordered; new ones go to the end", False, False),
    (rename_symbol, ".reason: the symbols UNDECIDABLE were removed or renamed", False, False),
    (drop_enum_default, ".reason: the default changed from UNSPECIFIED to None", False, False),
]


def resolves(writer: dict[str, Any], reader: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Whether Avro can read with one schema what the other wrote."""
    body = BytesIO()
    schemaless_writer(body, avro.parse(json.dumps(writer)), fields)
    body.seek(0)
    try:
        schemaless_reader(body, avro.parse(json.dumps(writer)), avro.parse(json.dumps(reader)))
    except Exception:  # whatever fastavro raises then
        return False
    return True


def name_of(value: object) -> str:
    return getattr(value, "__name__", "")


@pytest.mark.parametrize(
    ("change", "message", "old_unreadable", "new_unreadable"),
    BROKEN,
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_a_breaking_change_is_found_and_named(
    change: Callable[[dict[str, Any]], None], message: str, old_unreadable: bool, new_unreadable: bool
) -> None:
    old, new = schema_of(REJECTED), schema_of(REJECTED)
    change(new)
    assert breaks(old, new) == [f"{REJECTED}{message}"]
    event = golden_bytes.full(RequestRejected)
    fields = msgspec.to_builtins(event, builtin_types=(type(event.meta.occurred_at),))
    assert resolves(old, new, fields) is not old_unreadable
    detail = {change_type.__name__: 3, make_nullable.__name__: None}.get(name_of(change), "why")
    fields |= {"extra": "more", "explanation": "why", "detail": detail}
    fields["meta"]["extra"] = "more"
    if change is rename_symbol:
        fields["reason"] = "UNSURE"
    assert resolves(new, old, fields) is not new_unreadable


def test_a_renamed_event_is_found() -> None:
    old, new = schema_of(REJECTED), schema_of(REJECTED)
    rename_record(new)
    assert breaks(old, new) == [f"{new['name']}: the record {old['name']} became {new['name']}"]


def test_the_present_schema_with_a_breaking_change_fails_against_its_golden_version() -> None:
    for version in ALL:
        changed = copy.deepcopy(dict(avro.schema(version.name)))
        add_field(changed)
        assert len(breaks(version.schema, changed)) == 1


def test_a_field_with_a_default_may_come_and_go() -> None:
    old, new = schema_of(REJECTED), schema_of(REJECTED)
    new["fields"].append({"name": "extra", "type": ["null", "string"], "default": None})
    assert breaks(old, new) == []
    assert breaks(new, old) == []


def test_a_symbol_may_be_added_at_the_end() -> None:
    old, new = schema_of(REJECTED), schema_of(REJECTED)
    field(new, "reason")["type"]["symbols"].append("TOO_LATE")
    assert breaks(old, new) == []


def written(schema: dict[str, Any], event: Any, **changes: Any) -> bytes:
    fields = msgspec.to_builtins(event, builtin_types=(type(event.meta.occurred_at),)) | changes
    body = BytesIO()
    schemaless_writer(body, avro.parse(json.dumps(schema)), fields, strict=True)
    return body.getvalue()


def test_today_reads_events_of_a_newer_program() -> None:
    """A field that is not known here is passed over; a symbol that is not known is UNSPECIFIED."""
    newer = schema_of(REJECTED)
    newer["fields"].insert(1, {"name": "extra", "type": {"type": "array", "items": "string"}})
    field(newer, "reason")["type"]["symbols"].append("TOO_LATE")
    event = golden_bytes.full(RequestRejected)
    body = written(newer, event, extra=["a", "b"], reason="TOO_LATE")
    read = today_reads(REJECTED, json.dumps(newer), body)
    assert read == msgspec.structs.replace(event, reason=RejectionReason.UNSPECIFIED)


def test_today_reads_events_of_an_older_program() -> None:
    """A field that an older program did not know has its default."""
    name = "medbus.subscribers.SubscriberActivated"
    event = golden_bytes.full(SubscriberActivated)
    newer = schema_of(name)
    newer["fields"].append({"name": "place", "type": ["null", "string"], "default": None})
    old_body = written(schema_of(name), event)
    found = read_with(newer, schema_of(name), old_body)
    assert found["place"] is None
    assert found["program"] == event.program


def test_golden_bodies_have_no_framing() -> None:
    registry = Registry.of_this_program()
    for version in ALL:
        event = golden_bytes.full(avro.EVENT_NAMED[version.name])
        encoded = Codec(registry).encode(event).value
        assert encoded == framed(registry.id_of(version.name), golden_bytes.sample(event).body)
        assert len(encoded) - len(golden_bytes.sample(event).body) == FRAME
