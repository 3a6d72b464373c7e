"""The Avro schemas that stand beside this file, and what the Avro specification derives from them."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import load_schema, parse_schema, to_parsing_canonical_form

from medbus.schemas.errors import SchemaError
from medbus.schemas.events import Event
from medbus.schemas.topics import TOPIC_OF

FOLDER = Path(__file__).parent / "avro"


def full_name(event: type[Event]) -> str:
    """The Avro name of an event class, for example `medbus.images.ImageRegistered`."""
    try:
        return f"{TOPIC_OF[event].namespace}.{event.__name__}"
    except KeyError:
        raise SchemaError(
            f"{event.__name__} belongs to no topic.", "Name it in medbus.schemas.topics."
        ) from None


@cache
def schema(name: str) -> Mapping[str, Any]:
    """The schema of this full name, with the named types that it uses written out where first used.

    Raises:
        SchemaError: there is no such schema file.
    """
    path = FOLDER / f"{name}.avsc"
    if not path.is_file():
        raise SchemaError(f"There is no Avro schema {name}.", f"Schemas are in {FOLDER}.")
    return cast(dict[str, Any], load_schema(str(path), _write_hint=False))


def text(name: str) -> str:
    """The self-contained schema as JSON text: what the registry stores."""
    return json.dumps(schema(name), separators=(",", ":"), ensure_ascii=False)


def fingerprint(schema_text: str) -> bytes:
    """The CRC-64-AVRO fingerprint of a schema's canonical form (Avro 1.12, Schema Fingerprints).

    Eight bytes in the order of Avro's single-object encoding: the lowest first. Docs, defaults and logical
    types are not part of it.
    """
    canonical = to_parsing_canonical_form(json.loads(schema_text))
    return bytes.fromhex(fastavro_fingerprint(canonical, "CRC-64-AVRO"))


def parse(schema_text: str) -> dict[str, Any]:
    """A schema made ready for fastavro.

    Uuids stay text here: the event classes turn them into UUIDs, which is several times faster.
    """
    return cast(dict[str, Any], parse_schema(_without_uuid(json.loads(schema_text))))


def _without_uuid(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_uuid(each) for each in node]
    if isinstance(node, dict):
        return {
            key: _without_uuid(value)
            for key, value in node.items()
            if not (key == "logicalType" and value == "uuid")
        }
    return node


EVENT_NAMED: Mapping[str, type[Event]] = {full_name(event): event for event in TOPIC_OF}
"""The event class of each full name."""
