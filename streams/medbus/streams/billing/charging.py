"""Which fees an event leads to. Pure: the book, the event and its time in the log decide, nothing else.

| event | fee | how many |
|---|---|---|
| a contract is made | subscription | 1 |
| a request is granted | connection | 1 for each conversation, at its first grant; none to see the account |
| an image was delivered | delivery | 1 |
| a processing request is done | processing: fixed, by image, by byte, by session, by second | as it says |
| software ran | software: by run, by month | 1; 1 in each calendar month |

What the contract's price list does not name is free of charge, and leads to no fee.
"""

from collections.abc import Iterable
from uuid import NAMESPACE_OID, UUID, uuid5

from medbus.bus import Record
from medbus.schemas.events import (
    AccountRequested,
    ActivationRequested,
    FeeCharged,
    FeeKind,
    ImageDelivered,
    ProcessingCompleted,
    RequestAuthorized,
    SoftwareRun,
    SubscriberContracted,
)
from medbus.schemas.topics import DECISIONS, DELIVERIES, PROCESSING, SOFTWARE, SUBSCRIBERS, Topic
from medbus.streams.billing.book import Book
from medbus.streams.billing.fee import charge

BILLABLE: tuple[Topic, ...] = (SUBSCRIBERS, DECISIONS, DELIVERIES, PROCESSING, SOFTWARE)
"""The topics whose events lead to fees at once."""

FREE = (ActivationRequested.__name__, AccountRequested.__name__)
"""Requests that cost no connection: to begin, and to see what one pays."""

Billable = SubscriberContracted | RequestAuthorized | ImageDelivered | ProcessingCompleted | SoftwareRun


def fees(book: Book, record: Record) -> tuple[FeeCharged, ...]:
    """The fees that an event leads to.

    Args:
        book: has everything that was recorded before it.
        record: the event, and its place and time in the log.

    Raises:
        InvalidMoney: an amount is beyond all measure.
    """
    event = record.event
    if not isinstance(event, Billable):
        return ()
    # A contract's own event is not yet in force at its time.
    terms = (
        event.terms
        if isinstance(event, SubscriberContracted)
        else book.terms(event.subscriber, record.timestamp)
    )
    prices = None if terms is None else book.prices(terms.tariff, record.timestamp)
    if prices is None:
        return ()
    charged: list[FeeCharged] = []
    for kind, quantity, item, fee_id in _counted(event, record):
        price = prices.price(kind, item)
        if price is not None and quantity > 0:
            charged.append(
                charge(
                    cause=event.meta,
                    position=record.position,
                    at=record.timestamp,
                    subscriber=event.subscriber,
                    prices=prices,
                    price=price,
                    quantity=quantity,
                    item=item,
                    fee_id=fee_id,
                )
            )
    return tuple(charged)


def _counted(event: Billable, record: Record) -> Iterable[tuple[FeeKind, int, str, UUID | None]]:
    """Kind, quantity and item of what an event may cost, and the fee's identity where it is special."""
    match event:
        case ImageDelivered():
            yield FeeKind.DELIVERY, 1, "", None
        case RequestAuthorized() if event.request not in FREE:
            # All requests of a conversation are in one partition, so which grant is its first is certain.
            yield FeeKind.CONNECTION, 1, "", uuid5(event.meta.correlation_id, FeeKind.CONNECTION.value)
        case SubscriberContracted():
            yield FeeKind.SUBSCRIPTION, 1, "", None
        case ProcessingCompleted(processing_type=item):
            # Whoever gets nothing, because all of it failed or was cancelled, pays nothing for having asked.
            yield FeeKind.PROCESSING_FIXED, min(1, event.results), item, None
            yield FeeKind.PROCESSING_IMAGE, event.images, item, None
            yield FeeKind.PROCESSING_BYTE, event.bytes, item, None
            yield FeeKind.PROCESSING_SESSION, event.sessions, item, None
            yield FeeKind.PROCESSING_SECOND, event.milliseconds, item, None
        case SoftwareRun(software_id=item):
            yield FeeKind.SOFTWARE_RUN, 1, item, None
            # All runs of a software are in one partition, so which is the first of the month is certain.
            month = f"medbus/software/{event.subscriber}/{item}/{record.timestamp:%Y-%m}"
            yield FeeKind.SOFTWARE_PERIOD, 1, item, uuid5(NAMESPACE_OID, month)
