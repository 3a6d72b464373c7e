"""Which schema has which id: the state of a Confluent or Karapace schema registry.

Both keep their state in a compacted topic, `_schemas`, one JSON record per subject and version. This is that
state, built from such records; reading and writing the topic is the bus client's work.
"""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from medbus.schemas import avro
from medbus.schemas.errors import SchemaError

log = logging.getLogger(__name__)

TOPIC = "_schemas"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a subject. The subject is the full name of the record (RecordNameStrategy)."""

    subject: str
    version: int
    id: int
    text: str

    def record(self) -> tuple[bytes, bytes]:
        """Key and value of its record in the topic."""
        key = {"keytype": "SCHEMA", "subject": self.subject, "version": self.version, "magic": 1}
        value = {
            "subject": self.subject,
            "version": self.version,
            "id": self.id,
            "schema": self.text,
            "deleted": False,
        }
        return _json(key), _json(value)


@dataclass
class Registry:
    """Schemas by id and by subject."""

    _by_id: dict[int, str] = field(default_factory=dict)
    _subject_of_id: dict[int, str] = field(default_factory=dict)
    _versions: dict[tuple[str, int], Version] = field(default_factory=dict)
    _deleted: set[tuple[str, int]] = field(default_factory=set)

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take up a record of the topic.

        An id once given keeps its schema: a record that gives it to another one (two programs that
        registered at the same time) changes nothing. A version that is deleted is listed no more, but its id
        still reads what was written with it. Records of other kinds (configuration, no-ops), and what is no
        record of a registry at all, change nothing: they can't be taken out of the topic, and must not keep
        the service from starting.
        """
        header, fields = _fields(key), _fields(value)
        match header, fields:
            case {"keytype": "SCHEMA", "subject": str(subject), "version": int(number)}, {
                "id": int(schema_id),
                "schema": str(text),
            }:
                if self._by_id.setdefault(schema_id, text) != text:
                    log.warning(
                        "schema id %d is given to %s as well, and stays what it was", schema_id, subject
                    )
                    return
                self._subject_of_id.setdefault(schema_id, subject)
                at = subject, number
                self._versions[at] = Version(subject=subject, version=number, id=schema_id, text=text)
                (self._deleted.add if fields.get("deleted") else self._deleted.discard)(at)
            case {"keytype": "SCHEMA", "subject": str(subject), "version": int(number)}, _ if not value:
                gone = self._versions.pop((subject, number), None)
                if gone and all(version.id != gone.id for version in self._versions.values()):
                    del self._by_id[gone.id]
            case {"keytype": "DELETE_SUBJECT", "subject": str(subject)}, {"version": int(last)}:
                self._deleted |= {at for at in self._versions if at[0] == subject and at[1] <= last}

    def text(self, schema_id: int) -> str:
        """The schema of this id.

        Raises:
            SchemaError: the id is not known.
        """
        try:
            return self._by_id[schema_id]
        except KeyError:
            raise SchemaError(f"No schema has the id {schema_id}.", f"See the topic {TOPIC}.") from None

    def subjects(self) -> list[str]:
        """All subjects that have a version, sorted."""
        return sorted({subject for subject, number in self._versions.keys() - self._deleted})

    def versions(self, subject: str) -> list[Version]:
        """All versions of a subject, oldest first; empty where it is not known."""
        return [
            version
            for at, version in sorted(self._versions.items())
            if at[0] == subject and at not in self._deleted
        ]

    def versions_of_id(self, schema_id: int) -> list[Version]:
        """All versions, of whatever subject, that have this id."""
        return [v for subject in self.subjects() for v in self.versions(subject) if v.id == schema_id]

    def id_of(self, subject: str) -> int:
        """The id under which the subject's schema of this program is registered.

        Raises:
            SchemaError: it is not registered.
        """
        wanted = avro.fingerprint(avro.text(subject))
        for version in reversed(self.versions(subject)):
            if avro.fingerprint(version.text) == wanted:
                return version.id
        raise SchemaError(
            f"The schema {subject} of this version of medbus is not registered.",
            "Run `medbus topics create` against this cluster.",
        )

    def missing(self) -> list[Version]:
        """What must be added to the topic, so that all events can be written and all that were be read.

        These are this program's schemas, and those of which the only record was overwritten by another
        program that registered at the same time: compaction would take them away.
        """
        added: list[Version] = []
        id_of_text = {text: schema_id for schema_id, text in self._by_id.items()}
        listed = {version.id for version in self._versions.values()}
        wanted = [(self._subject_of_id[i], text) for i, text in self._by_id.items() if i not in listed]
        wanted += [(subject, avro.text(subject)) for subject in avro.EVENT_NAMED if not self._has(subject)]
        next_id = max(self._by_id, default=0) + 1
        for subject, text in dict.fromkeys(wanted):
            if (schema_id := id_of_text.get(text)) is None:
                schema_id, next_id = next_id, next_id + 1
            numbers = [n for s, n in self._versions if s == subject]
            numbers += [version.version for version in added if version.subject == subject]
            number = max(numbers, default=0) + 1
            added.append(Version(subject=subject, version=number, id=schema_id, text=text))
        return added

    def _has(self, subject: str) -> bool:
        try:
            self.id_of(subject)
        except SchemaError:
            return False
        return True

    @classmethod
    def of_this_program(cls) -> "Registry":
        """A registry that knows this program's schemas only: for tests and tools without a cluster."""
        registry = cls()
        for version in registry.missing():
            registry.apply(*version.record())
        return registry


def _fields(content: bytes | None) -> dict[str, Any]:
    try:
        fields = json.loads(content or b"{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
