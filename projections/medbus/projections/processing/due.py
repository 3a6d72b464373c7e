"""Which completed requests have images to be registered, or destinations to be answered."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, delete, select

from medbus.projections import rows
from medbus.projections.processing import tables
from medbus.projections.processing.tables import Milestone
from medbus.schemas.events import Answer, Keep

_R, _D, _M, _A = tables.requests.c, tables.decisions.c, tables.milestones.c, tables.answers.c
_destinations = msgspec.json.Decoder(tuple[str, ...])

KEPT = frozenset({Keep.BEFORE.value, Keep.AFTER.value, Keep.BOTH.value})
"""What is to be registered needs registering."""

SENT = frozenset({Answer.C_STORE.value, Answer.WEBHOOK.value})
"""Answers that the service sends by itself."""


def settle(connection: Connection, request_ids: Sequence[str]) -> None:
    """Work out anew, from the other tables, what is due for some requests.

    Args:
        connection: within a transaction.
        request_ids: about which something is new.
    """
    if not request_ids:
        return
    dialect, given = connection.dialect.name, rows.given(request_ids)
    decided = connection.execute(_decided(dialect), given).all()
    rows.add(connection, tables.parties, [row for each in decided for row in _parties(each)])
    for table in (tables.unkept, tables.unanswered):
        connection.execute(_forgotten(table, dialect), given)
    at = {(row.request_id, row.kind): row.at for row in connection.execute(_milestones(dialect), given)}
    answered = {tuple(row) for row in connection.execute(_answered(dialect), given)}
    unkept: list[rows.Row] = []
    unanswered: list[rows.Row] = []
    for row in decided:
        completed_at = at.get((row.request_id, Milestone.COMPLETED))
        if completed_at is None or row.reason is not None:
            continue
        if row.keep in KEPT and (row.request_id, Milestone.KEPT) not in at:
            unkept.append((row.request_id, completed_at))
        elif row.answer in SENT:
            unanswered.extend(
                (row.request_id, destination, completed_at)
                for destination in destinations(row.destinations, row.subscriber)
                if (row.request_id, destination) not in answered
            )
    rows.add(connection, tables.unkept, unkept)
    rows.add(connection, tables.unanswered, unanswered)


def destinations(asked: str, subscriber: str | None) -> tuple[str, ...]:
    """Who is to get the results, each once: those that the request names, or else who asked.

    Args:
        asked: those that the request names, as JSON.
        subscriber: who asked.
    """
    named = tuple(dict.fromkeys(_destinations.decode(asked)))
    return named or (() if subscriber is None else (subscriber,))


def _parties(row: Row[Any]) -> Iterator[rows.Row]:
    """Who may see a request. Nobody was promised anything by one that was rejected."""
    parties = {row.subscriber}
    if row.reason is None:
        parties.update(destinations(row.destinations, row.subscriber))
    return ((row.request_id, party, row.requested_at) for party in sorted(parties - {None}))


@cache
def _decided(dialect: str) -> Select[Any]:
    return (
        select(
            *(_R.request_id, _R.requested_at, _R.keep, _R.answer, _R.destinations),
            *(_D.subscriber, _D.reason),
        )
        .join_from(tables.requests, tables.decisions, _R.request_id == _D.request_id)
        .where(rows.among_given(dialect, _R.request_id))
    )


@cache
def _milestones(dialect: str) -> Select[Any]:
    return select(_M.request_id, _M.kind, _M.at).where(rows.among_given(dialect, _M.request_id))


@cache
def _answered(dialect: str) -> Select[Any]:
    return select(_A.request_id, _A.destination).where(rows.among_given(dialect, _A.request_id))


@cache
def _forgotten(table: Any, dialect: str) -> Any:
    return delete(table).where(rows.among_given(dialect, table.c.request_id))
