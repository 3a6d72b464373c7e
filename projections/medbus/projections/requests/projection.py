"""Builds the request catalog from requests and decisions."""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, Update, select

from medbus.bus import Record
from medbus.projections import rows
from medbus.projections.instants import microseconds
from medbus.projections.projection import Projection
from medbus.projections.requests import tables
from medbus.projections.requests.request import Outcome
from medbus.schemas.events import Decision, Request, RequestAuthorized, RequestRejected
from medbus.schemas.topics import DECISIONS, REQUESTS


class RequestProjection(Projection):
    """All requests, and what was decided on them."""

    name = "requests"
    topics = (REQUESTS, DECISIONS)
    metadata = tables.metadata

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        asked = [_request(record, record.event) for record in records if isinstance(record.event, Request)]
        decided = [
            _decision(record, record.event)
            for record in records
            if isinstance(record.event, RequestAuthorized | RequestRejected)
        ]
        rows.add(connection, tables.requests, asked)
        rows.add(connection, tables.decisions, decided)
        _date(connection, [row[0] for row in (*asked, *decided)])


def _date(connection: Connection, request_ids: Sequence[str]) -> None:
    """Let decisions say when their requests were made: they are looked up by that, too."""
    if request_ids:
        connection.execute(_dating(connection.dialect.name), rows.given(request_ids))


@cache
def _dating(dialect: str) -> Update:
    decisions, asked = tables.decisions, tables.requests.c
    asked_at = select(asked.asked_at).where(asked.request_id == decisions.c.request_id).scalar_subquery()
    return (
        decisions.update()
        .where(rows.among_given(dialect, decisions.c.request_id), decisions.c.asked_at.is_(None))
        .values(asked_at=asked_at)
    )


def _request(record: Record, event: Request) -> rows.Row:
    (_, partition), offset = record.position
    return (
        str(event.request_id),
        type(event).__name__,
        str(event.meta.correlation_id),
        microseconds(record.timestamp),
        event.evidence.calling_ae_title,
        event.evidence.address,
        partition,
        offset,
    )


def _decision(record: Record, event: Decision) -> rows.Row:
    (_, partition), offset = record.position
    head = str(event.request_id), event.subscriber
    place = partition, offset, None
    at = microseconds(record.timestamp)
    if isinstance(event, RequestRejected):
        said = Outcome.REJECTED.value, event.reason.value, event.detail
        return *head, *said, at, None, None, None, *place
    expires_at = microseconds(event.expires_at)
    said_yes = Outcome.AUTHORIZED.value, None, ""
    return *head, *said_yes, at, expires_at, event.max_bytes, event.used_bytes, *place
