"""What a change of a schema breaks for those who have other versions of it, in either direction.

Stricter than Avro's schema resolution where that would lose a meaning: a symbol that is no longer known would
be read as the default, and a number as a number of something else.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Node = Any
Named = dict[str, Node]


def breaks(old: Node, new: Node) -> list[str]:
    """What is wrong with `new` as a later version of `old`, in words; empty if they are fully compatible."""
    return list(dict.fromkeys(_differences(old, new, _name(new) or "", {}, {})))


def shape(node: Node) -> Node:
    """A schema without what only people read: two versions of the same shape are the same."""
    if isinstance(node, Mapping):
        return {key: shape(value) for key, value in node.items() if key != "doc"}
    return [shape(each) for each in node] if isinstance(node, list) else node


def _differences(old: Node, new: Node, where: str, olds: Named, news: Named) -> Iterator[str]:
    old, new = _resolved(old, olds), _resolved(new, news)
    match old, new:
        case {"type": "record"}, {"type": "record"}:
            if old["name"] != new["name"]:
                yield f"{where}: the record {old['name']} became {new['name']}"
            yield from _record_differences(old, new, where, olds, news)
        case {"type": "enum"}, {"type": "enum"}:
            yield from _enum_differences(old, new, where)
        case {"type": "array"}, {"type": "array"}:
            yield from _differences(old["items"], new["items"], f"{where}[]", olds, news)
        case {"type": "map"}, {"type": "map"}:
            yield from _differences(old["values"], new["values"], f"{where}{{}}", olds, news)
        case [*olders], [*newers]:
            if len(olders) != len(newers):
                yield f"{where}: the union changed from {_said(old)} to {_said(new)}"
            for older, newer in zip(olders, newers, strict=False):
                yield from _differences(older, newer, where, olds, news)
        case _:
            if shape(old) != shape(new):
                yield f"{where}: the type changed from {_said(old)} to {_said(new)}"


def _record_differences(old: Node, new: Node, where: str, olds: Named, news: Named) -> Iterator[str]:
    before = {field["name"]: field for field in old["fields"]}
    after = {field["name"]: field for field in new["fields"]}
    gone = [name for name in before if name not in after]
    come = [name for name in after if name not in before]
    for name in gone:
        twin = next((n for n in come if shape(after[n]["type"]) == shape(before[name]["type"])), None)
        if twin and "default" not in before[name] and "default" not in after[twin]:
            come.remove(twin)
            yield f"{where}.{name}: the field was renamed to {twin}"
        elif "default" not in before[name]:
            yield f"{where}.{name}: the field was removed, but older readers have no default for it"
    for name in come:
        if "default" not in after[name]:
            yield f"{where}.{name}: the field was added without a default, so older events lack it"
    for name in before:  # in the order in which named types are first written out
        if name in after:
            yield from _differences(before[name]["type"], after[name]["type"], f"{where}.{name}", olds, news)


def _enum_differences(old: Node, new: Node, where: str) -> Iterator[str]:
    before, after = old["symbols"], new["symbols"]
    if old["name"] != new["name"]:
        yield f"{where}: the enum {old['name']} became {new['name']}"
    if gone := [symbol for symbol in before if symbol not in after]:
        yield f"{where}: the symbols {', '.join(gone)} were removed or renamed"
    elif after[: len(before)] != before:
        yield f"{where}: the symbols were reordered; new ones go to the end"
    if old.get("default") != new.get("default"):
        yield f"{where}: the default changed from {old.get('default')} to {new.get('default')}"
    if set(after) - set(before) and "default" not in old:
        yield f"{where}: a symbol was added, but older readers have no default to read it as"


def _resolved(node: Node, named: Named) -> Node:
    """The definition behind a name; remembers a definition under its name."""
    if isinstance(node, Mapping) and "name" in node:
        named[node["name"]] = node
        return node
    return named.get(node, node) if isinstance(node, str) else node


def _name(node: Node) -> str | None:
    return node.get("name") if isinstance(node, Mapping) else None


def _said(node: Node) -> str:
    match node:
        case {"logicalType": logical, "type": base}:
            return f"{base} ({logical})"
        case {"name": name}:
            return str(name)
        case [*branches]:
            return f"[{', '.join(map(_said, branches))}]"
        case {"type": base}:
            return str(base)
    return str(node)
