"""`medbus account`: what subscribers have, owe and use."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from medbus.compose.cli import billed, console, price
from medbus.compose.cli.contract import capacity_text
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, LimitOption, installation, instant
from medbus.compose.cli.subscriber import SubscriberArgument, contract_of
from medbus.compose.settings import Settings
from medbus.projections.accounts import Account, AccountReader, Balance, StoredFee, StoredInvoice
from medbus.projections.database import Database
from medbus.projections.directory import Contract
from medbus.projections.images import ImageReader, Usage
from medbus.schemas import money
from medbus.schemas import period as calendar
from medbus.schemas.events import FeeKind, Money, Value
from medbus.streams.tariffs.kinds import COUNTING

DAY_SECONDS = 24 * 60 * 60
LAST_INVOICES = 5

app = typer.Typer(help="Accounts: balances, usage and fees of subscribers.", no_args_is_help=True)


class Shown(Value):
    """All that is shown of an account.

    Attributes:
        byte_seconds: what was registered in the present month so far, in whole minutes.
    """

    contract: Contract
    account: Account
    usage: Usage
    month: str
    byte_seconds: int
    invoices: tuple[StoredInvoice, ...]


@app.command()
def show(
    subscriber: SubscriberArgument,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show the account of a subscriber: balances, capacity allocated and in use, price list, last invoices.

    Left is what was paid and is not used up by fees; due is what was invoiced and is not paid.

    Example:
        medbus account show A-hospital
    """
    shown = console.run(_shown(installation(home, kafka), subscriber, datetime.now(UTC)))
    if json:
        console.as_json(document(shown))
        return
    terms = shown.contract.terms
    console.table(
        subscriber,
        ("", ""),
        [
            ("name", terms.name),
            ("tariff", terms.tariff or "none: free of charge"),
            ("payment", "no condition" if terms.payment is None else terms.payment.lower()),
            ("last payment (UTC)", console.moment(shown.account.paid_at)),
            ("capacity", capacity_text(terms.capacity_bytes, shown.usage)),
            (
                f"in use in {shown.month}",
                f"{console.counted(shown.byte_seconds // DAY_SECONDS, 'byte-day')} so far",
            ),
        ],
    )
    console.table(
        "Balances",
        ("currency", "charged", "paid", "left", "invoiced", "due"),
        [(each.currency, *(money.decimal(m) for m in _sums(each))) for each in shown.account.balances],
    )
    if shown.invoices:
        console.table(
            "Last invoices",
            ("number", "period", "issued (UTC)", "total", "currency"),
            [
                (
                    each.invoice.number,
                    each.invoice.period,
                    console.moment(each.issued_at),
                    money.decimal(each.invoice.total),
                    each.invoice.total.currency,
                )
                for each in shown.invoices
            ],
        )


@app.command()
def fees(
    subscriber: SubscriberArgument,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only charged then or later, UTC.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only charged before, UTC.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only of this kind: " + ", ".join(k.lower() for k in COUNTING) + ".")
    ] = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show fees, those charged last first, and the place in the log of what each was charged for.

    Examples:
        medbus account fees A-hospital --kind delivery --from 2026-11-01
        medbus account fees A-hospital --json
    """
    found = console.run(
        _fees(
            installation(home, kafka),
            subscriber,
            None if since is None else instant(since),
            None if until is None else instant(until),
            None if kind is None else price.fee_kind(kind),
            limit,
        )
    )
    if json:
        for each in found:
            console.as_json(fee_document(each))
        return
    console.table(
        f"Fees of {subscriber} ({len(found)})",
        ("charged (UTC)", "what for", "quantity", "unit price", "amount", "tariff", "period", "cause"),
        [
            (
                console.moment(each.charged_at),
                billed.what(each),
                console.counted(each.quantity, each.unit),
                billed.price_text(each),
                money.text_of(each.amount),
                f"{each.tariff} version {each.version}",
                each.period,
                str(each.cause),
            )
            for each in found
        ],
    )


def document(shown: Shown) -> dict[str, object]:
    """An account for programs: amounts are decimal numbers as text."""
    terms, usage = shown.contract.terms, shown.usage
    return {
        "subscriber": shown.contract.subscriber,
        "name": terms.name,
        "tariff": terms.tariff,
        "payment": terms.payment,
        "paid_at": shown.account.paid_at,
        "balances": [
            {"currency": each.currency}
            | dict(zip(_SUMS, (money.number_of(m) for m in _sums(each)), strict=True))
            for each in shown.account.balances
        ],
        "capacity": {
            "allocated_bytes": terms.capacity_bytes,
            "bytes": usage.bytes,
            "images": usage.images,
            "share": usage.bytes / terms.capacity_bytes if terms.capacity_bytes else None,
        },
        "month": {"period": shown.month, "byte_days": shown.byte_seconds // DAY_SECONDS},
        "invoices": [billed.document(each) for each in shown.invoices],
    }


def fee_document(fee: StoredFee) -> dict[str, object]:
    """A fee for programs, with its price."""
    partition, offset = fee.position
    return {
        "subscriber": fee.subscriber,
        "kind": fee.kind,
        "item": fee.item,
        **billed.fee_document(fee),
        "price": fee.price,
        "per": fee.per,
        "policy": fee.policy,
        "tariff": fee.tariff,
        "version": fee.version,
        "period": fee.period,
        "fee_partition": partition.number,
        "fee_offset": offset,
    }


_SUMS = ("charged", "paid", "left", "invoiced", "due")


def _sums(balance: Balance) -> tuple[Money, ...]:
    def money_of(minor_units: int) -> Money:
        return Money(minor_units=minor_units, currency=balance.currency)

    return (
        money_of(balance.charged),
        money_of(balance.paid),
        balance.left,
        money_of(balance.invoiced),
        balance.due,
    )


async def _shown(settings: Settings, subscriber: str, now: datetime) -> Shown:
    month = calendar.containing(now, "month")
    async with Database(settings.database_url) as database:
        accounts, images = AccountReader(database), ImageReader(database)
        return Shown(
            contract=await contract_of(database, subscriber),
            account=await accounts.account(subscriber),
            usage=await images.usage(subscriber),
            month=month.name,
            byte_seconds=await images.byte_seconds(
                subscriber, month.start, now.replace(second=0, microsecond=0)
            ),
            invoices=tuple(await accounts.invoices(subscriber, limit=LAST_INVOICES)),
        )


async def _fees(
    settings: Settings,
    subscriber: str,
    since: datetime | None,
    until: datetime | None,
    kind: FeeKind | None,
    limit: int,
) -> list[StoredFee]:
    async with Database(settings.database_url) as database:
        await contract_of(database, subscriber)
        return await AccountReader(database).fees(
            subscriber, since=since, until=until, kind=kind, limit=limit
        )
