"""Builds the processing catalog from requests, decisions, work, processing and answers.

All events of one kind about one request share a partition, so of several the first in the log counts, and
the others are nothing. Only the plans of an item may be in several, one for each slot; they are kept apart.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, select

from medbus.bus import Record, Undecodable
from medbus.projections import rows
from medbus.projections.instants import microseconds
from medbus.projections.processing import due, outstanding, tables
from medbus.projections.processing.job import ItemState
from medbus.projections.processing.tables import Milestone
from medbus.projections.projection import Projection
from medbus.schemas.events import (
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    RequestAuthorized,
    RequestRejected,
    ResultsAnswered,
    ResultsKept,
    ServerStarted,
)
from medbus.schemas.topics import DECISIONS, DELIVERIES, PROCESSING, REQUESTS, WORK

REQUEST = ProcessingRequested.__name__

Placed = tuple[Table, rows.Row]
"""A row, and the table that it belongs to."""


class ProcessingProjection(Projection):
    """All processing requests, their items and results."""

    name = "processing"
    topics = (REQUESTS, DECISIONS, PROCESSING, WORK, DELIVERIES)
    metadata = tables.metadata

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        new = _rows(records)
        if not new:
            return
        for table in (tables.requests, tables.decisions, tables.milestones, tables.answers, tables.results):
            rows.add(connection, table, new[table])
        _start(connection, new[tables.servers])
        done = rows.added(connection, tables.outcomes, new[tables.outcomes])
        _count(connection, done)
        planned = rows.added(connection, tables.planned, new[tables.planned])
        happened = new[tables.milestones]
        completed = [request_id for request_id, kind, *_ in happened if kind == Milestone.COMPLETED]
        outstanding.settle(
            connection,
            planned=[row[:3] for row in planned if row[3] is None],
            done=[row[:2] for row in done],
            completed=completed,
        )
        decided = {row[0] for table in (tables.requests, tables.decisions) for row in new[table]}
        kept = {request_id for request_id, kind, *_ in happened if kind == Milestone.KEPT}
        answered = {row[0] for row in new[tables.answers]}
        due.settle(connection, sorted(decided | kept | answered | set(completed)))


def _rows(records: Sequence[Record]) -> Mapping[Table, list[rows.Row]]:
    """The rows that events lead to, by table, in the order of the events."""
    new: defaultdict[Table, list[rows.Row]] = defaultdict(list)
    for record in records:
        place = _PLACES.get(type(record.event))
        if place is not None and (placed := place(record, record.event)) is not None:
            new[placed[0]].append(placed[1])
    return new


def _request(record: Record, event: ProcessingRequested) -> Placed:
    (_, partition), offset = record.position
    return tables.requests, (
        *(str(event.request_id), str(event.meta.correlation_id), microseconds(record.timestamp)),
        *(partition, offset, event.processing_type, _json(event.parameters)),
        *(event.keep.value, event.answer.value, _json(event.destinations), _json(event)),
    )


def _authorized(_: Record, event: RequestAuthorized) -> Placed | None:
    if event.request != REQUEST:
        return None
    return tables.decisions, (str(event.request_id), event.subscriber, None, "", _json(event))


def _rejected(_: Record, event: RequestRejected) -> Placed | None:
    if event.request != REQUEST:
        return None
    said = event.subscriber, event.reason.value, event.detail
    return tables.decisions, (str(event.request_id), *said, None)


def _milestone(
    kind: Milestone, record: Record, request_id: object, of: tuple[int | None, int | None], reason: str
) -> Placed:
    at = microseconds(record.timestamp), record.position.offset
    return tables.milestones, (str(request_id), kind.value, *at, *of, reason)


def _started(record: Record, event: ProcessingStarted) -> Placed:
    return _milestone(Milestone.STARTED, record, event.grant_id, (event.items, event.images), "")


def _cancelled(record: Record, event: ProcessingCancelled) -> Placed:
    return _milestone(Milestone.CANCELLED, record, event.grant_id, (None, None), "")


def _completed(record: Record, event: ProcessingCompleted) -> Placed:
    return _milestone(Milestone.COMPLETED, record, event.grant_id, (None, None), "")


def _kept(record: Record, event: ResultsKept) -> Placed:
    return _milestone(Milestone.KEPT, record, event.grant_id, (None, None), "")


def _failed(record: Record, event: ProcessingFailed) -> Placed:
    if event.item is None:
        return _milestone(Milestone.FAILED, record, event.grant_id, (None, None), event.reason)
    return _outcome(record, event, event.item, ItemState.FAILED, server=event.server, reason=event.reason)


def _processed(record: Record, event: ItemProcessed) -> Placed:
    return _outcome(
        *(record, event, event.item, ItemState.PROCESSED),
        server=event.server,
        identity=event.identity,
        sums=(event.images, event.bytes, event.milliseconds, event.results),
        findings=event.findings,
    )


def _skipped(record: Record, event: ItemSkipped) -> Placed:
    return _outcome(record, event, event.item, ItemState.SKIPPED)


def _outcome(
    record: Record,
    event: ItemProcessed | ProcessingFailed | ItemSkipped,
    item: int,
    state: ItemState,
    *,
    server: str | None = None,
    identity: str | None = None,
    sums: tuple[int, int, int, int] = (0, 0, 0, 0),
    reason: str = "",
    findings: tuple[str, ...] = (),
) -> Placed:
    (_, partition), offset = record.position
    return tables.outcomes, (
        *(str(event.grant_id), item, state.value, server, identity, *sums, reason, _json(findings)),
        *(microseconds(record.timestamp), partition, offset),
    )


def _plan(record: Record, event: ItemPlanned) -> Placed:
    at = microseconds(record.timestamp)
    return tables.planned, (str(event.grant_id), event.item, event.slot, event.server, event.identity, at)


def _result(_: Record, event: ImageProcessed) -> Placed:
    blob = event.blob
    return tables.results, (
        *(str(event.grant_id), event.item, event.number, event.processing_type, event.description),
        *(event.study_instance_uid, event.series_instance_uid, event.sop_class_uid, event.sop_instance_uid),
        *(blob.digest, blob.size, blob.transfer_syntax_uid),
    )


def _answer(_: Record, event: ResultsAnswered) -> Placed:
    return tables.answers, (str(event.grant_id), event.destination, _json(event))


def _server(_: Record, event: ServerStarted) -> Placed:
    return tables.servers, (event.server, microseconds(event.meta.occurred_at), event.cores)


_PLACES: Mapping[type[Event | Undecodable], Callable[[Record, Any], Placed | None]] = {
    ProcessingRequested: _request,
    RequestAuthorized: _authorized,
    RequestRejected: _rejected,
    ProcessingStarted: _started,
    ProcessingCancelled: _cancelled,
    ProcessingFailed: _failed,
    ProcessingCompleted: _completed,
    ItemPlanned: _plan,
    ItemProcessed: _processed,
    ItemSkipped: _skipped,
    ImageProcessed: _result,
    ResultsKept: _kept,
    ResultsAnswered: _answer,
    ServerStarted: _server,
}
"""What each event leads to. Most others on the same topics are of no concern here."""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _start(connection: Connection, started: Sequence[rows.Row]) -> None:
    """Note servers: of several times at which one began to work, the last."""
    if not started:
        return
    table = tables.servers
    named = rows.among(connection, table.c.server, sorted({row[0] for row in started}))
    last: dict[str, tuple[int, int]] = {}
    for server, *start in (*connection.execute(select(table).where(named)), *started):
        last[server] = max(last.get(server, (0, 0)), (start[0], start[1]))
    rows.replace(connection, table, [(server, *start) for server, start in last.items()])


_COUNTED = (ItemState.PROCESSED.value, ItemState.FAILED.value, ItemState.SKIPPED.value)


def _count(connection: Connection, done: Sequence[rows.Row]) -> None:
    """Add outcomes, each of them once, to the sums of their requests."""
    sums: dict[str, list[int]] = {}
    sessions: set[tuple[str, str]] = set()
    for request_id, _, state, server, _, *quantities in done:
        added = sums.setdefault(request_id, [0] * 7)
        added[_COUNTED.index(state)] += 1
        for number in range(4):
            added[3 + number] += quantities[number]
        if state == ItemState.PROCESSED and server is not None:
            sessions.add((request_id, server))
    rows.count(connection, tables.progress, [(request_id, *added) for request_id, added in sums.items()])
    rows.add(connection, tables.sessions, sorted(sessions))
