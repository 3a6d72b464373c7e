"""`medbus period`: close periods, and bill them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from medbus.bus import Bus
from medbus.compose.cli import console
from medbus.compose.cli.invoice import show_invoices
from medbus.compose.cli.options import (
    HomeOption,
    JsonOption,
    KafkaOption,
    LimitOption,
    bootstrap,
    installation,
)
from medbus.compose.cli.subscriber import contract_of
from medbus.compose.settings import Settings
from medbus.projections.accounts import AccountReader, ClosedPeriod, StoredInvoice
from medbus.projections.database import Database
from medbus.schemas import period as calendar
from medbus.schemas.errors import MedbusError
from medbus.schemas.period import Period

app = typer.Typer(help="Periods: close and show them.", no_args_is_help=True)

PERIOD_HELP = "A period in UTC, as 2026-10; also 2026, 2026-10-31, 2026-10-31T09 or 2026-10-31T09:05."


class PeriodNotOver(MedbusError):
    """A period that is still going on can't be closed."""


@app.command()
def close(
    period: Annotated[
        str | None, typer.Argument(help=f"{PERIOD_HELP} By default the last month that is over.")
    ] = None,
    subscribers: Annotated[
        list[str] | None, typer.Option("--subscriber", help="Only of this subscriber; repeatable.")
    ] = None,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Close a period: wait until all of it is charged, charge its periodic fees, and issue the invoices.

    Periods before it that were left open are closed with it. A period is closed once for each subscriber;
    closing it again changes nothing. Shows the invoices.

    Examples:
        medbus period close
        medbus period close 2026-10 --subscriber A-hospital
    """
    chosen = over(period, datetime.now(UTC))
    found = console.run(_close(installation(home, kafka), chosen, subscribers))
    if not json and not found:
        console.out.print(f"There is nothing to bill for {chosen.name}.")
        return
    show_invoices(found, json)


@app.command("list")
def list_(
    subscriber: Annotated[str | None, typer.Option(help="Only of this subscriber.")] = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show closed periods, those closed last first.

    Example:
        medbus period list --subscriber A-hospital
    """
    found = console.run(_closed(installation(home, kafka), subscriber, limit))
    if json:
        for each in found:
            console.as_json(document(each))
        return
    console.table(
        f"Closed periods ({len(found)})",
        ("subscriber", "period", "from (UTC)", "until before (UTC)", "closed (UTC)", "event"),
        [
            (
                each.subscriber,
                each.period,
                console.moment(each.start),
                console.moment(each.end),
                console.moment(each.closed_at),
                each.position,
            )
            for each in found
        ],
    )


def over(name: str | None, now: datetime) -> Period:
    """The period of this name, or the last month that is over.

    Raises:
        InvalidPeriod: the name is none. PeriodNotOver: it is still going on, or yet to come.
    """
    last = calendar.before(calendar.containing(now, "month" if name is None else _unit(name)))
    chosen = last if name is None else calendar.named(name)
    if chosen.end > now:
        raise PeriodNotOver(
            f"{chosen.name} is not over: it will be at {console.moment(chosen.end)} UTC.",
            f"Close it then; the last {calendar.unit(last)} that is over is {last.name}.",
        )
    return chosen


def document(closed: ClosedPeriod) -> dict[str, object]:
    """A closed period for programs."""
    partition, offset = closed.position
    return {
        "event_id": closed.event_id,
        "subscriber": closed.subscriber,
        "period": closed.period,
        "start": closed.start,
        "end": closed.end,
        "closed_at": closed.closed_at,
        "topic": partition.topic,
        "partition": partition.number,
        "offset": offset,
    }


def _unit(name: str) -> str:
    return calendar.unit(calendar.named(name))


async def _close(
    settings: Settings, period: Period, subscribers: Sequence[str] | None
) -> list[StoredInvoice]:
    from medbus.streams.billing.closing import PeriodService

    async with (
        Bus(bootstrap(settings), client_id="medbus-period", prefix=settings.prefix) as bus,
        Database(settings.database_url) as database,
    ):
        for each in subscribers or ():
            await contract_of(database, each)
        service = PeriodService(bus, database)
        tell(f"Closing {period.name}: waiting until all that happened before its end is charged.")
        closed = await service.close(period, at=datetime.now(UTC), subscribers=subscribers)
        tell(f"Closed {console.counted(len(closed), 'account')}. Issuing invoices.")
        issued = await service.issue()
        tell(f"Issued {console.counted(len(issued), 'invoice')}.")
        reader = AccountReader(database)
        # Periods before it that were left open are closed with it.
        numbers = {each.number for each in issued if each.period != period.name}
        earlier = [await reader.invoice(number) for number in sorted(numbers)]
        found = await reader.invoices(period=period.name, limit=None)
    return [
        each
        for each in (*earlier, *found)
        if each is not None and (not subscribers or each.invoice.subscriber in subscribers)
    ]


def tell(text: str) -> None:
    """Say how far it is."""
    console.err.print(text, style="dim")


async def _closed(settings: Settings, subscriber: str | None, limit: int) -> list[ClosedPeriod]:
    async with Database(settings.database_url) as database:
        return await AccountReader(database).closed(subscriber, limit=limit)
