"""Looks up processing requests, their items and results, and what is still to be done."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select, tuple_

from medbus.projections import rows
from medbus.projections.database import Database
from medbus.projections.instants import instant, microseconds
from medbus.projections.processing import stored, tables
from medbus.projections.processing.job import Item, ItemState, Job, Server, StoredResult, Totals
from medbus.projections.processing.tables import Milestone
from medbus.schemas.events import ProcessingRequested, RequestAuthorized, ResultsAnswered

_request_decoder = msgspec.json.Decoder(ProcessingRequested)
_grant_decoder = msgspec.json.Decoder(RequestAuthorized)
_answer_decoder = msgspec.json.Decoder(ResultsAnswered)

_R, _P, _D, _M = tables.requests.c, tables.parties.c, tables.decisions.c, tables.milestones.c
_L, _O, _S, _A = tables.planned.c, tables.outcomes.c, tables.results.c, tables.answers.c
_G, _N, _C = tables.progress.c, tables.sessions.c, tables.load.c
_ID: BindParameter[str] = bindparam("request_id")
_KIND: BindParameter[str] = bindparam("kind")

_ALL = select(_R.request_id)
_OF_PARTY = select(_R.request_id).join_from(tables.parties, tables.requests, _P.request_id == _R.request_id)
_REQUEST = select(_R.document).where(_R.request_id == _ID)
_GRANT = select(_D.document).where(_D.request_id == _ID)
_CANCELLED = select(_M.at).where(_M.request_id == _ID, _M.kind == _KIND)
_RESULTS = select(tables.results).order_by(_S.item, _S.number)
_SAME = (
    select(tables.outcomes)
    .where(_O.identity == bindparam("identity"))
    .order_by(_O.done_at, _O.log_partition, _O.log_offset)
    .limit(1)
)
_TOTALS = (
    select(
        _M.item_count,
        *(_G.processed, _G.failed, _G.skipped, _G.images, _G.bytes, _G.milliseconds, _G.results),
        select(func.count()).select_from(tables.sessions).where(_N.request_id == _ID).scalar_subquery(),
    )
    .select_from(tables.milestones.outerjoin(tables.progress, _G.request_id == _M.request_id))
    .where(_M.request_id == _ID, _M.kind == _KIND)
)
_LOAD = select(_C.slot, _C.item_count).order_by(_C.slot)
_SERVERS = select(tables.servers).order_by(tables.servers.c.server)
_UNKEPT = select(tables.unkept.c.request_id).order_by(
    tables.unkept.c.completed_at, tables.unkept.c.request_id
)
_UNANSWERED = select(tables.unanswered.c.request_id, tables.unanswered.c.destination).order_by(
    tables.unanswered.c.completed_at, tables.unanswered.c.request_id, tables.unanswered.c.destination
)


class ProcessingReader:
    """Processing as the catalog has it.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def job(self, request_id: UUID) -> Job | None:
        """The request with an id; None as long as it is not known itself."""
        found = await self._database.read(lambda connection: stored.jobs(connection, [str(request_id)]))
        return found[0] if found else None

    async def jobs(
        self,
        *,
        subscriber: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 1000,
    ) -> list[Job]:
        """Requests, those made last first.

        Args:
            subscriber: only those that this one asked for or is a destination of, once they are decided.
            since: only what was asked then or later.
            until: only what was asked before.
            limit: at most so many; None for all.
        """
        of_one = subscriber is not None
        # Who has a part in a request knows when it was made, so that one index answers.
        requested_at = _P.requested_at if of_one else _R.requested_at
        statement = _OF_PARTY.where(_P.subscriber == subscriber) if of_one else _ALL
        if since is not None:
            statement = statement.where(requested_at >= microseconds(since))
        if until is not None:
            statement = statement.where(requested_at < microseconds(until))
        newest = requested_at.desc(), _R.log_offset.desc(), _R.log_partition.desc()
        statement = statement.order_by(*newest).limit(limit)
        return await self._database.read(
            lambda connection: stored.jobs(connection, connection.scalars(statement).all())
        )

    async def request(self, request_id: UUID) -> ProcessingRequested | None:
        """The request as recorded."""
        row = await self._database.look(_REQUEST, {"request_id": str(request_id)})
        return None if row is None else _request_decoder.decode(row[0])

    async def grant(self, request_id: UUID) -> RequestAuthorized | None:
        """The grant as recorded; None if the request is not decided, or was rejected."""
        row = await self._database.look(_GRANT, {"request_id": str(request_id)})
        return None if row is None or row[0] is None else _grant_decoder.decode(row[0])

    async def items(self, request_id: UUID) -> list[Item]:
        """The items of a request, by number."""
        return await self._database.read(lambda connection: _items(connection, str(request_id)))

    async def failures(self, request_id: UUID, limit: int | None = None) -> list[Item]:
        """The failed items of a request, by number; at most so many."""
        failed = (
            select(_O.item)
            .where(_O.request_id == str(request_id), _O.state == ItemState.FAILED.value)
            .order_by(_O.item)
            .limit(limit)
        )

        def work(connection: Connection) -> list[Item]:
            numbers = connection.scalars(failed).all()
            return _items(connection, str(request_id), numbers)

        return await self._database.read(work)

    async def results(
        self,
        request_id: UUID,
        *,
        item: int | None = None,
        after: tuple[int, int] | None = None,
        limit: int | None = None,
    ) -> list[StoredResult]:
        """What came out of a request, by item and number.

        Args:
            request_id: of the request.
            item: only of this one.
            after: only what comes after this item and number.
            limit: at most so many; None for all.
        """
        statement = _RESULTS.where(_S.request_id == str(request_id))
        if item is not None:
            statement = statement.where(_S.item == item)
        if after is not None:
            statement = statement.where(tuple_(_S.item, _S.number) > tuple_(*after))
        return await self._results(statement.limit(limit))

    async def result(self, request_id: UUID, sop_instance_uid: str) -> StoredResult | None:
        """The result of a request with a UID."""
        statement = _RESULTS.where(
            _S.request_id == str(request_id), _S.sop_instance_uid == sop_instance_uid
        ).limit(1)
        found = await self._results(statement)
        return found[0] if found else None

    async def same(self, identity: str) -> list[StoredResult]:
        """What came out of the first item of any request that was processed with an identity, by number."""

        def work(connection: Connection) -> list[StoredResult]:
            row = connection.execute(_SAME, {"identity": identity}).first()
            if row is None:
                return []
            statement = _RESULTS.where(_S.request_id == row.request_id, _S.item == row.item)
            return [stored.stored_result(each) for each in connection.execute(statement)]

        return await self._database.read(work)

    async def same_item(self, identity: str) -> Item | None:
        """The first item of any request that was processed with an identity."""

        def work(connection: Connection) -> Item | None:
            row = connection.execute(_SAME, {"identity": identity}).first()
            return None if row is None else _items(connection, row.request_id, [row.item])[0]

        return await self._database.read(work)

    async def totals(self, request_id: UUID) -> Totals | None:
        """The sums over the items of a request; None before it was split into items."""
        row = await self._database.look(_TOTALS, _of(request_id, Milestone.STARTED))
        if row is None:
            return None
        items, processed, failed, skipped, images, size, milliseconds, results, sessions = row
        return Totals(
            items=items,
            processed=processed or 0,
            failed=failed or 0,
            skipped=skipped or 0,
            sessions=sessions,
            images=images or 0,
            bytes=size or 0,
            milliseconds=milliseconds or 0,
            results=results or 0,
        )

    async def load(self) -> dict[int, int]:
        """How many items that any server may do are waiting or being done, by slot; 0 is left out."""
        return await self._database.read(
            lambda connection: {row.slot: row.item_count for row in connection.execute(_LOAD)}
        )

    async def servers(self) -> list[Server]:
        """All servers that ever began to work, by name."""
        return await self._database.read(
            lambda connection: [
                Server(name=row.server, cores=row.cores, started_at=instant(row.started_at))
                for row in connection.execute(_SERVERS)
            ]
        )

    async def cancelled(self, request_id: UUID) -> bool:
        """Whether a request was cancelled."""
        return await self._database.look(_CANCELLED, _of(request_id, Milestone.CANCELLED)) is not None

    async def unkept(self, limit: int) -> list[Job]:
        """Completed requests of which images are to be registered, and were not; those completed first first.

        Args:
            limit: at most so many.
        """
        statement = _UNKEPT.limit(limit)
        return await self._database.read(
            lambda connection: stored.jobs(connection, connection.scalars(statement).all())
        )

    async def unanswered(self, limit: int) -> list[tuple[Job, str]]:
        """Completed requests with a destination that was not answered; those completed first first.

        Only requests that are answered by C-STORE or by webhook, and where images are to be registered, only
        after they were.

        Args:
            limit: at most so many pairs of request and destination.
        """
        statement = _UNANSWERED.limit(limit)

        def work(connection: Connection) -> list[tuple[Job, str]]:
            pairs = connection.execute(statement).all()
            found = stored.jobs(connection, list(dict.fromkeys(row.request_id for row in pairs)))
            jobs = {str(job.request_id): job for job in found}
            return [(jobs[row.request_id], row.destination) for row in pairs]

        return await self._database.read(work)

    async def answers(self, request_id: UUID) -> list[ResultsAnswered]:
        """How each destination of a request was answered, as recorded; by destination."""
        statement = select(_A.document).where(_A.request_id == str(request_id)).order_by(_A.destination)
        return await self._database.read(
            lambda connection: [_answer_decoder.decode(each) for each in connection.scalars(statement)]
        )

    async def _results(self, statement: Select[Any]) -> list[StoredResult]:
        return await self._database.read(
            lambda connection: [stored.stored_result(row) for row in connection.execute(statement)]
        )


def _of(request_id: UUID, kind: Milestone) -> dict[str, str]:
    return {"request_id": str(request_id), "kind": kind.value}


def _items(connection: Connection, request_id: str, numbers: Sequence[int] | None = None) -> list[Item]:
    """Items of a request, all or those with some numbers."""
    planned = select(tables.planned).where(_L.request_id == request_id)
    done = select(tables.outcomes).where(_O.request_id == request_id)
    if numbers is not None:
        planned = planned.where(rows.among(connection, _L.item, numbers))
        done = done.where(rows.among(connection, _O.item, numbers))
    return stored.items(connection.execute(planned), connection.execute(done))
