"""Schemas as Avro defines them: self-contained text, and the standard's fingerprint."""

import json

import pytest

from medbus.schemas import avro
from medbus.schemas.errors import SchemaError
from medbus.schemas.events import Event
from medbus.schemas.topics import TOPIC_OF


@pytest.mark.parametrize(
    ("schema", "fingerprint"),
    [
        # From the test vectors that come with Avro (share/test/data/schema-tests.txt), as 64-bit numbers.
        ('"null"', 7195948357588979594),
        ('{"type":"boolean"}', -6970731678124411036),
        ('"int"', 8247732601305521295),
        ('["int","boolean"]', 5392556393470105090),
        ('{"type":"enum","name":"foo","symbols":["A1"]}', -6342190197741309591),
    ],
)
def test_the_fingerprint_is_avros(schema: str, fingerprint: int) -> None:
    assert avro.fingerprint(schema) == fingerprint.to_bytes(8, "little", signed=True)


def test_the_fingerprint_does_not_depend_on_docs_or_blanks() -> None:
    name = "medbus.images.ImageErased"
    schema = json.loads(avro.text(name))
    schema["doc"] = "Something else."
    assert avro.fingerprint(json.dumps(schema, indent=3)) == avro.fingerprint(avro.text(name))
    schema["fields"][1]["type"] = "bytes"
    assert avro.fingerprint(json.dumps(schema)) != avro.fingerprint(avro.text(name))


@pytest.mark.parametrize("name", avro.EVENT_NAMED)
def test_a_schema_is_complete_in_itself(name: str) -> None:
    """A registry takes no schema that names a type which it does not define."""
    assert avro.parse(avro.text(name))["name"] == name
    assert "__fastavro" not in avro.text(name)


def test_names_are_those_of_topic_and_class() -> None:
    assert set(avro.EVENT_NAMED.values()) == set(TOPIC_OF)
    assert "medbus.dead_letters.DeadLettered" in avro.EVENT_NAMED
    assert "medbus.images.ImageRegistered" in avro.EVENT_NAMED


def test_an_unknown_schema_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(SchemaError, match=r"no Avro schema medbus\.images\.ImageSeen"):
        avro.schema("medbus.images.ImageSeen")


class Unlisted(Event):
    """An event of no topic."""


def test_an_event_of_no_topic_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SchemaError, match=r"Name it in medbus\.schemas\.topics"):
        avro.full_name(Unlisted)
