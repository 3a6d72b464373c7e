"""What every event has: identity, cause, author, time; and the records that several topics share.

The `.avsc` files say what each field means; these classes have the same fields in the same order.
"""

from datetime import datetime
from typing import Annotated, Any, Self, dataclass_transform
from uuid import UUID, uuid5

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time that says its time zone: naive times are refused."""

Int = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
"""An Avro int: 32 bits. fastavro would write a longer one, which readers in other languages refuse."""

Long = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An Avro long: 64 bits."""


class ValueType(msgspec.StructMeta):
    """Makes every record immutable and its fields keyword-only, so that no class has to say so."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> type:
        return super().__new__(mcs, name, bases, namespace, **({"frozen": True, "kw_only": True} | options))


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, metaclass=ValueType, frozen=True, kw_only=True):
    """An immutable record; two are equal if their fields are."""


class Meta(Value):
    """The head of every event."""

    event_id: UUID
    cause_id: UUID | None = None
    correlation_id: UUID
    actor: str | None = None
    source: str
    occurred_at: Instant

    @classmethod
    def first(
        cls,
        event_id: UUID,
        *,
        source: str,
        occurred_at: datetime,
        actor: str | None = None,
        conversation: UUID | None = None,
    ) -> Self:
        """The head of an event that begins a chain: it correlates with itself, or with its conversation."""
        return cls(
            event_id=event_id,
            correlation_id=conversation or event_id,
            actor=actor,
            source=source,
            occurred_at=occurred_at,
        )

    def caused(self, kind: str, *, source: str, occurred_at: datetime, actor: str | None = None) -> "Meta":
        """The head of an event that follows from this one.

        Args:
            kind: names the effect among all effects of this event. The same cause and kind always give the
                same event id, so an effect that is derived twice is seen to be one.
            source: the component that derives it.
            occurred_at: when, UTC.
            actor: the subscriber concerned; by default that of the cause.
        """
        return Meta(
            event_id=uuid5(self.event_id, kind),
            cause_id=self.event_id,
            correlation_id=self.correlation_id,
            actor=self.actor if actor is None else actor,
            source=source,
            occurred_at=occurred_at,
        )


class Event(Value):
    """Something that happened. Its schema has the name of the topic's namespace and of the class."""

    meta: Meta


class Scope(Value):
    """Which images a contract or a grant is about; an empty tuple leaves that side open."""

    patients: tuple[str, ...] = ()
    registrants: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()

    def holds(self, *, patient_id: str, registrant: str, modality: str) -> bool:
        """Whether an image with these attributes lies within."""
        return (
            (not self.patients or patient_id in self.patients)
            and (not self.registrants or registrant in self.registrants)
            and (not self.modalities or modality in self.modalities)
        )


class Blob(Value):
    """The address of an immutable run of bytes in the blob store."""

    digest: str
    size: Long
    transfer_syntax_uid: str


class Money(Value):
    """An amount in a currency, in its minor unit (ISO 4217)."""

    minor_units: Long
    currency: str


class Origin(Value):
    """The place of a record in the log."""

    topic: str
    partition: Int
    offset: Long

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"
