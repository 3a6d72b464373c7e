"""A replay charges nothing and sends nothing.

Four billable events and one redelivery; the log replayed twice into an empty catalog: four charges, equal
totals, no outbound delivery.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.faults.billable import WORKER, contracts, delivered
from tests.streams.processes import Workers, records, workers

from medbus.bus import Bus, Partition
from medbus.projections.accounts import AccountReader
from medbus.projections.accounts.account import Account, Balance, StoredFee
from medbus.projections.database import Database
from medbus.projections.projector import PROJECTIONS, Projector
from medbus.projections.rebuild import rebuild
from medbus.schemas.events import Apparatus, FeeCharged, Money
from medbus.schemas.topics import FEES, TOPICS

IMAGES = 4
SUBSCRIBER = "A-hospital"


@pytest.fixture
async def crew(bus: Bus) -> AsyncIterator[Workers]:
    async with workers(bus) as made:
        yield made


@pytest.fixture
def workstation() -> Iterator[socket.socket]:
    """Where images of this subscriber go to: it listens, and nobody has called yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


async def test_a_redelivery_is_not_charged_and_a_replay_neither_charges_nor_sends(
    bus: Bus, crew: Workers, workstation: socket.socket, tmp_path: Path
) -> None:
    port = workstation.getsockname()[1]
    await contracts(
        bus,
        SUBSCRIBER,
        apparatuses=(Apparatus(apparatus_id="A_WS#1", ae_title="WORKSTATION", host="127.0.0.1", port=port),),
    )
    events = [delivered(SUBSCRIBER, number) for number in range(IMAGES)]
    await bus.publish_all([*events, events[2]])

    # Billed twice over: by the billing workers, and by others that begin at the beginning again.
    for number, group in enumerate([(), ("--group", "billing-again")], start=1):
        worker = await crew.start(*group, program=WORKER)
        charged = await records(bus, FEES, count=number * (IMAGES + 1))
        assert await worker.end(signal.SIGTERM, within=5) == 0
    assert {each.event.meta.cause_id for each in charged if isinstance(each.event, FeeCharged)} == {
        event.meta.event_id for event in events
    }
    written = await ends(bus)

    catalogs = [await replayed(bus, tmp_path / name) for name in ("first", "second")]
    for account, fees in catalogs:
        assert account.balances == (Balance(currency="EUR", charged=20),)
        assert [fee.amount for fee in fees] == [Money(minor_units=5, currency="EUR")] * IMAGES
        assert {fee.cause_id for fee in fees} == {event.meta.event_id for event in events}
    assert catalogs[0] == catalogs[1]

    await asyncio.sleep(0.5)  # room for what should not happen
    assert await ends(bus) == written
    with pytest.raises(BlockingIOError):
        workstation.accept()


async def replayed(bus: Bus, folder: Path) -> tuple[Account, list[StoredFee]]:
    """What an empty catalog says after a replay, and after another one beside it."""
    folder.mkdir()
    async with Database(f"sqlite+aiosqlite:///{folder / 'catalog.sqlite'}", writer=True) as database:
        reader = AccountReader(database)
        await Projector(bus, database, PROJECTIONS).catch_up()
        once = await reader.account(SUBSCRIBER), await reader.fees()
        await rebuild(bus, database, PROJECTIONS)
        assert (await reader.account(SUBSCRIBER), await reader.fees()) == once
        return once


async def ends(bus: Bus) -> dict[Partition, int]:
    """How long every topic is."""
    return await bus.end_offsets(*TOPICS)
