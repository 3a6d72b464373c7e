"""Looks up images, and answers queries."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, func, select

from medbus.bus import Partition, Position
from medbus.projections import rows
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError
from medbus.projections.images import search, tables
from medbus.projections.images.conflicts import (
    ImageConflict,
    PatientConflict,
    image_conflicts,
    patient_conflicts,
)
from medbus.projections.images.query import Query
from medbus.projections.images.scope import EVERYTHING, within
from medbus.projections.images.search import Answer
from medbus.projections.instants import microseconds
from medbus.schemas.events import Blob, Scope, Value
from medbus.schemas.topics import IMAGES

ANSWERS_AT_ONCE = 500
"""Answers are read in pages: what is read in one go holds back old pages of the database's log."""

_H, _I = tables.holdings.c, tables.images.c


class StoredImage(Value):
    """An image that is served, and where its event stands in the log."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    patient_id: str
    registrant: str
    apparatus_id: str | None
    modality: str
    instance_number: int | None
    imaging_date: str
    imaging_time: str
    blob: Blob
    position: Position


class Usage(Value):
    """What a subscriber has registered: number and bytes of the images."""

    images: int = 0
    bytes: int = 0


class CatalogFilter(Value):
    """Which images; None leaves that side open. Dates are imaging dates, YYYYMMDD, both included."""

    patient_id: str | None = None
    registrant: str | None = None
    apparatus_id: str | None = None
    modality: str | None = None
    study_instance_uid: str | None = None
    date_from: str | None = None
    date_to: str | None = None


class CatalogRow(Value):
    """A line of the image catalog; the size is in bytes."""

    registrant: str
    patient_id: str
    imaging_date: str
    apparatus_id: str | None
    modality: str
    size: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


_JOINED = tables.images.join(tables.holdings, _I.holding == _H.holding)
_STORED = select(
    _H.study_instance_uid,
    _H.series_instance_uid,
    _I.sop_instance_uid,
    _H.sop_class_uid,
    _H.patient_id,
    _H.registrant,
    _H.apparatus_id,
    _H.modality,
    _I.instance_number,
    _I.imaging_date,
    _I.imaging_time,
    _I.digest,
    _I.size,
    _H.transfer_syntax_uid,
    _H.log_partition,
    _I.log_offset,
).select_from(_JOINED)
_ROWS = (
    select(
        _H.registrant,
        _H.patient_id,
        _I.imaging_date,
        _H.apparatus_id,
        _H.modality,
        _I.size,
        _H.study_instance_uid,
        _H.series_instance_uid,
        _I.sop_instance_uid,
    )
    .select_from(_JOINED)
    .order_by(_I.registered_at.desc(), _I.sop_instance_uid)
)


_KNOWN = (
    select(_I.digest, _I.size, _H.transfer_syntax_uid, _H.study_instance_uid)
    .select_from(tables.images.join(tables.holdings, _I.holding == _H.holding))
    .where(_I.sop_instance_uid == bindparam("sop_instance_uid"))
)
_ERASED = select(tables.erasures.c.digest).where(
    tables.erasures.c.sop_instance_uid == bindparam("sop_instance_uid"),
    tables.erasures.c.digest == bindparam("digest"),
)


class KnownImage(NamedTuple):
    """What is served under a SOP Instance UID, and the study that it is in."""

    blob: Blob
    study_instance_uid: str


class ImageReader:
    """Images as the catalog has them.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def image(self, sop_instance_uid: str, scope: Scope = EVERYTHING) -> StoredImage | None:
        """The image that is served under a SOP Instance UID."""
        statement = _STORED.where(_I.sop_instance_uid == sop_instance_uid, within(scope))
        found = await self._stored(statement)
        return found[0] if found else None

    async def images(
        self, sop_instance_uids: Collection[str], scope: Scope = EVERYTHING
    ) -> list[StoredImage]:
        """The images that are served under some SOP Instance UIDs, by study, series and number."""
        return (
            await self.select(sop_instance_uids=sop_instance_uids, scope=scope) if sop_instance_uids else []
        )

    async def select(
        self,
        *,
        patient_ids: Collection[str] = (),
        study_instance_uids: Collection[str] = (),
        series_instance_uids: Collection[str] = (),
        sop_instance_uids: Collection[str] = (),
        scope: Scope = EVERYTHING,
    ) -> list[StoredImage]:
        """The images to retrieve (PS3.4 C.4.2), by study, series and number.

        Args:
            patient_ids: only of these patients, unless there are none; and so on.
            scope: only what lies within.
        """
        wanted = [
            (_H.patient_id, patient_ids),
            (_H.study_instance_uid, study_instance_uids),
            (_H.series_instance_uid, series_instance_uids),
            (_I.sop_instance_uid, sop_instance_uids),
        ]

        def work(connection: Connection) -> list[StoredImage]:
            among = [rows.among(connection, column, list(values)) for column, values in wanted if values]
            return _images(connection, _STORED.where(within(scope), *among))

        found = await self._database.read(work)
        return sorted(found, key=_reading_order)

    async def find(
        self, query: Query, scope: Scope = EVERYTHING, *, limit: int | None = None, offset: int = 0
    ) -> AsyncIterator[Answer]:
        """The answers to a query, in an order that does not change between calls.

        Args:
            query: what is sought.
            scope: answers and counts are of what lies within, and nothing else.
            limit: at most so many answers.
            offset: leave out so many answers first.

        Yields:
            What was asked for by DICOM keyword, and the unique key of the level. A key that is not supported
            has None.
        """
        after: search.Place | None = None
        while limit is None or limit > 0:
            size = ANSWERS_AT_ONCE if limit is None else min(limit, ANSWERS_AT_ONCE)
            answers, after = await self._database.read(
                partial(search.page, query=query, scope=scope, after=after, size=size, skip=offset)
            )
            for answer in answers:
                yield answer
            if after is None:
                return
            offset = 0
            limit = None if limit is None else limit - size

    async def usage(self, registrant: str) -> Usage:
        """What a subscriber has registered."""
        table = tables.usage.c
        statement = select(table.images, table.bytes).where(table.registrant == registrant)
        found = await self._database.read(lambda connection: connection.execute(statement).first())
        return Usage() if found is None else Usage(images=found[0], bytes=found[1])

    async def byte_seconds(self, registrant: str, start: datetime, end: datetime) -> int:
        """How much a subscriber had in the store, and for how long: bytes times seconds.

        Args:
            registrant: the subscriber.
            start: the first instant; a whole minute.
            end: the first instant that no longer counts; a whole minute.

        Raises:
            CatalogError: start or end is no whole minute.
        """
        first, last = _minute(start), _minute(end)
        return await self._database.read(
            lambda connection: _byte_seconds(connection, registrant, first, last)
        )

    async def catalog(
        self, chosen: CatalogFilter | None = None, *, scope: Scope = EVERYTHING, limit: int | None = None
    ) -> list[CatalogRow]:
        """Lines of the catalog, those registered last first."""
        statement = _ROWS.where(within(scope), *_chosen(chosen or CatalogFilter())).limit(limit)
        fields = CatalogRow.__struct_fields__

        def work(connection: Connection) -> list[CatalogRow]:
            found = connection.execute(statement)
            return [CatalogRow(**dict(zip(fields, row, strict=True))) for row in found]

        return await self._database.read(work)

    async def erased(self, sop_instance_uid: str, digest: str) -> bool:
        """Whether these contents of an image were erased: they never come back."""
        keys = {"sop_instance_uid": sop_instance_uid, "digest": digest}
        return await self._database.look(_ERASED, keys) is not None

    async def known(self, sop_instance_uid: str) -> KnownImage | None:
        """What is served under a SOP Instance UID: for whoever asks about each image that comes."""
        row = await self._database.look(_KNOWN, {"sop_instance_uid": sop_instance_uid})
        if row is None:
            return None
        digest, size, transfer_syntax_uid, study_instance_uid = row
        blob = Blob(digest=digest, size=size, transfer_syntax_uid=transfer_syntax_uid)
        return KnownImage(blob, study_instance_uid)

    async def conflicts(self, *, sop_instance_uid: str | None = None) -> list[ImageConflict]:
        """Other contents that came under a SOP Instance UID, of one image or of all, the oldest first."""
        return await self._database.read(partial(image_conflicts, sop_instance_uid=sop_instance_uid))

    async def patient_conflicts(self) -> list[PatientConflict]:
        """Patient ids of more than one person, and studies of more than one patient id."""
        return await self._database.read(patient_conflicts)

    async def _stored(self, statement: Select[Any]) -> list[StoredImage]:
        return await self._database.read(lambda connection: _images(connection, statement))


