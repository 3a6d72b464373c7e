"""Events to bytes and back: Avro in Confluent framing, with the schema's fingerprint in a header.

The framing is a zero byte, the schema id as four bytes, big-endian, and the Avro body; any Confluent
deserializer reads it. The fingerprint header tells a reader that the id still means the same schema.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
from fastavro import schemaless_writer

from medbus.schemas import avro
from medbus.schemas.decoder import Decoder, compile_decoder, resolving_decoder
from medbus.schemas.errors import InvalidEvent, SchemaError, UndecodableRecord, UnknownSchema
from medbus.schemas.events import Event
from medbus.schemas.registry import Registry
from medbus.schemas.topics import TOPIC_OF

FINGERPRINT = "medbus-fingerprint"
"""Name of the header with the 8-byte CRC-64-AVRO fingerprint of the writer's schema."""

_FRAME = struct.Struct(">bI")

_OWN_TYPES = (bytes, datetime, UUID)
"""What is checked as it is: a text is no UUID, no time and no bytes, even where it could be read as one."""

Headers = Iterable[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as a Kafka record.

    Attributes:
        slot: says the partition, modulo the number of them; None where the key does.
    """

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class _Writer:
    frame: bytes
    schema: dict[str, Any]
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Reader:
    decode: Decoder
    fingerprint: bytes


class Codec:
    """Encodes and decodes events with the ids of one registry. Schemas are parsed once."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._writers: dict[type[Event], _Writer] = {}
        self._readers: dict[int, _Reader] = {}

    def encode(self, event: Event) -> Encoded:
        """The event as a record.

        Raises:
            InvalidEvent: a field has the wrong type, a time has no zone, or the whole is too long.
            SchemaError: its schema is not registered.
        """
        kind = type(event)
        writer = self._writers.get(kind) or self._writer(kind)
        try:
            # The classes do not check what they are made of: this does for types, the writer for fields.
            own = msgspec.to_builtins(event, builtin_types=_OWN_TYPES)
            msgspec.convert(own, kind, builtin_types=_OWN_TYPES)
            fields = msgspec.to_builtins(event, builtin_types=(bytes, datetime))
            _refuse_unreadable_times(fields)
            buffer = BytesIO()
            buffer.write(writer.frame)
            schemaless_writer(buffer, writer.schema, fields, strict=True)
        except (ValueError, TypeError, OverflowError) as error:  # msgspec's errors are ValueErrors
            raise InvalidEvent(f"{kind.__name__} does not fit its schema: {error}.") from error
        topic = TOPIC_OF[kind]
        value = buffer.getvalue()
        if len(value) > topic.max_bytes:
            raise InvalidEvent(
                f"{kind.__name__} is {len(value)} bytes long; {topic.max_bytes} are allowed on {topic.name}.",
                "Put what is large into a blob and refer to it.",
            )
        slot = None if topic.partition is None else topic.partition(event)
        return Encoded(topic.key(event).encode(), value, writer.headers, slot)

    def decode(self, value: bytes | None, headers: Headers = ()) -> Event:
        """The event in a record.

        Args:
            value: the record's value.
            headers: its headers; the fingerprint is checked if it is there (a producer in another
                language may leave it out).

        Raises:
            UndecodableRecord: it is no event of ours, or its schema id has been given to another schema.
        """
        if value is None or len(value) < _FRAME.size or value[0] != 0:
            raise UndecodableRecord("The record has no Confluent framing.", "Was it written by medbus?")
        schema_id = _FRAME.unpack_from(value)[1]
        reader = self._readers.get(schema_id) or self._reader(schema_id)
        for name, content in headers:
            if name == FINGERPRINT and content != reader.fingerprint:
                raise UndecodableRecord(
                    f"Schema id {schema_id} is not the schema that wrote this record (fingerprint "
                    f"{(content or b'').hex()}, registered {reader.fingerprint.hex()}).",
                    "The registry's topic was lost or mixed up: restore _schemas from a backup.",
                )
        try:
            event, end = reader.decode(value, _FRAME.size)
        except Exception as error:  # whatever a decoder meets in hostile bytes
            raise UndecodableRecord(f"The record does not decode: {error!r}.") from error
        if end != len(value):
            raise UndecodableRecord(f"The event is {end} bytes long, the record {len(value)}.")
        return event

    def _writer(self, kind: type[Event]) -> _Writer:
        name = avro.full_name(kind)
        text = avro.text(name)
        writer = _Writer(
            frame=_FRAME.pack(0, self.registry.id_of(name)),
            schema=avro.parse(text),
            headers=((FINGERPRINT, avro.fingerprint(text)),),
        )
        self._writers[kind] = writer
        return writer

    def _reader(self, schema_id: int) -> _Reader:
        try:
            text = self.registry.text(schema_id)
        except SchemaError as error:
            raise UnknownSchema(error.message, error.advice) from error
        try:
            written = avro.parse(text)
            name = written["name"]
            fingerprint = avro.fingerprint(text)
        except Exception as error:  # the registry may hold other programs' schemas, in any language
            raise UndecodableRecord(f"Schema id {schema_id} is no Avro record schema: {error!r}.") from error
        event = avro.EVENT_NAMED.get(name)
        if event is None:
            raise UndecodableRecord(f"This version of medbus does not know {name}.", "Update medbus.")
        own = avro.text(name)
        if avro.fingerprint(own) == fingerprint:
            decode = compile_decoder(written, event)
        else:
            decode = resolving_decoder(written, avro.parse(own), event)
        reader = _Reader(decode, fingerprint)
        self._readers[schema_id] = reader
        return reader


def _refuse_unreadable_times(fields: dict[str, Any]) -> None:
    """Raise OverflowError for a time that falls out of the calendar in UTC: it could not be read again."""
    for value in fields.values():
        if type(value) is datetime:
            value.astimezone(UTC)
        elif type(value) is dict:
            _refuse_unreadable_times(value)
