"""Avro decoders for event classes, compiled to Python: two to three times as fast as a generic one.

A decoder is one function for each record type, written out field by field. What a record shares with the one
before it, as patient, study and series of the images of a series, is recognised by its bytes and not decoded
again: Avro has no padding and no references, so equal bytes at the beginning of a value are the same value.
"""

import re
import struct
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
from fastavro import schemaless_reader

from medbus.schemas.events import Event

Decoder = Callable[[bytes, int], tuple[Event, int]]
"""From bytes and the offset of an event in them: the event, and the offset behind it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT = 1 << 31


class NotAvro(ValueError):
    """The bytes do not follow the schema."""


def compile_decoder(schema: Mapping[str, Any], event: type[Event]) -> Decoder:
    """A decoder for what this schema wrote.

    Args:
        schema: of the event, parsed; it must have the fields of the class, in any order.
        event: the class.

    Returns:
        A decoder. It raises an Exception where the bytes do not follow the schema. It does not look at what
        is behind the event: that the offset is the length of the bytes is for the caller to check.

    Raises:
        NotImplementedError: the schema uses a type that no event has.
    """
    compiler = _Compiler()
    name = compiler.record(schema, event)
    decoder: Decoder = compiler.names[name]
    return decoder


def resolving_decoder(written: dict[str, Any], wanted: dict[str, Any], event: type[Event]) -> Decoder:
    """A decoder for what another version of a schema wrote, by the rules of Avro's schema resolution.

    It does what a compiled one does, through fastavro: slower, and for any two schemas that fit each other.
    """

    def decode(data: bytes, offset: int) -> tuple[Event, int]:
        buffer = BytesIO(data)
        buffer.seek(offset)
        return msgspec.convert(schemaless_reader(buffer, written, wanted), event), buffer.tell()

    return decode


class _Compiler:
    def __init__(self) -> None:
        self.names: dict[str, Any] = {
            "_long": _long,
            "_bad": _bad,
            "_checked_int": _checked_int,
            "_instant": _instant,
            "_convert": msgspec.convert,
            "_UUID": UUID,
            "_double": struct.Struct("<d").unpack_from,
        }
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._count = 0

    def record(self, schema: Mapping[str, Any], kind: type[msgspec.Struct]) -> str:
        """Compile the decoder of a record type; the name of the function."""
        name = "_read_" + re.sub(r"\W", "_", schema["name"])
        self._schemas[schema["name"]] = schema
        if name in self.names:
            return name
        self.names[name] = None
        self.names[f"{name}_kind"] = kind
        wanted = {field.name: field.type for field in msgspec.structs.fields(kind)}
        lines: list[str] = []
        for field in schema["fields"]:
            self._value(lines, "    ", field["type"], _bare(wanted[field["name"]]), f"f_{field['name']}")
        arguments = ", ".join(f"{each['name']}=f_{each['name']}" for each in schema["fields"])
        source = "\n".join([f"def {name}(d, p):", *lines, f"    return {name}_kind({arguments}), p"])
        exec(compile(source, f"<decoder of {schema['name']}>", "exec"), self.names)  # noqa: S102 - our own text
        return name

    def _value(  # noqa: PLR0912 - one for each Avro type
        self, lines: list[str], indent: str, schema: Any, kind: Any, target: str
    ) -> None:
        if isinstance(schema, str) and schema in self._schemas:
            schema = self._schemas[schema]
        if isinstance(schema, list):
            self._optional(lines, indent, schema, kind, target)
            return
        avro = schema if isinstance(schema, str) else schema["type"]
        logical = None if isinstance(schema, str) else schema.get("logicalType")
        add = lines.append
        match avro:
            case "string" if kind is UUID:
                self._memorised(lines, indent, target, lambda inner: self._uuid(lines, inner, target))
            case "string":
                self._length(lines, indent)
                add(f"{indent}{target} = str(d[p:q], 'utf-8'); p = q")
            case "bytes":
                self._length(lines, indent)
                add(f"{indent}{target} = d[p:q]; p = q")
            case "int" | "long":
                self._number(lines, indent)
                value = "(n >> 1) ^ -(n & 1)"
                if logical == "timestamp-micros":
                    value = f"_instant({value})"
                elif avro == "int":
                    value = f"_checked_int({value})"
                add(f"{indent}{target} = {value}")
            case "boolean":
                add(f"{indent}{target} = (False, True)[d[p]]; p += 1")
            case "double":
                add(f"{indent}{target} = _double(d, p)[0]; p += 8")
            case "enum":
                members = f"_members{self._next()}"
                self.names[members] = tuple(kind(symbol) for symbol in schema["symbols"])
                self._number(lines, indent)
                add(f"{indent}{target} = _bad() if n & 1 else {members}[n >> 1]")
            case "map":
                self._map(lines, indent, schema, kind, target)
            case "array":
                self._array(lines, indent, schema, kind, target)
            case "record":
                function = self.record(schema, kind)

                def read(inner: str) -> None:
                    add(f"{inner}{target}, p = {function}(d, p)")

                if _immutable(kind):
                    self._memorised(lines, indent, target, read)
                else:
                    read(indent)
            case _:
                raise NotImplementedError(f"Events have no values of the type {avro}.")

    def _optional(self, lines: list[str], indent: str, union: list[Any], kind: Any, target: str) -> None:
        if len(union) != 2 or "null" not in union:
            raise NotImplementedError("A union is of null and one other type.")
        null = union.index("null")
        lines.append(f"{indent}n = d[p]; p += 1")
        lines.append(f"{indent}if n == {2 * null}:")
        lines.append(f"{indent}    {target} = None")
        lines.append(f"{indent}elif n == {2 * (1 - null)}:")
        self._value(lines, indent + "    ", union[1 - null], _bare(kind), target)
        lines.append(f"{indent}else: _bad()")

    def _memorised(self, lines: list[str], indent: str, target: str, read: Callable[[str], None]) -> None:
        """Take the value of the last time where the bytes are the same."""
        memory = f"_memory{self._next()}"
        # One tuple, replaced as a whole: other threads may decode as well.
        self.names[memory] = [(b"\xff" * 12, None)]
        lines.append(f"{indent}b, {target} = {memory}[0]")
        lines.append(f"{indent}if d.startswith(b, p):")
        lines.append(f"{indent}    p += len(b)")
        lines.append(f"{indent}else:")
        lines.append(f"{indent}    {target}_at = p")
        read(indent + "    ")
        # A slice beyond the end gives less and raises nothing; that would be remembered as the whole.
        lines.append(f"{indent}    if p > len(d): _bad()")
        lines.append(f"{indent}    {memory}[0] = d[{target}_at:p], {target}")

    def _uuid(self, lines: list[str], indent: str, target: str) -> None:
        self._length(lines, indent)
        lines.append(f"{indent}{target} = _convert(str(d[p:q], 'ascii'), _UUID); p = q")

    def _map(self, lines: list[str], indent: str, schema: Mapping[str, Any], kind: Any, target: str) -> None:
        value = typing.get_args(kind)[1]

        def entry(inner: str) -> None:
            self._length(lines, inner)
            lines.append(f"{inner}{target}_key = str(d[p:q], 'utf-8'); p = q")
            self._value(lines, inner, schema["values"], _bare(value), f"{target}_value")
            lines.append(f"{inner}{target}[{target}_key] = {target}_value")

        def read(inner: str) -> None:
            lines.append(f"{inner}{target} = {{}}")
            self._blocks(lines, inner, entry)

        if _immutable(value):
            self._memorised(lines, indent, target, read)
            # The map itself can be changed, so everybody gets one of their own.
            lines.append(f"{indent}{target} = {target}.copy()")
        else:
            read(indent)

    def _array(
        self, lines: list[str], indent: str, schema: Mapping[str, Any], kind: Any, target: str
    ) -> None:
        item = next(each for each in typing.get_args(kind) if each is not Ellipsis)

        def entry(inner: str) -> None:
            self._value(lines, inner, schema["items"], _bare(item), f"{target}_item")
            lines.append(f"{inner}{target}.append({target}_item)")

        lines.append(f"{indent}{target} = []")
        self._blocks(lines, indent, entry)
        if typing.get_origin(kind) is tuple:
            lines.append(f"{indent}{target} = tuple({target})")

    def _blocks(self, lines: list[str], indent: str, entry: Callable[[str], None]) -> None:
        """Loop over blocks and over what is in them (Avro 1.12, Arrays)."""
        left = f"left{self._next()}"
        inner = indent + "    "
        lines.append(f"{indent}while d[p]:")
        self._number(lines, inner)
        lines.append(f"{inner}{left} = (n >> 1) ^ -(n & 1)")
        # A negative number is followed by the size of the block in bytes.
        lines.append(f"{inner}if {left} < 0: {left} = -{left}; _, p = _long(d, p)")
        lines.append(f"{inner}if {left} > len(d): _bad()")
        lines.append(f"{inner}for _ in range({left}):")
        entry(inner + "    ")
        lines.append(f"{indent}p += 1")

    def _number(self, lines: list[str], indent: str) -> None:
        # Most numbers take one byte, and nearly all others two.
        lines.append(f"{indent}n = d[p]; p += 1")
        lines.append(f"{indent}if n > 127:")
        lines.append(f"{indent}    n += (d[p] << 7) - 128; p += 1")
        lines.append(f"{indent}    if n > 16383: n, p = _long(d, p - 2)")

    def _length(self, lines: list[str], indent: str) -> None:
        self._number(lines, indent)
        lines.append(f"{indent}if n & 1: _bad()")
        lines.append(f"{indent}q = p + (n >> 1)")

    def _next(self) -> int:
        self._count += 1
        return self._count


def _bare(kind: Any) -> Any:
    """A type without annotations and without None."""
    if typing.get_origin(kind) is typing.Annotated:
        return _bare(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        (only,) = (each for each in typing.get_args(kind) if each is not type(None))
        return _bare(only)
    return kind


def _immutable(kind: Any) -> bool:
    """Whether values of a type can be shared: nothing in them can be changed."""
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return all(_immutable(field.type) for field in msgspec.structs.fields(kind))
    if typing.get_origin(kind) is tuple:
        return all(each is Ellipsis or _immutable(each) for each in typing.get_args(kind))
    return kind in (str, int, bool, float, UUID, datetime) or (
        isinstance(kind, type) and issubclass(kind, Enum)
    )


def _long(d: bytes, p: int) -> tuple[int, int]:
    """A variable-length number, not yet unfolded from zigzag."""
    value, shift = 0, 0
    while True:
        byte = d[p]
        p += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            break
        shift += 7
    if value >> 64:
        _bad()
    return value, p


def _checked_int(value: int) -> int:
    if not -_INT <= value < _INT:
        _bad()
    return value


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _bad() -> Any:
    raise NotAvro("the bytes do not follow the schema")