def _minute(moment: datetime) -> int:
    minute, rest = divmod(microseconds(moment), 60_000_000)
    if rest:
        raise CatalogError(f"{moment.isoformat()} is no whole minute.", "Usage is counted by minutes.")
    return minute


def _byte_seconds(connection: Connection, registrant: str, first: int, last: int) -> int:
    table = tables.usage_by_minute.c
    mine = table.registrant == registrant
    before = connection.scalar(select(func.sum(table.bytes)).where(mine, table.minute < first))
    total = int(before or 0) * (last - first) * 60
    within = select(table.minute, table.bytes, table.byte_seconds).where(
        mine, table.minute >= first, table.minute < last
    )
    # Added up here: for a database's numbers the sum may be too great.
    for minute, size, seconds in connection.execute(within):
        total += seconds + size * (last - minute - 1) * 60
    return total


def _images(connection: Connection, statement: Select[Any]) -> list[StoredImage]:
    return [
        StoredImage(
            study_instance_uid=study,
            series_instance_uid=series,
            sop_instance_uid=uid,
            sop_class_uid=sop_class,
            patient_id=patient,
            registrant=registrant,
            apparatus_id=apparatus,
            modality=modality,
            instance_number=number,
            imaging_date=imaging_date,
            imaging_time=imaging_time,
            blob=Blob(digest=digest, size=size, transfer_syntax_uid=transfer_syntax),
            position=Position(Partition(IMAGES.name, partition), offset),
        )
        for (
            study,
            series,
            uid,
            sop_class,
            patient,
            registrant,
            apparatus,
            modality,
            number,
            imaging_date,
            imaging_time,
            digest,
            size,
            transfer_syntax,
            partition,
            offset,
        ) in connection.execute(statement)
    ]


def _reading_order(image: StoredImage) -> tuple[str, str, bool, int, str]:
    number = image.instance_number
    return (
        image.study_instance_uid,
        image.series_instance_uid,
        number is None,
        number or 0,
        image.sop_instance_uid,
    )


def _chosen(chosen: CatalogFilter) -> Sequence[Any]:
    wanted = [
        (_H.patient_id, chosen.patient_id),
        (_H.registrant, chosen.registrant),
        (_H.apparatus_id, chosen.apparatus_id),
        (_H.modality, chosen.modality),
        (_H.study_instance_uid, chosen.study_instance_uid),
    ]
    conditions = [column == value for column, value in wanted if value is not None]
    if chosen.date_from is not None or chosen.date_to is not None:
        # Dates that are malformed lie in no range.
        conditions.append(func.length(_I.imaging_date) == 8)
        conditions.append(_I.imaging_date >= (chosen.date_from or "00000000"))
        conditions.append(_I.imaging_date <= (chosen.date_to or "99999999"))
    return conditions
