"""Builds the image catalog from the events of images."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from medbus.bus import Record, Undecodable
from medbus.projections import rows
from medbus.projections.images import storing, tables
from medbus.projections.images.registration import Registration
from medbus.projections.images.slots import Erased, Registered
from medbus.projections.projection import Projection
from medbus.schemas.events import Event, ImageConflicted, ImageErased, ImageRegistered
from medbus.schemas.topics import IMAGES


class ImageProjection(Projection):
    """All images that are served, with patients, studies and series."""

    name = "images"
    topics = (IMAGES,)
    metadata = tables.metadata

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        named = [(record, _sop_instance_uid(record.event)) for record in records]
        counts = Counter(uid for _, uid in named if uid is not None)
        # Nearly all images are plain: of their SOP Instance UIDs nothing was ever heard.
        tangled = storing.entangled(connection, list(counts))
        tangled.update(uid for uid, count in counts.items() if count > 1)
        tangled.update(r.event.sop_instance_uid for r in records if isinstance(r.event, ImageErased))
        plain = [
            Registration.of(record, record.event)
            for record, uid in named
            if uid not in tangled and type(record.event) is ImageRegistered
        ]
        if plain:
            storing.add(connection, plain)
        if tangled:
            slots = storing.load_slots(connection, list(tangled))
            before = slots.served()
            slots.fold(_events(record for record, uid in named if uid in tangled))
            storing.rewrite(connection, before, slots, list(tangled))
        conflicted = [(r, r.event) for r in records if isinstance(r.event, ImageConflicted)]
        rows.add(connection, tables.conflicts, [_conflict(*each) for each in conflicted])


def _sop_instance_uid(event: Event | Undecodable) -> str | None:
    if type(event) is ImageRegistered:
        return event.instance.sop_instance_uid
    return event.sop_instance_uid if isinstance(event, ImageErased) else None


def _events(records: Iterable[Record]) -> Iterator[Registered | Erased]:
    for record in records:
        event = record.event
        if isinstance(event, ImageRegistered):
            yield Registered(event_id=event.meta.event_id, registration=Registration.of(record, event))
        elif isinstance(event, ImageErased):
            slot = event.sop_instance_uid, event.study_instance_uid
            yield Erased(slot=slot, digest=event.digest, erased_at=_milliseconds(record))


def _conflict(record: Record, event: ImageConflicted) -> rows.Row:
    (_, partition), offset = record.position
    return (
        event.sop_instance_uid,
        event.study_instance_uid,
        str(event.meta.event_id),
        event.registrant,
        event.registered.digest,
        event.refused.digest,
        event.refused.size,
        event.refused.transfer_syntax_uid,
        0,
        _milliseconds(record),
        partition,
        offset,
    )


def _milliseconds(record: Record) -> int:
    return round(record.timestamp.timestamp() * 1000)
