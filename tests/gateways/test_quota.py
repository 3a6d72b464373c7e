"""Room of a contract over all conversations: what is registered, what is on its way, what nobody shows."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from tests.projections.examples import erased, image

from medbus.bus import Bus, Position
from medbus.gateways.grants import Exhausted
from medbus.gateways.quota import Place, Quota, UsageUnknown
from medbus.projections.database import Database
from medbus.projections.images import ImageReader, Usage
from medbus.projections.projector import Projector
from medbus.schemas.events import Meta, RequestAuthorized, Scope

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
FAR = 0
"""As `near`: the catalog is never waited for."""


def grant(left: int | None, used: int | None = 0, subscriber: str = "A-hospital") -> RequestAuthorized:
    """A grant that says what was left and what was used."""
    return RequestAuthorized(
        meta=Meta.first(uuid4(), source="test", occurred_at=NOW),
        request_id=uuid4(),
        subscriber=subscriber,
        scope=Scope(),
        max_bytes=left,
        used_bytes=used,
        expires_at=NOW,
    )


class Catalog:
    """A catalog that goes on only when it is told to."""

    def __init__(self, bus: Bus, writer: Database, reader: Database) -> None:
        self.bus = bus
        self.database = reader
        self._projector = Projector(bus, writer)

    async def catch_up(self) -> None:
        await self._projector.catch_up()

    async def register(self, uid: str, size: int, subscriber: str = "A-hospital") -> Position:
        """An image gets on the log."""
        return await self.bus.publish(image(uid, size=size, registrant=subscriber))


@pytest.fixture
async def catalog(bus: Bus, tmp_path: Path) -> AsyncIterator[Catalog]:
    url = f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite"
    async with Database(url, writer=True) as writer, Database(url) as reader:
        opened = Catalog(bus, writer, reader)
        await opened.catch_up()
        yield opened


async def taken(quota: Quota, decision: RequestAuthorized, size: int) -> Place:
    """Room that there is."""
    place = await quota.take(decision, size)
    assert place is not None
    return place


async def test_all_grants_of_a_subscriber_share_the_room(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database, near=FAR)
    first, second = grant(1000), grant(1000)
    await taken(quota, first, 600)
    await taken(quota, second, 400)
    with pytest.raises(Exhausted, match="1000 bytes are used up"):
        await quota.take(first, 1)
    await taken(quota, grant(1000, subscriber="B-hospital"), 1000)


async def test_what_is_given_up_is_there_again(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database, near=FAR)
    place = await taken(quota, grant(1000), 1000)
    with pytest.raises(Exhausted):
        await quota.take(grant(1000), 1)
    place.given_up()
    await taken(quota, grant(1000), 1000)


@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen"])
async def test_what_is_registered_counts_once_whether_the_catalog_shows_it_or_not(
    catalog: Catalog, seen: bool
) -> None:
    quota = Quota(catalog.bus, catalog.database, near=FAR)
    for number in range(3):
        place = await taken(quota, grant(1000), 300)
        place.registered(await catalog.register(f"1.1.{number}.1", 300))
        if seen:
            await catalog.catch_up()
    await taken(quota, grant(1000), 100)
    with pytest.raises(Exhausted):
        await quota.take(grant(1000), 1)


async def test_capacity_is_what_was_left_and_what_was_used(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database)
    await catalog.register("1.1.1.1", 700)
    await catalog.catch_up()
    with pytest.raises(Exhausted, match="1000 bytes"):
        await quota.take(grant(left=300, used=700), 301)
    await taken(quota, grant(left=300, used=700), 300)
    await taken(quota, grant(left=800, used=700), 500)  # the capacity was raised


async def test_what_others_register_is_seen_near_the_end_as_soon_as_it_is_on_the_log(
    catalog: Catalog,
) -> None:
    quota = Quota(catalog.bus, catalog.database, near=1000, patience=10)
    await catalog.register("1.1.1.1", 700)
    taking = asyncio.create_task(quota.take(grant(1000), 301))
    await asyncio.sleep(0.3)
    assert not taking.done(), "it waits for the catalog"
    await catalog.catch_up()
    with pytest.raises(Exhausted):
        await taking
    await taken(quota, grant(1000), 300)


async def test_what_this_process_registered_need_not_be_waited_for(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database, patience=0.5)
    for number in range(3):
        place = await taken(quota, grant(1000), 200)
        place.registered(await catalog.register(f"1.1.{number}.1", 200))
    await catalog.register("1.1.9.1", 100)
    with pytest.raises(UsageUnknown):
        await quota.take(grant(1000), 200)
    await catalog.catch_up()
    await taken(quota, grant(1000), 300)


async def test_where_much_is_left_nothing_is_waited_for(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database, near=1000, patience=0.5)
    await catalog.register("1.1.1.1", 700)
    await taken(quota, grant(10_000), 9000)
    with pytest.raises(UsageUnknown, match="not known now"):
        await quota.take(grant(10_000), 500)
    with pytest.raises(Exhausted):
        await quota.take(grant(10_000), 1001)
    await catalog.catch_up()
    with pytest.raises(Exhausted):
        await quota.take(grant(10_000), 500)


async def test_an_erasure_gives_room(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database)
    place = await taken(quota, grant(1000), 1000)
    event = image("1.1.1.1", size=1000)
    place.registered(await catalog.bus.publish(event))
    await catalog.bus.publish(erased(event))
    await catalog.catch_up()
    assert await ImageReader(catalog.database).usage("A-hospital") == Usage()
    await taken(quota, grant(1000), 1000)


async def test_many_at_once_never_take_more_than_there_is(catalog: Catalog) -> None:
    quota = Quota(catalog.bus, catalog.database)

    async def register(number: int) -> int:
        try:
            place = await taken(quota, grant(1000), 70)
        except Exhausted:
            return 0
        await asyncio.sleep(0)
        place.registered(await catalog.register(f"1.1.1.{number}", 70))
        return 70

    async def follow() -> None:
        while True:
            await catalog.catch_up()
            await asyncio.sleep(0.01)

    following = asyncio.create_task(follow())
    sizes = await asyncio.gather(*map(register, range(40)))
    following.cancel()
    assert sum(sizes) == 14 * 70


@pytest.mark.parametrize("decision", [grant(None, None), grant(None, 5), grant(1000, None)])
async def test_without_a_capacity_nothing_is_asked(tmp_path: Path, decision: RequestAuthorized) -> None:
    nowhere = Database(f"sqlite+aiosqlite:///{tmp_path}/nothing.sqlite")
    quota = Quota(Bus("127.0.0.1:1"), nowhere)  # neither is there
    assert await quota.take(decision, 10**15) is None


async def test_a_new_installation_has_all_its_room(bus: Bus, tmp_path: Path) -> None:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite") as database:
        quota = Quota(bus, database)
        await taken(quota, grant(1000), 1000)
        with pytest.raises(Exhausted):
            await quota.take(grant(1000), 1)
