"""Looks up requests."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Row, Select, select

from medbus.bus import Partition, Position
from medbus.projections.database import Database
from medbus.projections.instants import instant, microseconds
from medbus.projections.requests import tables
from medbus.projections.requests.request import LoggedRequest, Outcome
from medbus.schemas.events import RejectionReason
from medbus.schemas.topics import DECISIONS, REQUESTS

_R, _D = tables.requests.c, tables.decisions.c
_COLUMNS = (
    *(_R.request_id, _R.kind, _R.conversation, _R.asked_at, _R.calling_ae_title, _R.address),
    *(_R.log_partition, _R.log_offset),
    *(_D.subscriber, _D.outcome, _D.reason, _D.detail, _D.decided_at),
    *(_D.expires_at, _D.max_bytes, _D.used_bytes),
    *(_D.log_partition.label("decision_partition"), _D.log_offset.label("decision_offset")),
)
_SAME = _R.request_id == _D.request_id
_LOGGED = select(*_COLUMNS).select_from(tables.requests.outerjoin(tables.decisions, _SAME))
_DECIDED = select(*_COLUMNS).select_from(tables.decisions.join(tables.requests, _SAME))


class RequestReader:
    """Requests as the catalog has them.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, request_id: UUID) -> LoggedRequest | None:
        """The request with an id."""
        found = await self._all(_LOGGED.where(_R.request_id == str(request_id)))
        return found[0] if found else None

    async def requests(
        self,
        *,
        subscriber: str | None = None,
        kind: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 1000,
    ) -> list[LoggedRequest]:
        """Requests, those made last first.

        Args:
            subscriber: only of this one; that of a request is known when it is decided.
            kind: only of this kind: the class of the events.
            outcome: only those on which this was decided.
            since: only what was asked then or later.
            until: only what was asked before.
            limit: at most so many; None for all.
        """
        decided = subscriber is not None or outcome in {Outcome.AUTHORIZED, Outcome.REJECTED}
        # Decisions know when they were asked for, so that one index answers.
        asked_at = _D.asked_at if decided else _R.asked_at
        wanted: list[ColumnElement[bool]] = []
        if subscriber is not None:
            wanted.append(_D.subscriber == subscriber)
        if outcome is Outcome.UNDECIDED:
            wanted.append(_D.outcome.is_(None))
        elif outcome is not None:
            wanted.append(_D.outcome == outcome.value)
        if kind is not None:
            wanted.append(_R.kind == kind)
        if since is not None:
            wanted.append(asked_at >= microseconds(since))
        if until is not None:
            wanted.append(asked_at < microseconds(until))
        newest = asked_at.desc(), _R.log_offset.desc(), _R.log_partition.desc()
        statement = (_DECIDED if decided else _LOGGED).where(*wanted).order_by(*newest).limit(limit)
        return await self._all(statement)

    async def _all(self, statement: Select[Any]) -> list[LoggedRequest]:
        return await self._database.read(
            lambda connection: [_logged(row) for row in connection.execute(statement)]
        )


def _logged(row: Row[Any]) -> LoggedRequest:
    request = LoggedRequest(
        request_id=UUID(row.request_id),
        kind=row.kind,
        conversation=UUID(row.conversation),
        asked_at=instant(row.asked_at),
        calling_ae_title=row.calling_ae_title,
        address=row.address,
        position=Position(Partition(REQUESTS.name, row.log_partition), row.log_offset),
    )
    if row.outcome is None:
        return request
    return replace(
        request,
        subscriber=row.subscriber,
        outcome=Outcome(row.outcome),
        reason=None if row.reason is None else RejectionReason(row.reason),
        detail=row.detail,
        decided_at=instant(row.decided_at),
        decision_position=Position(Partition(DECISIONS.name, row.decision_partition), row.decision_offset),
        expires_at=None if row.expires_at is None else instant(row.expires_at),
        max_bytes=row.max_bytes,
        used_bytes=row.used_bytes,
    )
