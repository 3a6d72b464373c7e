"""Reads the fees of a closed period, rate after rate, in pieces: a million of them need little memory and no
long transaction.

Between two pieces the catalog may grow or be replaced. That changes nothing: what stands before a closing in
the log is in every catalog that has the closing.
"""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, exists, func, or_, select

from medbus.projections import rows
from medbus.projections.accounts import tables
from medbus.projections.accounts.account import ClosedPeriod
from medbus.projections.accounts.membership import Closing, Membership
from medbus.projections.accounts.stored import FEE_COLUMNS, RATE_COLUMNS, Rate
from medbus.projections.database import Database

FEES_AT_ONCE = 5000

_F, _R, _C = tables.fees.c, tables.rates.c, tables.closings.c

FeeRow = Row[Any]

_FEES: Select[Any] = select(*FEE_COLUMNS).order_by(_F.log_offset)


class _Plan(NamedTuple):
    """How to read the fees of a closed period.

    Attributes:
        rates: of all its fees, in the order of lines.
        first: no fee but those that it caused has a lower offset.
        caused: the fees that it caused, by rate.
    """

    membership: Membership
    rates: list[Rate]
    first: int
    caused: dict[int, list[FeeRow]]


async def billed(
    database: Database, closed: ClosedPeriod, currency: str | None = None
) -> AsyncGenerator[tuple[Rate, Sequence[FeeRow]], None]:
    """The fees of a closed period.

    Args:
        database: an open database.
        closed: the period.
        currency: only fees in this one.

    Yields:
        A rate and some of its fees by their offsets, those that the closing itself caused last; rates in the
        order of lines. A rate comes several times, or without fees.
    """
    plan = await database.read(partial(_plan, closed=closed, currency=currency))
    for rate in plan.rates:
        after: int | None = plan.first - 1
        while after is not None:
            piece, after = await database.read(
                partial(_piece, rate=rate.rate, after=after, before=closed.position.offset)
            )
            yield rate, [each for each in piece if _belongs(each, plan.membership)]
        yield rate, plan.caused.get(rate.rate, [])


def _plan(connection: Connection, closed: ClosedPeriod, currency: str | None) -> _Plan:
    closing = Closing.of(closed)
    membership = Membership(closing, _earlier(connection, closed))
    caused: dict[int, list[FeeRow]] = {}
    for row in connection.execute(
        _FEES.where(_F.cause_id == closing.event_id, _F.subscriber == closed.subscriber)
    ):
        if membership.holds(row.charged_at, row.log_offset, row.cause_id):
            caused.setdefault(row.rate, []).append(row)
    first = _first(connection, closed.subscriber, membership)
    standing = exists().where(
        _F.rate == _R.rate, _F.log_offset >= first, _F.log_offset < closed.position.offset
    )
    statement = select(*RATE_COLUMNS).where(
        _R.subscriber == closed.subscriber, or_(standing, rows.among(connection, _R.rate, list(caused)))
    )
    if currency is not None:
        statement = statement.where(_R.currency == currency)
    rates = [Rate(*row) for row in connection.execute(statement)]
    return _Plan(membership, sorted(rates, key=Rate.line), first, caused)


def _earlier(connection: Connection, closed: ClosedPeriod) -> list[Closing]:
    statement = select(_C.event_id, _C.end_at, _C.log_offset).where(
        _C.subscriber == closed.subscriber, _C.log_offset < closed.position.offset
    )
    return [
        Closing(event_id=event_id, end=end, offset=offset)
        for event_id, end, offset in connection.execute(statement)
    ]


def _first(connection: Connection, subscriber: str, membership: Membership) -> int:
    """An offset before which there is no fee of the period."""
    if membership.since is None:
        return 0
    since, offset = membership.since
    in_time = connection.scalar(
        select(func.min(_F.log_offset)).where(
            _F.subscriber == subscriber, _F.charged_at >= since, _F.charged_at < membership.closing.end
        )
    )
    return offset if in_time is None else min(offset, in_time)


def _piece(connection: Connection, rate: int, after: int, before: int) -> tuple[Sequence[FeeRow], int | None]:
    """Some fees of a rate, and the offset after which there are more."""
    found = connection.execute(
        _FEES.where(_F.rate == rate, _F.log_offset > after, _F.log_offset < before).limit(FEES_AT_ONCE)
    ).all()
    return found, found[-1].log_offset if len(found) == FEES_AT_ONCE else None


def _belongs(fee: FeeRow, membership: Membership) -> bool:
    """Whether a fee is one of the period's that are not caused by its closing."""
    return fee.cause_id != membership.closing.event_id and membership.holds(
        fee.charged_at, fee.log_offset, fee.cause_id
    )
