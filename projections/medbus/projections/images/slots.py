"""Which contents are served under a SOP Instance UID that more than one event speaks of. Pure.

A slot is an image of a study. All its events are in one partition, so their order is certain: the first
contents win, contents that were erased or lost against others never come back. The same SOP Instance UID in
two studies is two slots, whose events have no order among them: the one that arrived first is served, the
other is in its shadow.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from medbus.projections.images.registration import Registration
from medbus.projections.rows import Row
from medbus.schemas.events import Blob

Slot = tuple[str, str]
"""SOP Instance UID and Study Instance UID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """Contents came."""

    event_id: UUID
    registration: Registration

    @property
    def slot(self) -> Slot:
        return self.registration.instance.sop_instance_uid, self.registration.study.study_instance_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Contents were erased."""

    slot: Slot
    digest: str
    erased_at: int


@dataclass(slots=True)
class Growth:
    """By how much contents grew, by subscriber and minute since 1970: bytes, and those times seconds.

    What is in it is a sum: events may come one by one or many at once.
    """

    changes: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, registrant: str, size: int, at: int) -> None:
        """Contents came, or with a negative size went, at a time in milliseconds since 1970."""
        minute, milliseconds = divmod(at, 60_000)
        grown, seconds = self.changes.get((registrant, minute), (0, 0))
        # Nothing is left out where it comes to 0: whether there is a row must not depend on the grouping.
        self.changes[registrant, minute] = grown + size, seconds + size * (60 - milliseconds // 1000)

    def rows(self) -> list[Row]:
        """Rows to count."""
        return [(*key, *change) for key, change in self.changes.items()]


@dataclass(slots=True)
class Slots:
    """The state of some slots, and what is to be noted of them.

    Attributes:
        contents: what each slot that is not empty holds.
        erased: slots with digests that were erased.
        lost: slots with the ids of events whose contents lost against others.
        conflicts: rows of those that lost now.
        erasures: rows of those that were erased now.
        growth: what came into slots and left them now.
    """

    contents: dict[Slot, Registration] = field(default_factory=dict)
    erased: set[tuple[str, str, str]] = field(default_factory=set)
    lost: set[tuple[Slot, str]] = field(default_factory=set)
    conflicts: list[Row] = field(default_factory=list)
    erasures: list[Row] = field(default_factory=list)
    growth: Growth = field(default_factory=Growth)

    def served(self) -> dict[str, Registration]:
        """The image that is served, by SOP Instance UID."""
        served: dict[str, Registration] = {}
        for (uid, _), each in self.contents.items():
            if uid not in served or each.order < served[uid].order:
                served[uid] = each
        return served

    def shadowed(self) -> dict[Slot, Registration]:
        """Images in the shadow of others."""
        served = self.served()
        return {slot: each for slot, each in self.contents.items() if served[slot[0]] is not each}

    def fold(self, events: Iterable[Registered | Erased]) -> None:
        """Take up events, those of one slot in the order of the log."""
        for event in events:
            if isinstance(event, Erased):
                self._erase(event)
            else:
                self._register(event)

    def _erase(self, event: Erased) -> None:
        key = (*event.slot, event.digest)
        if key not in self.erased:
            self.erased.add(key)
            self.erasures.append(key)
        held = self.contents.get(event.slot)
        if held is not None and held.blob.digest == event.digest:
            del self.contents[event.slot]
            self.growth.add(held.registrant, -held.blob.size, event.erased_at)

    def _register(self, event: Registered) -> None:
        slot, new = event.slot, event.registration
        held = self.contents.get(slot)
        if held is not None and held.blob.digest == new.blob.digest:
            return
        if (*slot, new.blob.digest) in self.erased or (slot, str(event.event_id)) in self.lost:
            return
        if held is None:
            self.contents[slot] = new
            self.growth.add(new.registrant, new.blob.size, new.registered_at)
        else:
            self.lost.add((slot, str(event.event_id)))
            self.conflicts.append(_conflict(event, held.blob))


def _conflict(event: Registered, registered: Blob) -> Row:
    lost = event.registration
    return (
        *event.slot,
        str(event.event_id),
        lost.registrant,
        registered.digest,
        lost.blob.digest,
        lost.blob.size,
        lost.blob.transfer_syntax_uid,
        1,
        *lost.order,
    )
