"""One fee: so many units at a price, and where it comes from. Pure."""

from datetime import datetime
from uuid import UUID, uuid5

from medbus.bus import Position
from medbus.schemas import money
from medbus.schemas.events import FeeCharged, Meta, Origin, Price
from medbus.streams.billing.book import PriceList
from medbus.streams.tariffs.kinds import COUNTING

NAME = "billing"
"""Of the processor, and the source of fees."""


def origin(position: Position) -> Origin:
    """A place in the log, as it stands in an event."""
    (topic, partition), offset = position
    return Origin(topic=topic, partition=partition, offset=offset)


def charge(
    *,
    cause: Meta,
    position: Position,
    at: datetime,
    subscriber: str,
    prices: PriceList,
    price: Price,
    quantity: int,
    item: str = "",
    counted: str | None = None,
    per: int | None = None,
    period: str = "",
    fee_id: UUID | None = None,
) -> FeeCharged:
    """A fee.

    Args:
        cause: the head of the event that leads to it.
        position: where that event stands.
        at: when it is charged: the log's time of that event.
        subscriber: who pays.
        prices: the price list.
        price: which of its prices.
        quantity: how many units, as fees of this kind count them.
        item: the processing type or software.
        counted, per: what is counted, and of how many the price is, where that is not the kind's own.
        period: the period that it is for.
        fee_id: its identity, where that does not derive from cause and kind.

    Raises:
        InvalidMoney: the amount is beyond all measure.
    """
    event, counting = prices.event, COUNTING[price.kind]
    per = price.per * counting.fraction if per is None else per
    return FeeCharged(
        meta=Meta(
            event_id=uuid5(cause.event_id, price.kind.value) if fee_id is None else fee_id,
            cause_id=cause.event_id,
            correlation_id=cause.correlation_id,
            actor=subscriber,
            source=NAME,
            occurred_at=at,
        ),
        subscriber=subscriber,
        kind=price.kind,
        item=item,
        quantity=quantity,
        unit=counted or counting.counted,
        price=price.price,
        per=per,
        amount=money.rounded(quantity, price.price, per, event.policy, event.currency),
        policy=event.policy,
        tariff=event.tariff,
        version=event.version,
        period=period,
        cause=origin(position),
    )
