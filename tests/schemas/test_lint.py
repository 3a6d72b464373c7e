"""The `.avsc` files keep the rules of `lint.py`, and the lint finds every breach of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.schemas.lint import faults

from medbus.schemas import avro
from medbus.schemas.topics import TOPIC_OF

FILES = sorted(avro.FOLDER.iterdir())


def content(path: Path) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_keeps_the_rules(path: Path) -> None:
    assert faults(path.name, content(path), event=path.stem in avro.EVENT_NAMED) == []


def test_every_event_has_a_schema_in_the_namespace_of_its_topic() -> None:
    have = {path.stem for path in FILES}
    assert {f"medbus.{t.name.replace('-', '_')}.{e.__name__}" for e, t in TOPIC_OF.items()} <= have


def test_no_schema_is_unused() -> None:
    used = set(avro.EVENT_NAMED)
    for name in avro.EVENT_NAMED:
        used |= names_in(avro.schema(name))
    assert {path.stem for path in FILES} == used


def test_a_record_with_meta_is_an_event_of_the_topics_table() -> None:
    with_meta = {
        path.stem for path in FILES if content(path).get("fields", [{}])[0].get("type") == "medbus.Meta"
    }
    assert with_meta == set(avro.EVENT_NAMED)


def names_in(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(names_in, node))
    if isinstance(node, dict):
        own = {node["name"]} if node.get("type") in ("record", "enum") else set()
        return own.union(*(names_in(each) for each in node.values() if isinstance(each, (dict, list))))
    return set()


def record(**changes: Any) -> dict[str, Any]:
    schema = {
        "type": "record",
        "name": "Thing",
        "namespace": "medbus.things",
        "doc": "A thing.",
        "fields": [
            {"name": "meta", "type": "medbus.Meta", "doc": "Who."},
            {"name": "size", "type": "long", "doc": "How long."},
        ],
    }
    return {**schema, **changes}


def with_field(kind: Any, **changes: Any) -> dict[str, Any]:
    field = {"name": "extra", "type": kind, "doc": "More.", **changes}
    return record(fields=[*record()["fields"], {k: v for k, v in field.items() if v is not ...}])


def enum(**changes: Any) -> dict[str, Any]:
    schema = {
        "type": "enum",
        "name": "Thing",
        "namespace": "medbus.things",
        "doc": "Which.",
        "symbols": ["UNSPECIFIED", "A_B"],
        "default": "UNSPECIFIED",
    }
    return {k: v for k, v in {**schema, **changes}.items() if v is not ...}


GOOD = [
    record(),
    enum(),
    with_field(["null", "string"], default=None),
    with_field(["null", "bytes"], default=None),
    with_field({"type": "array", "items": "string"}),
    with_field("string", default=""),
    with_field({"type": "string", "logicalType": "uuid"}),
]

BAD = {
    "the file is named medbus.things.Thing.avsc": record(namespace="medbus.other"),
    "thing is no name for a type": record(name="thing"),
    "org.things is no namespace of a topic": record(namespace="org.things"),
    "it has no doc that ends in a full stop": record(doc=""),
    "its first field is not meta of the type medbus.Meta": record(fields=record()["fields"][1:]),
    "extra: it has no doc that ends in a full stop": with_field("string", doc=...),
    "Extra: no name for a field": with_field("string", name="Extra"),
    "extra: ['order'] is of no use here": with_field("string", order="ignore"),
    "extra: a bytes must have no default": with_field("bytes", default=""),
    "extra: a array must have no default": with_field({"type": "array", "items": "string"}, default=[]),
    "extra: a map must have no default": with_field({"type": "map", "values": "string"}, default={}),
    "extra: a record must have no default": with_field("medbus.Blob", default={}),
    "extra: a union is of null and one other type, in this order": with_field(["string", "null"]),
    "extra: {'type': 'record'} is not used here: named types have files of their own": with_field(
        {"type": "record"}
    ),
    "extra: float is not used here": with_field("float"),
    "extra: decimal on bytes is not used here": with_field({"type": "bytes", "logicalType": "decimal"}),
    "extra: timestamp-millis on long is not used here": with_field(
        {"type": "long", "logicalType": "timestamp-millis"}
    ),
    "its first symbol and its default must be UNSPECIFIED": enum(default=...),
    "b is no name for a symbol": enum(symbols=["UNSPECIFIED", "b"]),
    "it is neither a record nor an enum": record(type="fixed"),
}


@pytest.mark.parametrize("schema", GOOD)
def test_good_schemas_have_no_fault(schema: dict[str, Any]) -> None:
    assert faults("medbus.things.Thing.avsc", schema, event=schema["type"] == "record") == []


@pytest.mark.parametrize(("fault", "schema"), BAD.items())
def test_bad_schemas_have_their_fault(fault: str, schema: dict[str, Any]) -> None:
    assert fault in faults("medbus.things.Thing.avsc", schema, event=True)


@pytest.mark.parametrize(
    "union",
    [["null", "medbus.Blob", "medbus.Scope"], ["medbus.Blob", "medbus.Scope"], ["null", "int", "long"]],
)
def test_union_of_several_types_is_a_fault(union: list[str]) -> None:
    """A writer that matches dicts picks the wrong branch, and drops what it does not know."""
    assert "extra: a union is of null and one other type, in this order" in faults(
        "medbus.things.Thing.avsc", with_field(union), event=True
    )
