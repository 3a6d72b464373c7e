"""The compiled decoders read what fastavro writes, and agree with it on every piece of garbage."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.projections.examples import image
from tests.strategies import values

from medbus.schemas import avro
from medbus.schemas.codec import Codec
from medbus.schemas.decoder import Decoder, compile_decoder, resolving_decoder
from medbus.schemas.events import Event, ImageRegistered
from medbus.schemas.registry import Registry
from medbus.schemas.topics import TOPIC_OF

CODEC = Codec(Registry.of_this_program())
FRAME = 5
KINDS = list(TOPIC_OF)

some = settings(max_examples=40, deadline=None)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def compiled(kind: type[Event]) -> Decoder:
    return compile_decoder(avro.parse(avro.text(avro.full_name(kind))), kind)


def resolving(kind: type[Event]) -> Decoder:
    schema = avro.parse(avro.text(avro.full_name(kind)))
    return resolving_decoder(schema, schema, kind)


COMPILED = {kind: compiled(kind) for kind in KINDS}
RESOLVING = {kind: resolving(kind) for kind in KINDS}


def reading(decode: Decoder, data: bytes) -> Event | None:
    """The event, or None if there is none in the data."""
    try:
        event, end = decode(data, FRAME)
    except Exception:  # hostile bytes may raise whatever they like: the codec catches it
        return None
    return event if end == len(data) else None


@each_kind
@some
@given(data=st.data())
def test_every_event_is_read_as_it_was_written(kind: type[Event], data: st.DataObject) -> None:
    first, other = data.draw(values(kind)), data.draw(values(kind))
    taken = {
        name: getattr(data.draw(st.sampled_from((first, other))), name) for name in kind.__struct_fields__
    }
    # The same parts come again and again, so that what is remembered is used.
    for event in (first, kind(**taken), other, first):
        encoded = CODEC.encode(event).value
        expected = RESOLVING[kind](encoded, FRAME)
        assert COMPILED[kind](encoded, FRAME) == expected
        assert type(expected[0]) is kind


@each_kind
@some
@given(data=st.data())
def test_garbage_is_refused_or_read_as_fastavro_reads_it(kind: type[Event], data: st.DataObject) -> None:
    garbage = bytearray(CODEC.encode(data.draw(values(kind))).value)
    for _ in range(data.draw(st.integers(0, 3))):
        garbage[data.draw(st.integers(FRAME, len(garbage) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(garbage[: data.draw(st.integers(FRAME, len(garbage)))])
    assert reading(COMPILED[kind], cut) == reading(RESOLVING[kind], cut)


def test_what_is_the_same_as_before_is_shared_but_never_what_can_be_changed() -> None:
    encoded = CODEC.encode(image("1")).value
    decode = compiled(ImageRegistered)
    (one, _), (other, _) = decode(encoded, FRAME), decode(encoded, FRAME)
    assert isinstance(one, ImageRegistered)
    assert isinstance(other, ImageRegistered)
    assert one == other
    assert one.patient is other.patient
    assert one.conditions is not other.conditions


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("float", "float"),
        (["null", "string", "long"], "union"),
        ({"type": "fixed", "name": "F", "size": 2}, "fixed"),
    ],
)
def test_a_type_that_no_event_has_is_refused_when_it_is_compiled(written: Any, name: str) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "meta", "type": written}]}
    with pytest.raises(NotImplementedError):
        compile_decoder(schema, ImageRegistered)


@each_kind
@some
@given(data=st.data())
def test_what_was_cut_short_is_not_remembered(kind: type[Event], data: st.DataObject) -> None:
    encoded = CODEC.encode(data.draw(values(kind))).value
    expected = RESOLVING[kind](encoded, FRAME)
    for end in range(FRAME, len(encoded)):
        decode = COMPILED[kind]
        assert reading(decode, encoded[:end]) is None
        assert decode(encoded, FRAME) == expected
