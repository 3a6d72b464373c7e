"""`medbus audit`: whether the fees on the log are those that the log leads to."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medbus.bus import Bus
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, bootstrap, installation
from medbus.compose.settings import Settings
from medbus.schemas import money
from medbus.schemas import period as calendar
from medbus.schemas.events import FeeCharged
from medbus.schemas.period import Period

if TYPE_CHECKING:
    from medbus.streams.billing.rebilling import Difference, InvoiceDifference, Report

app = typer.Typer(help="Audit: recompute what was charged.", no_args_is_help=True)


@app.command("rebill")
def rebill_(
    subscriber: Annotated[str | None, typer.Option(help="Only the fees of this subscriber.")] = None,
    period: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="Only what was charged in this period, as 2026-10.")
    ] = None,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Compute every fee and invoice anew from the log, and tell what is missing, surplus or different.

    Fees of events that billing has not come to yet are still to be charged, and no difference. Ends with exit
    code 1 if there is any.

    Examples:
        medbus audit rebill
        medbus audit rebill --subscriber A-hospital --period 2026-10 --json
    """
    chosen = None if period is None else calendar.named(period)
    report = console.run(_rebill(installation(home, kafka), subscriber, chosen))
    if json:
        console.as_json(
            {
                "fees": report.fees,
                "waiting": report.waiting,
                "invoices": report.invoices,
                "different": report.different,
                "differences": [document(each) for each in report.differences],
                "invoice_differences": [invoice_document(each) for each in report.invoice_differences],
            }
        )
    else:
        _show(report)
    if not report.clean:
        raise SystemExit(console.FAILED)


def document(difference: "Difference") -> dict[str, object]:
    """A difference for programs."""
    return {
        "fee_id": difference.fee_id,
        "subscriber": difference.subscriber,
        "kind": difference.kind,
        "what": difference.what,
        "cause": difference.cause,
        "expected": _fee(difference.expected),
        "found": _fee(difference.found),
    }


def invoice_document(difference: "InvoiceDifference") -> dict[str, object]:
    """A difference of an invoice for programs: what its total must be, and is."""
    return {
        "number": difference.number,
        "expected": None if difference.expected is None else money.text_of(difference.expected.total),
        "found": None if difference.found is None else money.text_of(difference.found.total),
    }


def _show(report: "Report") -> None:
    fees, invoices = report.differences, report.invoice_differences
    if fees:
        console.table(
            f"Fees that differ ({len(fees)} of {report.different - len(invoices)})",
            ("what", "subscriber", "kind", "must be", "is", "cause", "fee"),
            [
                (
                    each.what,
                    each.subscriber,
                    each.kind.lower(),
                    _text(each.expected),
                    _text(each.found),
                    str(each.cause),
                    each.fee_id,
                )
                for each in fees
            ],
        )
    if invoices:
        console.table(
            f"Invoices that differ ({len(invoices)})",
            ("number", "total must be", "total is"),
            [tuple(invoice_document(each).values()) for each in invoices],
        )
    if report.waiting:
        console.out.print(f"{console.counted(report.waiting, 'fee')} still to be charged: no difference.")
    console.out.print(
        f"{console.counted(report.fees, 'fee')} and {console.counted(report.invoices, 'invoice')} checked, "
        f"{console.counted(report.different, 'difference')}."
    )


def _text(fee: FeeCharged | None) -> str:
    if fee is None:
        return ""
    return (
        f"{money.text_of(fee.amount)}: {fee.quantity} {fee.unit} at {fee.price} by {fee.per}, {fee.tariff} "
        f"version {fee.version}"
    )


def _fee(fee: FeeCharged | None) -> dict[str, object] | None:
    if fee is None:
        return None
    return {
        "quantity": fee.quantity,
        "unit": fee.unit,
        "price": fee.price,
        "per": fee.per,
        "amount": money.number_of(fee.amount),
        "currency": fee.amount.currency,
        "policy": fee.policy,
        "tariff": fee.tariff,
        "version": fee.version,
        "period": fee.period,
        "charged_at": fee.meta.occurred_at,
    }


async def _rebill(settings: Settings, subscriber: str | None, period: Period | None) -> "Report":
    from medbus.streams.billing.rebilling import rebill

    with tempfile.TemporaryDirectory(prefix="medbus-rebill-") as scratch, console.progress() as bar:
        task = bar.add_task("rebilling", total=None, note="")

        def tell(what: str, count: int) -> None:
            bar.update(task, completed=count, note=what)

        async with Bus(bootstrap(settings), client_id="medbus-audit", prefix=settings.prefix) as bus:
            return await rebill(bus, Path(scratch), subscriber=subscriber, period=period, progress=tell)
