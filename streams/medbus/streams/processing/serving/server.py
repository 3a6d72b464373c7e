"""A processing server: work items in, results and their events out.

A server is in two consumer groups. In the one that all servers share it does what is planned for whoever has
the partition; in one of its own it does what is planned for it by name. Both give their items to the same
pool of processes, a batch at a time, all items of a batch side by side.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Container, Sequence
from typing import Final, Protocol
from uuid import UUID

from medbus.bus import Record
from medbus.projections.processing import Item, ItemState, Job
from medbus.schemas.events import Event, ItemPlanned
from medbus.schemas.topics import WORK
from medbus.streams.processing.serving.outcome import NAME, failed, processed, skipped
from medbus.streams.processing.serving.pool import ItemFailed, Pool, StoreTrouble
from medbus.streams.processor import Processor

BATCH: Final = 2
"""Items taken together for each process of the pool: while some are done, the others wait beside them."""

REMEMBERED: Final = 256
"""Items whose events are kept: those that come again after a rebalance are not done again."""

FEW: Final = 16
"""Events of an item that are kept."""

DELAYS: Final = (0.5, 2.0, 5.0, 15.0)
"""Before further tries where the blob store or the catalog is away."""

_KIND = re.compile(rf"({ItemFailed.__name__}|{StoreTrouble.__name__}): ")


class Catalog(Protocol):
    """What a server asks; the processing catalog's reader."""

    async def job(self, request_id: UUID, /) -> Job | None:
        """How far a request has come."""

    async def items(self, request_id: UUID, /) -> list[Item]:
        """The items of a request."""

    async def cancelled(self, request_id: UUID, /) -> bool:
        """Whether a request was cancelled."""


class Server:
    """Does work items.

    Args:
        name: of the server.
        pool: which does them.
        processes: of the pool.
        catalog: of requests and items; it may lag behind.
        cancellations: what the catalog may not know yet.
        stall_seconds: see Processor. A partition may wait for the items of others.
    """

    def __init__(
        self,
        name: str,
        pool: Pool,
        *,
        processes: int,
        catalog: Catalog,
        cancellations: Container[UUID],
        stall_seconds: float,
    ) -> None:
        self._name, self._pool, self._catalog, self._cancellations = name, pool, catalog, cancellations
        self._stall_seconds = stall_seconds
        self._batch = BATCH * processes
        self._settled: OrderedDict[UUID, Sequence[Event] | ItemFailed] = OrderedDict()

    def processor(self, *, pinned: bool) -> Processor:
        """The processor for what any server may do, or for what this one must do.

        An item that fails does not fail its batch: it becomes a dead letter and a ProcessingFailed by itself.
        """
        wanted = self._name if pinned else None

        def mine(record: Record) -> ItemPlanned | None:
            item = record.event
            return item if isinstance(item, ItemPlanned) and item.server == wanted else None

        async def prepare(records: Sequence[Record]) -> None:
            await self.settle([item for record in records if (item := mine(record)) is not None])

        async def handle(record: Record) -> Sequence[Event]:
            item = mine(record)
            if item is None:
                return ()
            if item.meta.event_id not in self._settled:
                await self.settle([item])  # it came twice in a batch, and its events are handed out
            return self.events(item)

        def refuse(record: Record, error: str) -> Sequence[Event]:
            item = mine(record)
            return () if item is None else failed(item, _KIND.sub("", error, count=1), self._name)

        return Processor(
            name=f"{NAME}-{self._name}" if pinned else NAME,
            topics=(WORK,),
            prepare=prepare,
            handle=handle,
            refuse=refuse,
            batch=self._batch,
            in_flight=2 * self._batch,
            buffer=max(16, 2 * self._batch),
            delays=DELAYS,
            stall_seconds=self._stall_seconds,
        )

    async def settle(self, items: Sequence[ItemPlanned]) -> None:
        """Do items side by side, but those that were done before, and of cancelled requests.

        Raises:
            StoreTrouble: some of them may be done a moment later; the others are done.
        """
        new = {item.meta.event_id: item for item in items if item.meta.event_id not in self._settled}
        open_ = await self._open(list(new.values()))
        found = await asyncio.gather(*(self._settle(item) for item in open_), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each

    def events(self, item: ItemPlanned) -> Sequence[Event]:
        """The events of an item that is settled.

        Raises:
            ItemFailed: it can't be done.
        """
        found = self._settled[item.meta.event_id]
        if isinstance(found, ItemFailed):
            raise found
        if len(found) > FEW:
            del self._settled[item.meta.event_id]
        return found

    async def _settle(self, item: ItemPlanned) -> None:
        try:
            outcome = await self._pool.run(item, lambda: item.grant_id not in self._cancellations)
        except ItemFailed as error:
            self._keep(item, error)
            return
        self._keep(item, skipped(item) if outcome is None else processed(item, outcome, self._name))

    def _keep(self, item: ItemPlanned, found: Sequence[Event] | ItemFailed) -> None:
        self._settled[item.meta.event_id] = found
        while len(self._settled) > REMEMBERED + self._batch:
            self._settled.popitem(last=False)

    async def _open(self, items: Sequence[ItemPlanned]) -> list[ItemPlanned]:
        """Those that are to be done. Of the others, some are skipped now, and some were done before: a group
        that lost its place begins at the beginning of the log."""
        left: list[ItemPlanned] = []
        for request_id in dict.fromkeys(item.grant_id for item in items):
            mine = [item for item in items if item.grant_id == request_id]
            job = await self._catalog.job(request_id)
            if job is not None and job.completed_at is not None:
                for item in mine:
                    self._keep(item, ())
            elif request_id in self._cancellations or await self._catalog.cancelled(request_id):
                over = {
                    each.item
                    for each in await self._catalog.items(request_id)
                    if each.state is not ItemState.PLANNED
                }
                for item in mine:
                    self._keep(item, () if item.item in over else skipped(item))
            else:
                left += mine
        return left
