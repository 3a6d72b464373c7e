"""Events that can be billed, and the contracts and prices by which they are."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from medbus.bus import Bus
from medbus.schemas.events import (
    Apparatus,
    Channel,
    Event,
    FeeKind,
    ImageDelivered,
    Meta,
    Price,
    ProcessingCompleted,
    RequestAuthorized,
    Role,
    Scope,
    SoftwareRun,
    Terms,
)
from medbus.streams.contracts.commands import Contract
from medbus.streams.contracts.service import ContractService
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.service import TariffService

WORKER = (str(Path(__file__).parent / "billing_worker.py"),)
"""The program of a billing worker."""

TARIFF = "standard"
PRICES = {
    FeeKind.DELIVERY: "0.05",
    FeeKind.CONNECTION: "0.10",
    FeeKind.PROCESSING_IMAGE: "0.20",
    FeeKind.SOFTWARE_RUN: "1.50",
}
NOW = datetime.now(UTC)


async def contracts(bus: Bus, *subscribers: str, apparatuses: tuple[Apparatus, ...] = ()) -> None:
    """Make contracts with these prices; they are in force for all that is recorded from now on."""
    prices = tuple(Price(kind=kind, price=price, per=1) for kind, price in PRICES.items())
    await TariffService(bus).handle(
        SetTariff(command_id=uuid4(), at=NOW, source="test", tariff=TARIFF, currency="EUR", prices=prices)
    )
    service = ContractService(bus)
    for subscriber in subscribers:
        terms = Terms(name=subscriber, roles=(Role.IMAGE_RECEIVING,), tariff=TARIFF, apparatuses=apparatuses)
        await service.handle(
            Contract(command_id=uuid4(), at=NOW, source="test", subscriber=subscriber, terms=terms)
        )
    await asyncio.sleep(0.01)  # the log counts in milliseconds


def delivered(subscriber: str, number: int = 1) -> ImageDelivered:
    """An image went to a subscriber."""
    return ImageDelivered(
        meta=_meta(subscriber),
        grant_id=uuid4(),
        subscriber=subscriber,
        channel=Channel.C_MOVE,
        destination="WORKSTATION",
        study_instance_uid="1.2.3",
        sop_instance_uid=f"1.2.3.{number}",
        digest=f"blake3:{number:064x}",
        size=524_288,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )


def billable(count: int, subscribers: int = 20) -> Iterator[Event]:
    """So many events of every kind, each of which leads to one fee."""
    for number in range(count):
        subscriber = f"subscriber-{number % subscribers}"
        meta = _meta(subscriber)
        match number % 10:
            case 0:
                yield RequestAuthorized(
                    meta=meta,
                    request_id=meta.event_id,
                    subscriber=subscriber,
                    scope=Scope(),
                    expires_at=NOW + timedelta(days=1),
                )
            case 1:
                yield ProcessingCompleted(
                    meta=meta,
                    grant_id=uuid4(),
                    subscriber=subscriber,
                    processing_type="MIP",
                    sessions=1,
                    images=2,
                    bytes=1_048_576,
                    milliseconds=700,
                    results=2,
                )
            case 2:
                yield SoftwareRun(
                    meta=meta,
                    grant_id=uuid4(),
                    subscriber=subscriber,
                    apparatus_id="CT#1",
                    software_id=f"software-{number % 30}",
                    version="1.0",
                    digest="blake3:00",
                )
            case _:
                yield delivered(subscriber, number)


def _meta(subscriber: str) -> Meta:
    return Meta.first(uuid4(), source="test", occurred_at=NOW, actor=subscriber)
