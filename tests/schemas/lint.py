"""Rules for the `.avsc` files, beyond what Avro itself asks."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
FIELD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
DEFAULT_SYMBOL = "UNSPECIFIED"
PRIMITIVES = {"null", "boolean", "int", "long", "string", "bytes"}
LOGICAL = {("string", "uuid"), ("long", "timestamp-micros")}
NO_DEFAULT = {"bytes", "fixed", "array", "map", "record"}
"""Their defaults come back as text, or as one object that all readers share."""


def faults(file_name: str, schema: Mapping[str, Any], *, event: bool = False) -> list[str]:
    """What is wrong with the schema in a file, in words; empty if nothing is.

    Args:
        file_name: the file's name without its folder.
        schema: its content.
        event: whether this is the schema of an event, and not of a record that events are made of.
    """
    full_name = f"{schema.get('namespace')}.{schema.get('name')}"
    found = [f"the file is named {file_name}"] if file_name != f"{full_name}.avsc" else []
    if not NAME.fullmatch(str(schema.get("name"))):
        found.append(f"{schema.get('name')} is no name for a type")
    if not re.fullmatch(r"medbus(\.[a-z_]+)?", str(schema.get("namespace"))):
        found.append(f"{schema.get('namespace')} is no namespace of a topic")
    if not sentence(schema.get("doc")):
        found.append("it has no doc that ends in a full stop")
    if schema.get("type") == "enum":
        return found + list(enum_faults(schema))
    if schema.get("type") != "record":
        return [*found, "it is neither a record nor an enum"]
    fields = schema["fields"]
    if event and [(f["name"], f["type"]) for f in fields[:1]] != [("meta", "medbus.Meta")]:
        found.append("its first field is not meta of the type medbus.Meta")
    for field in fields:
        found += [f"{field['name']}: {fault}" for fault in field_faults(field)]
    return found


def enum_faults(schema: Mapping[str, Any]) -> Iterator[str]:
    if schema["symbols"][0] != DEFAULT_SYMBOL or schema.get("default") != DEFAULT_SYMBOL:
        yield f"its first symbol and its default must be {DEFAULT_SYMBOL}"
    yield from (f"{s} is no name for a symbol" for s in schema["symbols"] if not SYMBOL.fullmatch(s))


def field_faults(field: Mapping[str, Any]) -> Iterator[str]:
    if not FIELD.fullmatch(field["name"]):
        yield "no name for a field"
    if not sentence(field.get("doc")):
        yield "it has no doc that ends in a full stop"
    if unknown := field.keys() - {"name", "type", "doc", "default"}:
        yield f"{sorted(unknown)} is of no use here"
    if "default" in field and no_default(field["type"]):
        yield f"a {kind_of(field['type'])} must have no default"
    yield from type_faults(field["type"])


def type_faults(node: Any) -> Iterator[str]:
    match node:
        case [*branches]:
            if len(branches) != 2 or branches[0] != "null":
                yield "a union is of null and one other type, in this order"
            for branch in branches:
                yield from type_faults(branch)
        case {"type": "array", "items": items, **rest} if not rest:
            yield from type_faults(items)
        case {"type": "map", "values": each, **rest} if not rest:
            yield from type_faults(each)
        case {"type": base, "logicalType": logical, **rest} if not rest:
            if (base, logical) not in LOGICAL:
                yield f"{logical} on {base} is not used here"
        case str():
            if node not in PRIMITIVES and "." not in node:
                yield f"{node} is not used here"
        case _:
            yield f"{node} is not used here: named types have files of their own"


def kind_of(node: Any) -> str:
    """The Avro type that decides on a default: of a union, its first."""
    match node:
        case [first, *_]:
            return kind_of(first)
        case {"logicalType": "decimal"}:
            return "bytes"
        case {"type": base}:
            return str(base)
    return "record" if "." in node else str(node)


def no_default(node: Any) -> bool:
    return kind_of(node) in NO_DEFAULT


def sentence(doc: Any) -> bool:
    """Whether there is a doc, and it ends as a sentence does."""
    return isinstance(doc, str) and bool(re.search(r"\S[.…]$", doc))
