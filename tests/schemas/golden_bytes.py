"""Golden bytes: for every version of every event, its schema and two events encoded with it.

    python -m tests.schemas.golden_bytes

writes a file for each event whose schema is not yet in `golden/`, as its next version. It never changes a
file that is there: what was released stays readable for ever. (A version that was never released, and that
the release in its file names, may be deleted by hand before this is run.)
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec
from tests.schemas.compatibility import shape

from medbus.schemas import avro
from medbus.schemas.codec import Codec
from medbus.schemas.events import Event
from medbus.schemas.registry import Registry

E = TypeVar("E", bound=Event)

FOLDER = Path(__file__).parent / "golden"
FRAME = 5
"""Bytes of Confluent framing before the Avro body."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An event: its Avro body, and what it says (as JSON would)."""

    body: bytes
    fields: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A version of an event's schema with samples."""

    name: str
    number: int
    release: str
    schema: dict[str, Any]
    samples: dict[str, Sample]

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.number}.json"

    @property
    def text(self) -> str:
        """The schema as the registry has it."""
        return json.dumps(self.schema)


def load(folder: Path = FOLDER) -> list[Golden]:
    """All versions of all events, oldest first."""
    found = [_read(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda golden: (golden.name, golden.number))


def add(folder: Path = FOLDER) -> list[Path]:
    """Write what is missing; returns the new files."""
    written: list[Path] = []
    latest = {golden.name: golden for golden in load(folder)}
    for name, event in avro.EVENT_NAMED.items():
        last = latest.get(name)
        if last is not None and shape(last.schema) == shape(avro.schema(name)):
            continue
        golden = Golden(
            name=name,
            number=last.number + 1 if last else 1,
            release=version("medbus"),
            schema=json.loads(avro.text(name)),
            samples={"full": sample(full(event)), "minimal": sample(minimal(event))},
        )
        path = folder / golden.file_name
        with path.open("x", encoding="utf-8") as stream:
            json.dump(_written(golden), stream, indent=1, ensure_ascii=False)
            stream.write("\n")
        written.append(path)
    return written


def sample(event: Event) -> Sample:
    """An event as it is written today."""
    encoded = Codec(Registry.of_this_program()).encode(event)
    return Sample(body=encoded.value[FRAME:], fields=as_json(event))


def as_json(value: Any) -> dict[str, Any]:
    """The fields of a record as JSON has them."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return fields


def full(event: type[E]) -> E:
    """An event with all that it may have, numbers at the end of their range."""
    return cast(E, _made(event, event.__name__, filled=True))


def minimal(event: type[E]) -> E:
    """An event with as little as it may have."""
    return cast(E, _made(event, event.__name__, filled=False))


def _made(hint: Any, path: str, *, filled: bool) -> Any:
    def part(kind: Any, name: str) -> Any:
        return _made(kind, f"{path}.{name}", filled=filled)

    match get_origin(hint) or hint, get_args(hint):
        case base, () if base is str:
            made: Any = f"{path} é 山" if filled else ""
        case base, () if base is bytes:
            made = bytes(range(256)) if filled else b""
        case base, () if base is UUID:
            made = uuid5(NAMESPACE_OID, path) if filled else UUID(int=0)
        case base, () if issubclass(base, Enum):
            made = list(base)[-1 if filled else 0]
        case base, () if issubclass(base, msgspec.Struct):
            made = base(**{n: part(h, n) for n, h in get_type_hints(base, include_extras=True).items()})
        case base, (kind, _) if base is Annotated and kind is datetime:
            made = (
                datetime(2038, 1, 19, 3, 14, 8, 999_999, UTC) if filled else datetime(1970, 1, 1, tzinfo=UTC)
            )
        case base, (kind, bounds) if base is Annotated and kind is int:
            made = bounds.le if filled else 0
        case base, (kind, nothing) if base in (Union, UnionType) and nothing is NoneType:
            made = _made(kind, path, filled=filled) if filled else None
        case base, (item, _) if base is tuple:
            made = (part(item, "0"), part(item, "1")) if filled else ()
        case base, (_, value) if base is dict:
            made = {"a": part(value, "a"), "b": part(value, "b")} if filled else {}
        case _:
            raise TypeError(f"no sample for {hint!r} of {path}")
    return made


def _written(golden: Golden) -> dict[str, Any]:
    return {
        "name": golden.name,
        "number": golden.number,
        "release": golden.release,
        "schema": golden.schema,
        "samples": {
            kind: {"body": each.body.hex(), "fields": each.fields} for kind, each in golden.samples.items()
        },
    }


def _read(path: Path) -> Golden:
    fields = json.loads(path.read_text(encoding="utf-8"))
    samples = {
        kind: Sample(body=bytes.fromhex(each["body"]), fields=each["fields"])
        for kind, each in fields.pop("samples").items()
    }
    golden = Golden(**fields, samples=samples)
    assert path.name == golden.file_name, f"{path} holds {golden.file_name}"
    return golden


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in add():
        print(path)
