"""Commands about contracts on a real log."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from tests.streams.processes import everything

from medbus.bus import Bus, Partition, Position
from medbus.schemas.errors import UndecodableRecord
from medbus.schemas.events import Apparatus, ContractCancelled, Role, SubscriberContracted, Terms
from medbus.schemas.topics import SUBSCRIBERS
from medbus.streams.command import OvertakenByAnother
from medbus.streams.contracts.commands import Cancel, Contract
from medbus.streams.contracts.decider import AlreadyTaken, ContractExists
from medbus.streams.contracts.service import ContractService

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TERMS = Terms(
    name="A",
    roles=(Role.IMAGE_REGISTERING,),
    apparatuses=(Apparatus(apparatus_id="A_CT#1", ae_title="A_CT1"),),
)


def contract(subscriber: str, terms: Terms = TERMS) -> Contract:
    return Contract(command_id=uuid4(), at=AT, source="cli", subscriber=subscriber, terms=terms)


def without_apparatuses() -> Terms:
    return msgspec.structs.replace(TERMS, apparatuses=())


async def test_what_happened_is_in_the_log_and_said_where(bus: Bus) -> None:
    command = contract("A")
    (recorded,) = await ContractService(bus).handle(command)
    assert recorded.position == Position(Partition("subscribers", 0), 0)
    assert recorded.event == SubscriberContracted(meta=command.meta(), subscriber="A", terms=TERMS)
    assert [record.event for record in await everything(bus, SUBSCRIBERS)] == [recorded.event]


async def test_another_process_knows_what_happened(bus: Bus) -> None:
    await ContractService(bus).handle(contract("A"))
    with pytest.raises(ContractExists):
        await ContractService(bus).handle(contract("A"))
    with pytest.raises(AlreadyTaken, match="belongs to A"):
        await ContractService(bus).handle(contract("B"))
    state = await ContractService(bus).state()
    assert list(state.contracts) == ["A"]
    assert state.contracts["A"].terms == TERMS


async def test_a_command_that_is_repeated_happens_once(bus: Bus) -> None:
    command = contract("A")
    service = ContractService(bus)
    assert len(await service.handle(command)) == 1
    assert await service.handle(command) == ()
    assert await ContractService(bus).handle(command) == ()
    assert len(await everything(bus, SUBSCRIBERS)) == 1


async def test_a_long_life(bus: Bus) -> None:
    service = ContractService(bus)
    for number in range(3):
        await service.handle(contract("A"))
        cancel = Cancel(command_id=uuid4(), at=AT, source="cli", subscriber="A", reason=f"{number}")
        (recorded,) = await service.handle(cancel)
        assert isinstance(recorded.event, ContractCancelled)
        assert recorded.position.offset == 2 * number + 1
    assert not (await service.state()).contracts["A"].live


async def test_commands_at_the_same_time_in_one_process_take_turns(bus: Bus) -> None:
    service = ContractService(bus)
    results = await asyncio.gather(
        *(service.handle(contract(f"S{number}")) for number in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, tuple) for result in results) == 1
    assert sum(isinstance(result, AlreadyTaken) for result in results) == 4
    assert len(await everything(bus, SUBSCRIBERS)) == 1


async def test_commands_of_two_processes_that_exclude_each_other_do_not_pass_unnoticed(bus: Bus) -> None:
    class Slow(Bus):
        """Lets the other process write between reading and writing."""

        async def publish(self, event):  # type: ignore[no-untyped-def]
            await ContractService(bus).handle(contract("B"))
            return await super().publish(event)

    async with Slow(bus.bootstrap, prefix=bus.prefix) as slow:
        service = ContractService(slow)
        with pytest.raises(OvertakenByAnother, match="The AE title A_CT1 belongs to B"):
            await service.handle(contract("A"))
    assert len(await everything(bus, SUBSCRIBERS)) == 2


async def test_commands_of_two_processes_that_go_together_do(bus: Bus) -> None:
    class Slow(Bus):
        async def publish(self, event):  # type: ignore[no-untyped-def]
            await ContractService(bus).handle(contract("B", without_apparatuses()))
            return await super().publish(event)

    async with Slow(bus.bootstrap, prefix=bus.prefix) as slow:
        service = ContractService(slow)
        (recorded,) = await service.handle(contract("A"))
        assert recorded.position.offset == 1
        assert set((await service.state()).contracts) == {"A", "B"}


async def test_contracts_that_can_not_be_told_are_not_guessed(bus: Bus) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(SUBSCRIBERS.full_name(bus.prefix), b"garbage", key=b"A")
    finally:
        await producer.stop()
    with pytest.raises(UndecodableRecord, match="subscribers/0@0 does not decode"):
        await ContractService(bus).handle(contract("A"))
