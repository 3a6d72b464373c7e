"""The room that a contract allocates, counted over all conversations of its subscriber.

A grant says what was left when it was decided: several that stand at once each say the same. So what is used
is counted here, for all of them together:

- what the catalog shows to be registered, and up to which place in the log;
- what this process registered behind that place;
- what this process is registering now.

Other processes of a gateway are seen through the catalog, which is milliseconds behind the log. Where what is
left is more than `NEAR` that does not matter. Near the end of it the catalog is waited for until it shows all
that others may have put on the log by the time the image came. So conversations in one process never go past
the capacity, and those in several not by more than the images that are being registered at that moment.

A contract without capacity costs nothing here.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from heapq import heappop, heappush
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from medbus.bus import Bus, Position
from medbus.gateways.grants import Exhausted
from medbus.projections.database import Database
from medbus.projections.errors import CatalogError, CatalogMissing
from medbus.projections.images import tables
from medbus.projections.images.projection import ImageProjection
from medbus.projections.positions import positions
from medbus.schemas.errors import BusError, MedbusError
from medbus.schemas.events import RequestAuthorized
from medbus.schemas.topics import IMAGES

NEAR = 64 * 1024 * 1024
"""Bytes: less than this is nearly nothing. It is more than other processes register while the catalog is as
far behind as it is when all is well: some 50 ms at a gigabyte a second."""

PATIENCE = 5.0
"""Seconds to wait for the catalog, near the end. Peers wait longer for an answer."""

_FIRST_WAIT = 0.002
_LONGEST_WAIT = 0.05

# In one statement, so that the two belong together in every database.
_USED = select(func.sum(tables.usage.c.bytes)).where(tables.usage.c.registrant == bindparam("registrant"))
_SHOWN = select(positions.c.partition, positions.c.next_offset, _USED.scalar_subquery()).where(
    positions.c.projection == ImageProjection.name, positions.c.topic == IMAGES.name
)


class UsageUnknown(MedbusError):
    """How much of a capacity is used can't be told now."""


class Shown(NamedTuple):
    """What the catalog shows of a subscriber, and the next offset that it takes up, by partition."""

    used: int
    offsets: Mapping[int, int]


class Account:
    """What a subscriber has registered in this process, as far as the catalog does not show it."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.coming = 0
        self._unseen: dict[int, list[tuple[int, int]]] = {}  # by partition: heaps of offset and size
        self._unseen_bytes = 0

    def registered(self, position: Position, size: int) -> None:
        """An image is on the log."""
        heappush(self._unseen.setdefault(position.partition.number, []), (position.offset, size))
        self._unseen_bytes += size

    def knows(self, shown: Shown, ends: Mapping[int, int]) -> bool:
        """Whether all that is on the log up to its ends is shown by the catalog, or was registered here."""
        return all(self._own(number, shown.offsets.get(number, 0), end) for number, end in ends.items())

    def _own(self, number: int, first: int, end: int) -> bool:
        own = sum(first <= offset < end for offset, _ in self._unseen.get(number, ()))
        return first + own >= end

    def used(self, shown: Shown) -> int:
        """All that is used. What the catalog shows is forgotten here, so it must never be an older one."""
        for number, heap in self._unseen.items():
            while heap and heap[0][0] < shown.offsets.get(number, 0):
                self._unseen_bytes -= heappop(heap)[1]
        return shown.used + self._unseen_bytes + self.coming


class Place:
    """Room for an image that is being registered: it ends as `registered` or `given_up`, once."""

    def __init__(self, account: Account, size: int) -> None:
        self._account = account
        self._size = size

    def registered(self, position: Position) -> None:
        """The image is on the log; the catalog will show it."""
        self._account.coming -= self._size
        self._account.registered(position, self._size)

    def given_up(self) -> None:
        """It was not registered, or nobody knows: if the log has it, the catalog will show it."""
        self._account.coming -= self._size


class Quota:
    """Gives room to images that are to be registered.

    Args:
        bus: the log, for its end.
        database: the catalogs.
        near: bytes left from which on the catalog is waited for.
        patience: seconds to wait for it.
    """

    def __init__(self, bus: Bus, database: Database, *, near: int = NEAR, patience: float = PATIENCE) -> None:
        self._bus = bus
        self._database = database
        self._near = near
        self._patience = patience
        self._accounts: dict[str, Account] = {}

    async def take(self, grant: RequestAuthorized, size: int) -> Place | None:
        """Room for an image of so many bytes; None where the contract has no limit.

        Raises:
            Exhausted: it does not fit.
            UsageUnknown: there is little left, if anything, and the catalog does not say how much in time.
        """
        capacity = capacity_of(grant)
        if capacity is None:
            return None
        account = self._accounts.setdefault(grant.subscriber, Account())
        try:
            # One at a time, so that what the catalog shows is never older than what was forgotten.
            async with asyncio.timeout(self._patience), account.turn:
                used = account.used(await self._look(grant.subscriber))
                if capacity - self._near < used + size <= capacity:
                    used = account.used(await self._look_closely(grant.subscriber, account))
                if used + size > capacity:
                    raise Exhausted(f"The contract's {capacity} bytes are used up.")
                account.coming += size
                return Place(account, size)
        except (TimeoutError, BusError, CatalogError) as error:
            raise UsageUnknown(
                "How much is used is not known now, send it later.", "Does the projector run?"
            ) from error

    async def _look(self, subscriber: str) -> Shown:
        def work(connection: Connection) -> Shown:
            found = connection.execute(_SHOWN, {"registrant": subscriber}).all()
            return Shown(
                used=int(found[0][2] or 0) if found else 0,
                offsets={number: offset for number, offset, _ in found},
            )

        with suppress(CatalogMissing):
            return await self._database.read(work)
        return Shown(0, {})  # a new installation

    async def _look_closely(self, subscriber: str, account: Account) -> Shown:
        """What the catalog shows once it is as far as the log is now, but for what is known here."""
        ends = {each.number: end for each, end in (await self._bus.end_offsets(IMAGES)).items()}
        wait = _FIRST_WAIT
        while not account.knows(shown := await self._look(subscriber), ends):
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)
        return shown


def capacity_of(grant: RequestAuthorized) -> int | None:
    """The bytes that the contract allocated when a grant was decided; None without a limit.

    Decisions of older versions say what was left, but not of how much: they are limited by themselves alone.
    """
    if grant.max_bytes is None or grant.used_bytes is None:
        return None
    return grant.max_bytes + grant.used_bytes
