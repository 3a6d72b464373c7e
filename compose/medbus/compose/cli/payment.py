"""`medbus payment`: what subscribers paid."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from medbus.bus import Bus, Position
from medbus.compose.cli import console
from medbus.compose.cli.options import (
    HomeOption,
    JsonOption,
    KafkaOption,
    LimitOption,
    bootstrap,
    installation,
    instant,
)
from medbus.compose.cli.subscriber import SOURCE, SubscriberArgument, contract_of, shown
from medbus.compose.settings import Settings
from medbus.projections.accounts import AccountReader, StoredPayment
from medbus.projections.database import Database
from medbus.schemas import money
from medbus.schemas.errors import MedbusError, SettingsError
from medbus.schemas.events import Meta, Money, PaymentReceived
from medbus.schemas.payment import MANUAL, MAX_NOTE, MAX_REFERENCE, payment_id

app = typer.Typer(help="Payments: record and show them.", no_args_is_help=True)


# A refund begins with a minus sign, which would else be taken for an option.
@app.command(context_settings={"ignore_unknown_options": True})
def record(
    subscriber: SubscriberArgument,
    amount: Annotated[str, typer.Argument(help="How much, as 250 or 99.95; less than nothing is a refund.")],
    currency: Annotated[str, typer.Argument(help="In which currency, ISO 4217, as EUR.")],
    reference: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Its identity, as on the bank's statement: once for each payment."),
    ],
    paid_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it was paid, ISO 8601, UTC; now by default.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What else there is to say.")] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Record a payment. Recorded again with the same reference it is the same payment, and counts once.

    Examples:
        medbus payment record A-hospital 250 EUR --reference 2026-11-0815 --paid-at 2026-11-24
        medbus payment record A-hospital -12.50 EUR --reference refund-17 --note 'charged in error'
    """
    now = datetime.now(UTC)
    at = now if paid_at is None else instant(paid_at)
    if at > now:
        raise SettingsError(f"A payment of {at.isoformat()} is yet to come.", "Record it when it is there.")
    paid = money.amount(amount, currency.strip().upper())
    if not paid.minor_units:
        raise SettingsError("A payment of nothing is none.", "Give an amount.")
    if note is not None and len(note.strip()) > MAX_NOTE:
        raise SettingsError(f"The note has more than {MAX_NOTE} characters.", "Say it shorter.")
    event = PaymentReceived(
        meta=Meta.first(
            payment_id(MANUAL, _reference(reference)),
            source=SOURCE,
            occurred_at=now,
            actor=subscriber,
        ),
        subscriber=subscriber,
        reference=_reference(reference),
        amount=paid,
        channel=MANUAL,
        paid_at=at,
        note=(note or "").strip(),
    )
    # What was not said is no contradiction when a payment is recorded again.
    given = {"subscriber": subscriber, "amount": amount, "paid_at": paid_at, "note": note}
    said = frozenset(name for name, text in given.items() if text is not None)
    fresh = console.run(carry_out(installation(home, kafka), event, said))
    if fresh:
        console.out.print(f"{money.text_of(paid)} from {subscriber} is recorded.")
    else:
        console.out.print(f"{money.text_of(paid)} from {subscriber} was recorded before, and counts once.")


@app.command("list")
def list_(
    subscriber: Annotated[str | None, typer.Option(help="Only of this subscriber.")] = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show payments, those that were recorded last first.

    Example:
        medbus payment list --subscriber A-hospital
    """
    found = console.run(_payments(installation(home, kafka), subscriber, limit))
    if json:
        for each in found:
            console.as_json(document(each))
        return
    console.table(
        f"Payments ({len(found)})",
        ("paid (UTC)", "subscriber", "amount", "channel", "reference", "note"),
        [
            (
                console.moment(each.payment.paid_at),
                each.payment.subscriber,
                money.text_of(each.payment.amount),
                each.payment.channel,
                each.payment.reference,
                each.payment.note,
            )
            for each in found
        ],
    )


async def carry_out(settings: Settings, event: PaymentReceived, said: frozenset[str]) -> bool:
    """Record a payment, and wait until the catalog shows it.

    Args:
        settings: of the installation.
        event: the payment; its id is that of its reference.
        said: the names of the fields that must be the same if it was recorded before.

    Returns:
        Whether it was not recorded before.

    Raises:
        MedbusError: there is no such subscriber, the reference is that of another payment, or the catalog
            does not follow.
    """
    position: Position | None = None
    async with Database(settings.database_url) as database:
        await contract_of(database, event.subscriber)
        reader = AccountReader(database)
        before = await reader.payment(event.meta.event_id)
        if before is None:
            async with Bus(bootstrap(settings), client_id="medbus-command", prefix=settings.prefix) as bus:
                position = await bus.publish(event)
            await shown(database, [position])
        # Another program may have recorded it at the same time: the first on the log is the one that counts.
        kept = before or await reader.payment(event.meta.event_id)
    if kept is None:
        raise MedbusError("The payment is in the log, but not in the catalog.", "See `medbus status`.")
    _agree(kept.payment, event, said)
    return kept.position == position


def document(stored: StoredPayment) -> dict[str, object]:
    """A payment for programs: the amount is a decimal number as text."""
    payment, (partition, offset) = stored.payment, stored.position
    return {
        "payment_id": payment.meta.event_id,
        "subscriber": payment.subscriber,
        "amount": money.number_of(payment.amount),
        "currency": payment.amount.currency,
        "channel": payment.channel,
        "reference": payment.reference,
        "paid_at": payment.paid_at,
        "recorded_at": payment.meta.occurred_at,
        "note": payment.note,
        "topic": partition.topic,
        "partition": partition.number,
        "offset": offset,
    }


def _agree(kept: PaymentReceived, event: PaymentReceived, said: frozenset[str]) -> None:
    """Make sure that a payment with the same reference is the same; MedbusError if it is not."""
    for name in sorted(said):
        before, now = getattr(kept, name), getattr(event, name)
        if before != now:
            raise MedbusError(
                f"The reference {event.reference!r} is that of another payment: its {name.replace('_', ' ')} "
                f"is {_shown(before)}, not {_shown(now)}. Nothing was changed.",
                "Give each payment its own reference; a mistake is put right by a refund and a new payment.",
            )


def _shown(value: object) -> str:
    match value:
        case Money():
            return money.text_of(value)
        case datetime():
            return value.isoformat()
    return repr(value)


def _reference(text: str) -> str:
    plain = text.strip()
    if not plain or len(plain) > MAX_REFERENCE or not plain.isprintable():
        raise SettingsError(
            f"{text[:32]!r} can't be a reference.", f"Give 1 to {MAX_REFERENCE} printable characters."
        )
    return plain


async def _payments(settings: Settings, subscriber: str | None, limit: int) -> list[StoredPayment]:
    async with Database(settings.database_url) as database:
        return await AccountReader(database).payments(subscriber, limit=limit)
