"""The event classes are the Avro schemas in Python: fields, their order, types, nullability and symbols."""

from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pytest

from medbus.schemas import avro
from medbus.schemas.events import Apparatus, Blob, Event, ImageRegistered, Int, Long, Role, Value
from medbus.schemas.topics import TOPIC_OF

EVENTS = sorted(TOPIC_OF, key=lambda event: event.__name__)


def differences(  # noqa: PLR0911  one return for each type
    kind: Any, schema: Any, where: str, named: dict[str, Any]
) -> list[str]:
    """Where a Python type and an Avro schema say different things; empty if they say the same."""
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    match schema:
        case {"type": "record", "name": name, "fields": fields}:
            named[name] = schema
            return record_differences(kind, name, fields, where, named)
        case {"type": "enum", "name": name, "symbols": symbols}:
            named[name] = schema
            if not (isinstance(kind, type) and issubclass(kind, Enum)):
                return [f"{where}: {kind} is no enum, the schema has {name}"]
            if [member.value for member in kind] != symbols or [member.name for member in kind] != symbols:
                return [f"{where}: the symbols are {[member.value for member in kind]}, not {symbols}"]
            return [] if kind.__name__ == name.rpartition(".")[2] else [f"{where}: {kind} is not {name}"]
        case {"type": "array", "items": items}:
            if get_origin(kind) is not tuple or get_args(kind)[1:] != (...,):
                return [f"{where}: {kind} is no tuple of any length"]
            return differences(get_args(kind)[0], items, f"{where}[]", named)
        case {"type": "map", "values": each}:
            if get_origin(kind) is not dict or get_args(kind)[0] is not str:
                return [f"{where}: {kind} is no map"]
            return differences(get_args(kind)[1], each, f"{where}{{}}", named)
        case ["null", one]:
            if get_origin(kind) not in (Union, UnionType) or get_args(kind)[1:] != (NoneType,):
                return [f"{where}: {kind} can't be null, the schema can"]
            return differences(get_args(kind)[0], one, where, named)
    return [] if plain(schema) == kind else [f"{where}: {kind} is not {schema}"]


def record_differences(kind: Any, name: str, fields: Any, where: str, named: dict[str, Any]) -> list[str]:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return [f"{where}: {kind} is no record, the schema has {name}"]
    if kind.__name__ != name.rpartition(".")[2]:
        return [f"{where}: the class {kind.__name__} stands for the schema {name}"]
    hints = get_type_hints(kind, include_extras=True)
    have, want = list(kind.__struct_fields__), [field["name"] for field in fields]
    if have != want:
        return [f"{where}: the fields are {have}, not {want}"]
    return [
        each
        for field in fields
        for each in differences(hints[field["name"]], field["type"], f"{where}.{field['name']}", named)
    ]


def plain(schema: Any) -> Any:
    match schema:
        case {"type": "string", "logicalType": "uuid"}:
            return UUID
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return Annotated[datetime, msgspec.Meta(tz=True)]
    return {"string": str, "bytes": bytes, "int": Int, "long": Long, "boolean": bool}.get(schema)


def defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    assert required >= 0
    return {
        field.name: field.default
        for field in msgspec.structs.fields(kind)
        if field.default is not msgspec.NODEFAULT
    }


def records(kind: Any) -> set[type[msgspec.Struct]]:
    """The record classes that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {kind}.union(*(records(hint) for hint in get_type_hints(kind).values()))
    return set().union(*(records(each) for each in get_args(kind))) if get_args(kind) else set()


ALL_RECORDS = sorted(set().union(*map(records, EVENTS)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("event", EVENTS)
def test_class_says_what_its_schema_says(event: type[Event]) -> None:
    assert differences(event, avro.schema(avro.full_name(event)), event.__name__, {}) == []


@pytest.mark.parametrize("event", EVENTS)
def test_meta_comes_first(event: type[Event]) -> None:
    assert event.__struct_fields__[0] == "meta"


@pytest.mark.parametrize("kind", ALL_RECORDS)
def test_defaults_of_classes_are_nothing(kind: type[msgspec.Struct]) -> None:
    """A default only saves writing: it stands for absence, never for a value that somebody decided on."""
    for name, default in defaults(kind).items():
        assert default in (None, "", ()) or default == type(default)(), f"{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", ALL_RECORDS)
def test_records_cannot_be_changed(kind: type[msgspec.Struct]) -> None:
    assert issubclass(kind, Value)
    assert kind.__struct_config__.frozen
    assert {field.name for field in msgspec.structs.fields(kind)} == set(kind.__struct_fields__)


class Swapped(Value):
    size: Long
    digest: str
    transfer_syntax_uid: str


class Device(Value):
    apparatus_id: str
    ae_title: str
    modality: str
    host: str
    port: Long | None


class Capability(Enum):
    UNSPECIFIED = "UNSPECIFIED"


BLOB = {
    "type": "record",
    "name": "medbus.Blob",
    "fields": [
        {"name": "digest", "type": "string"},
        {"name": "size", "type": "long"},
        {"name": "transfer_syntax_uid", "type": "string"},
    ],
}


def test_a_difference_is_found() -> None:
    Swapped.__name__ = "Blob"
    Device.__name__ = "Apparatus"
    apparatus = avro.schema("medbus.subscribers.Apparatus")
    role = avro.schema("medbus.subscribers.Role")
    assert differences(Blob, BLOB, "b", {}) == []
    assert differences(Swapped, BLOB, "b", {}) == [
        "b: the fields are ['size', 'digest', 'transfer_syntax_uid'], "
        "not ['digest', 'size', 'transfer_syntax_uid']"
    ]
    assert differences(Apparatus, apparatus, "a", {}) == []
    assert [each.partition(":")[0] for each in differences(Device, apparatus, "a", {})] == [
        "a.host",
        "a.port",
    ]
    assert differences(Role, role, "r", {}) == []
    assert len(differences(Capability, role, "r", {})) == 1
    assert differences(str, "bytes", "s", {}) == ["s: <class 'str'> is not bytes"]
    assert differences(str, ["null", "string"], "s", {}) == ["s: <class 'str'> can't be null, the schema can"]
    assert len(differences(list[str], {"type": "array", "items": "string"}, "l", {})) == 1
    assert len(differences(dict[str, bytes], {"type": "map", "values": "string"}, "m", {})) == 1
    assert len(differences(ImageRegistered, BLOB, "i", {})) == 1
