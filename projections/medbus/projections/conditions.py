"""The condition catalog: under which conditions images were made.

It holds the conditions of all contents that came; which of them are served, and whose images they are, the
image catalog knows.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, MetaData, Select, Table, or_, select

from medbus.bus import Record
from medbus.projections import rows
from medbus.projections.database import Database
from medbus.projections.images import tables
from medbus.projections.images.scope import EVERYTHING, within
from medbus.projections.projection import Projection
from medbus.schemas.conditions import DescribedCondition, describe
from medbus.schemas.events import ImageErased, ImageRegistered, Scope, Value
from medbus.schemas.topics import IMAGES

metadata = MetaData()

conditions = Table(
    "conditions",
    metadata,
    Column("sop_instance_uid", rows.text_type, primary_key=True),
    Column("digest", rows.text_type, primary_key=True),
    Column("conditions", rows.text_type, doc="keyword to text, as JSON; null where the image was erased"),
)

_I, _H = tables.images.c, tables.holdings.c
_CONDITIONS = (
    select(
        _I.sop_instance_uid,
        _H.patient_id,
        _H.apparatus_id,
        _H.modality,
        _H.study_instance_uid,
        _I.imaging_date,
        conditions.c.conditions,
    )
    .join_from(tables.images, tables.holdings, _I.holding == _H.holding)
    .join(
        conditions,
        (conditions.c.sop_instance_uid == _I.sop_instance_uid) & (conditions.c.digest == _I.digest),
    )
    .where(conditions.c.conditions.is_not(None))
    .order_by(_I.registered_at.desc(), _I.sop_instance_uid)
)
_decoder = msgspec.json.Decoder(dict[str, str])


class ConditionProjection(Projection):
    """The imaging conditions of all images."""

    name = "conditions"
    topics = (IMAGES,)
    metadata = metadata

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        events = [record.event for record in records]
        rows.add(
            connection,
            conditions,
            [
                (event.instance.sop_instance_uid, event.blob.digest, event.conditions)
                for event in events
                if isinstance(event, ImageRegistered) and event.conditions
            ],
        )
        # What was erased stays so: its row is there, should the registration be delivered again.
        erased = {(e.sop_instance_uid, e.digest): None for e in events if isinstance(e, ImageErased)}
        rows.replace(connection, conditions, [(uid, digest, None) for uid, digest in erased])


class ImageConditions(Value):
    """The conditions under which an image was made, in the order of the vocabulary's tags."""

    sop_instance_uid: str
    patient_id: str
    apparatus_id: str | None
    modality: str
    study_instance_uid: str
    imaging_date: str
    conditions: tuple[DescribedCondition, ...]


class ConditionReader:
    """Imaging conditions as the catalog has them.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self,
        *,
        patient_id: str | None = None,
        apparatus_id: str | None = None,
        sop_instance_uid: str | None = None,
        study_instance_uid: str | None = None,
        modality: str | None = None,
        keywords: Collection[str] = (),
        scope: Scope = EVERYTHING,
        limit: int | None = None,
    ) -> list[ImageConditions]:
        """The conditions of images, those registered last first.

        Args:
            patient_id: only of this patient; and so on.
            keywords: only these conditions (DICOM keywords), of images that have one of them.
            scope: only of images within.
            limit: of at most so many images.
        """
        wanted = [
            (_H.patient_id, patient_id),
            (_H.apparatus_id, apparatus_id),
            (_I.sop_instance_uid, sop_instance_uid),
            (_H.study_instance_uid, study_instance_uid),
            (_H.modality, modality),
        ]
        statement = _CONDITIONS.where(
            within(scope), *(column == value for column, value in wanted if value is not None)
        ).limit(limit)

        def work(connection: Connection) -> list[ImageConditions]:
            return _found(connection, statement, frozenset(keywords))

        return await self._database.read(work)


def _found(connection: Connection, statement: Select[Any], keywords: frozenset[str]) -> list[ImageConditions]:
    if keywords:
        has_one = (rows.json_value(connection, conditions.c.conditions, each) for each in sorted(keywords))
        statement = statement.where(or_(*(each.is_not(None) for each in has_one)))
    return [
        ImageConditions(
            sop_instance_uid=uid,
            patient_id=patient_id,
            apparatus_id=apparatus_id,
            modality=modality,
            study_instance_uid=study,
            imaging_date=imaging_date,
            conditions=_described(_decoder.decode(document), modality, keywords),
        )
        for uid, patient_id, apparatus_id, modality, study, imaging_date, document in connection.execute(
            statement
        )
    ]


def _described(
    texts: dict[str, str], modality: str, keywords: frozenset[str]
) -> tuple[DescribedCondition, ...]:
    described = (
        describe(keyword, text, modality)
        for keyword, text in texts.items()
        if not keywords or keyword in keywords
    )
    return tuple(sorted(described, key=lambda each: (each.tag, each.keyword)))
