"""What the demonstration costs: a price list, the fees that came of it, and their audit."""

import asyncio
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from medbus.bus import Bus
from medbus.compose.cli import console
from medbus.compose.cli.options import bootstrap
from medbus.compose.settings import Settings
from medbus.projections.accounts import AccountReader, StoredFee
from medbus.projections.database import Database
from medbus.schemas import money
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import FeeKind, Price
from medbus.streams.billing.rebilling import rebill
from medbus.streams.tariffs.commands import SetTariff
from medbus.streams.tariffs.service import TariffService

TARIFF, CURRENCY = "demo", "EUR"
PRICES = (
    Price(kind=FeeKind.SUBSCRIPTION, price="100", per=1),
    Price(kind=FeeKind.CONNECTION, price="0.20", per=1),
    Price(kind=FeeKind.DELIVERY, price="0.05", per=1),
)
WAIT_SECONDS = 30.0


async def set_prices(settings: Settings) -> None:
    """Make the price list."""
    command = SetTariff(
        command_id=uuid4(),
        at=datetime.now(UTC),
        source="demo",
        tariff=TARIFF,
        currency=CURRENCY,
        prices=PRICES,
    )
    async with Bus(bootstrap(settings), client_id="medbus-demo", prefix=settings.prefix) as bus:
        await TariffService(bus).handle(command)
    shown = ", ".join(f"{each.kind.lower()} {each.price} {CURRENCY}" for each in PRICES)
    console.out.print(f"{TARIFF}: {shown}")


async def show_fees(settings: Settings, subscriber: str, deliveries: int) -> None:
    """Show what a subscriber was charged, once all deliveries were, and compute it again from the log.

    Raises:
        MedbusError: the fees do not come, or the log says something else.
    """
    async with Database(settings.database_url) as database:
        fees = await _fees(AccountReader(database), subscriber, deliveries)
    by_price: dict[tuple[str, str], list[StoredFee]] = defaultdict(list)
    for fee in fees:
        by_price[fee.kind.lower(), fee.price].append(fee)
    total = money.total([fee.amount for fee in fees], CURRENCY)
    console.table(
        f"{subscriber} owes {money.text_of(total)}",
        ("fee", "count", "unit price", "amount", "the first because of"),
        [
            (
                kind,
                len(alike),
                price,
                money.text_of(money.total([fee.amount for fee in alike], CURRENCY)),
                str(alike[0].cause),
            )
            for (kind, price), alike in sorted(by_price.items())
        ],
    )
    with tempfile.TemporaryDirectory(prefix="medbus-demo-") as scratch:
        async with Bus(bootstrap(settings), client_id="medbus-demo", prefix=settings.prefix) as bus:
            report = await rebill(bus, Path(scratch))
    if not report.clean:
        raise MedbusError(
            f"{report.different} fees are not what the log says.", "This is a fault of medbus: report it."
        )
    console.out.print(f"Computed again from the log: {report.fees} fees, no difference.", style="bold green")


async def _fees(accounts: AccountReader, subscriber: str, deliveries: int) -> list[StoredFee]:
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        fees = await accounts.fees(subscriber, limit=None)
        if sum(fee.kind is FeeKind.DELIVERY for fee in fees) >= deliveries:
            return fees[::-1]
        if asyncio.get_running_loop().time() > deadline:
            raise MedbusError(
                f"Waited {WAIT_SECONDS:.0f} s in vain for the fees of {subscriber}.", "See the log files."
            )
        await asyncio.sleep(0.05)
