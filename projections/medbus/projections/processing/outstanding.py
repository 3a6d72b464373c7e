"""Which items are to be done by any server, and how many of them are in each slot."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, delete, select
from sqlalchemy.sql.dml import ReturningDelete

from medbus.projections import rows
from medbus.projections.processing import tables
from medbus.projections.processing.tables import Milestone

_Removal = ReturningDelete[*tuple[Any, ...]]

_P, _O, _M = tables.outstanding.c, tables.outcomes.c, tables.milestones.c


def settle(
    connection: Connection,
    *,
    planned: Sequence[rows.Row],
    done: Sequence[rows.Row],
    completed: Sequence[str],
) -> None:
    """Take up what was new; all of it is in the other tables.

    Args:
        connection: within a transaction.
        planned: request, item and slot of new plans for any server.
        done: request and item of new outcomes.
        completed: requests that are completed.
    """
    dialect = connection.dialect.name
    changes: Counter[int] = Counter()
    changes.update(row[2] for row in _open(connection, planned))
    changes.subtract(_removed(connection, _outcome(dialect), done))
    changes.subtract(_removed(connection, _completion(dialect), completed))
    changed = [(slot, change) for slot, change in sorted(changes.items()) if change]
    if changed:
        rows.count(connection, tables.load, changed)
        connection.execute(_EMPTY)


_EMPTY = delete(tables.load).where(tables.load.c.item_count == 0)


def _open(connection: Connection, planned: Sequence[rows.Row]) -> list[rows.Row]:
    """Add plans, but for those of items that are done and of requests that are completed."""
    if not planned:
        return []
    dialect = connection.dialect.name
    requests = sorted({row[0] for row in planned})
    over = set(connection.scalars(_completed(dialect), rows.given(requests)))
    left = [row for row in planned if row[0] not in over]
    if not left:
        return []
    done = {tuple(row) for row in connection.execute(_done(dialect), rows.given(left))}
    return rows.added(connection, tables.outstanding, [row for row in left if row[:2] not in done])


def _removed(connection: Connection, statement: _Removal, given: Sequence[object]) -> Sequence[int]:
    """Remove what is to be done no longer; returns the slot of each."""
    return connection.scalars(statement, rows.given(given)).all() if given else ()


@cache
def _completed(dialect: str) -> Select[tuple[str]]:
    return select(_M.request_id).where(
        rows.among_given(dialect, _M.request_id), _M.kind == Milestone.COMPLETED.value
    )


@cache
def _done(dialect: str) -> Select[tuple[str, int]]:
    return select(_O.request_id, _O.item).where(rows.rows_given(dialect, _O.request_id, _O.item))


@cache
def _outcome(dialect: str) -> _Removal:
    gone = rows.rows_given(dialect, _P.request_id, _P.item)
    return delete(tables.outstanding).where(gone).returning(_P.slot)


@cache
def _completion(dialect: str) -> _Removal:
    gone = rows.among_given(dialect, _P.request_id)
    return delete(tables.outstanding).where(gone).returning(_P.slot)
