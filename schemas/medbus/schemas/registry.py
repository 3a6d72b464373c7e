"""Which schema has which id: the state of a Confluent or Karapace schema registry.

Both keep their state in a compacted topic, `_schemas`, one JSON record per subject and version. This is that
state, built from such records; reading and writing the topic is the bus client's work.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from medbus.schemas import avro
from medbus.schemas.errors import SchemaError

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
    _subjects: dict[str, dict[int, Version]] = field(default_factory=dict)

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take up a record of the topic. Records of other kinds (configuration, no-ops) change nothing."""
        header: dict[str, Any] = json.loads(key) if key else {}
        if header.get("keytype") != "SCHEMA":
            return
        versions = self._subjects.setdefault(header["subject"], {})
        fields: dict[str, Any] = json.loads(value) if value else {"deleted": True}
        if fields.get("deleted"):
            versions.pop(header["version"], None)
            return
        version = Version(
            subject=header["subject"], version=header["version"], id=fields["id"], text=fields["schema"]
        )
        versions[version.version] = version
        self._by_id[version.id] = version.text

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
        return sorted(subject for subject, versions in self._subjects.items() if versions)

    def versions(self, subject: str) -> list[Version]:
        """All versions of a subject, oldest first; empty where it is not known."""
        return [version for _, version in sorted(self._subjects.get(subject, {}).items())]

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
        """What must be added so that every event of this program can be written."""
        added: list[Version] = []
        next_id = max(self._by_id, default=0) + 1
        for subject in avro.EVENT_NAMED:
            try:
                self.id_of(subject)
            except SchemaError:
                number = max((v.version for v in self.versions(subject)), default=0) + 1
                added.append(
                    Version(subject=subject, version=number, id=next_id + len(added), text=avro.text(subject))
                )
        return added

    @classmethod
    def of_this_program(cls) -> "Registry":
        """A registry that knows this program's schemas only: for tests and tools without a cluster."""
        registry = cls()
        for version in registry.missing():
            registry.apply(*version.record())
        return registry


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
