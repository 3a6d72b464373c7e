"""From rows of the processing catalog to what it tells."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, Table, select

from medbus.projections import rows
from medbus.projections.instants import instant
from medbus.projections.processing import tables
from medbus.projections.processing.due import destinations
from medbus.projections.processing.job import Item, ItemState, Job, State, StoredResult
from medbus.projections.processing.tables import Milestone
from medbus.schemas.events import Answer, Blob, Keep

_R = tables.requests.c
_parameters = msgspec.json.Decoder(dict[str, str])
_findings = msgspec.json.Decoder(tuple[str, ...])

_HEAD = (
    *(_R.request_id, _R.conversation, _R.requested_at, _R.processing_type, _R.parameters),
    *(_R.keep, _R.answer, _R.destinations),
)


def jobs(connection: Connection, request_ids: Sequence[str]) -> list[Job]:
    """Requests in the order of their ids; those that are not known are left out."""
    if not request_ids:
        return []
    dialect, given = connection.dialect.name, rows.given(request_ids)

    def found(table: Table) -> Iterable[Row[Any]]:
        return connection.execute(_of(table, dialect), given)

    heads = {row.request_id: row for row in found(tables.requests)}
    decisions = {row.request_id: row for row in found(tables.decisions)}
    progress = {row.request_id: row for row in found(tables.progress)}
    milestones: dict[str, dict[str, Row[Any]]] = {}
    for row in found(tables.milestones):
        milestones.setdefault(row.request_id, {})[row.kind] = row
    return [
        _job(heads[each], decisions.get(each), milestones.get(each, {}), progress.get(each))
        for each in request_ids
        if each in heads
    ]


@cache
def _of(table: Table, dialect: str) -> Select[Any]:
    columns: Any = {tables.requests: _HEAD, tables.decisions: tuple(table.c)[:4]}.get(table, tuple(table.c))
    return select(*columns).where(rows.among_given(dialect, table.c.request_id))


def _job(
    head: Row[Any], decision: Row[Any] | None, happened: dict[str, Row[Any]], progress: Row[Any] | None
) -> Job:
    subscriber = None if decision is None else decision.subscriber
    job = Job(
        request_id=UUID(head.request_id),
        conversation=UUID(head.conversation),
        subscriber=subscriber,
        requested_at=instant(head.requested_at),
        processing_type=head.processing_type,
        parameters=_parameters.decode(head.parameters),
        keep=Keep(head.keep),
        answer=Answer(head.answer),
        destinations=destinations(head.destinations, subscriber),
        state=_state(decision, happened),
        started_at=_at(happened, Milestone.STARTED),
        completed_at=_at(happened, Milestone.COMPLETED),
        cancelled_at=_at(happened, Milestone.CANCELLED),
    )
    if (started := happened.get(Milestone.STARTED)) is not None:
        job = replace(job, items=started.item_count, images=started.image_count)
    if progress is not None:
        sums = progress.processed, progress.failed, progress.skipped, progress.results
        job = replace(job, done=sums[0], failed=sums[1], skipped=sums[2], results=sums[3])
    if (failed := happened.get(Milestone.FAILED)) is not None:
        return replace(job, reason=failed.reason)
    if decision is not None and decision.reason is not None:
        return replace(job, reason=decision.reason, detail=decision.detail)
    return job


def _at(happened: dict[str, Row[Any]], kind: Milestone) -> Any:
    row = happened.get(kind)
    return None if row is None else instant(row.at)


def _state(decision: Row[Any] | None, happened: dict[str, Row[Any]]) -> State:
    if Milestone.FAILED in happened:
        return State.FAILED
    if (completed := happened.get(Milestone.COMPLETED)) is not None:
        cancelled = happened.get(Milestone.CANCELLED)
        in_time = cancelled is not None and cancelled.log_offset < completed.log_offset
        return State.CANCELLED if in_time else State.COMPLETED
    if Milestone.STARTED in happened:
        return State.PLANNED
    return State.ASKED if decision is None or decision.reason is None else State.REJECTED


def items(planned: Iterable[Row[Any]], done: Iterable[Row[Any]]) -> list[Item]:
    """Items, by number.

    Args:
        planned: all columns of plans; of several of one item the first made counts.
        done: all columns of outcomes.
    """
    found: dict[int, Item] = {}
    for row in sorted(planned, key=lambda each: (each.planned_at, each.slot)):
        found.setdefault(
            row.item,
            Item(
                request_id=UUID(row.request_id),
                item=row.item,
                server=row.server,
                slot=row.slot,
                identity=row.identity,
                planned_at=instant(row.planned_at),
            ),
        )
    for row in done:
        plan = found.get(row.item)
        found[row.item] = item(row) if plan is None else _done(plan, row)
    return [found[number] for number in sorted(found)]


def item(row: Row[Any]) -> Item:
    """An item that is done, from all columns of its outcome."""
    return _done(Item(request_id=UUID(row.request_id), item=row.item), row)


def _done(plan: Item, row: Row[Any]) -> Item:
    return replace(
        plan,
        state=ItemState(row.state),
        server=row.server,
        identity=plan.identity if row.identity is None else row.identity,
        images=row.images,
        bytes=row.bytes,
        milliseconds=row.milliseconds,
        results=row.results,
        reason=row.reason,
        findings=_findings.decode(row.findings),
        done_at=instant(row.done_at),
    )


def stored_result(row: Row[Any]) -> StoredResult:
    """A result, from all its columns."""
    return StoredResult(
        request_id=UUID(row.request_id),
        item=row.item,
        number=row.number,
        processing_type=row.processing_type,
        description=row.description,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        blob=Blob(digest=row.digest, size=row.size, transfer_syntax_uid=row.transfer_syntax_uid),
    )
