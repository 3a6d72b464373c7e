"""Which fees a period leads to when it is closed. Pure, but for the look at what was registered.

| fee | how much |
|---|---|
| management | the price, in full, if the contract was in force at any time of the period |
| management, prorated | the price by the milliseconds in force, of those of the period |
| registration by capacity allocated | byte-days of the contract's capacity, to the millisecond |
| registration by capacity in use | byte-days of what is registered, to the minute |

Where prices change within the period, each stretch is charged by its own: a fee for each version. Management
in full is charged once, by the version at the beginning. A contract without a capacity has none allocated.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import NAMESPACE_OID, UUID, uuid5

from medbus.projections.accounts import ClosedPeriod
from medbus.projections.images import ImageReader
from medbus.schemas.events import FeeCharged, FeeKind, Meta, PeriodClosed, Price
from medbus.schemas.period import Period
from medbus.streams.billing.book import PriceList, Segment
from medbus.streams.billing.fee import NAME, charge

_MILLISECOND = timedelta(milliseconds=1)
_DAY_MILLISECONDS = 86_400_000
_DAY_SECONDS = 86_400

Window = tuple[datetime, datetime]
"""A stretch of time in whole minutes, the end exclusive."""


def period_id(subscriber: str, period: str) -> UUID:
    """Identity of the event that closes a period: it is closed once."""
    return uuid5(NAMESPACE_OID, f"medbus/period/{subscriber}/{period}")


def closed(subscriber: str, period: Period, at: datetime) -> PeriodClosed:
    """The event that closes a period."""
    return PeriodClosed(
        meta=_meta(period_id(subscriber, period.name), subscriber, at),
        subscriber=subscriber,
        period=period.name,
        start=period.start,
        end=period.end,
    )


def _meta(event_id: UUID, subscriber: str, at: datetime) -> Meta:
    """The head of the event that closes a period."""
    return Meta.first(event_id, source=NAME, occurred_at=at, actor=subscriber)


def window(segment: Segment) -> Window:
    """The whole minutes that stand for a segment: neighbours share none."""
    return _minute(segment.start), _minute(segment.end)


def windows(segments: Sequence[Segment]) -> list[Window]:
    """The stretches for which it must be known how much was registered."""
    return [window(each) for each in segments if _price(each, FeeKind.REGISTRATION_IN_USE) is not None]


async def byte_seconds(
    images: ImageReader, subscriber: str, segments: Sequence[Segment]
) -> dict[Window, int]:
    """What was registered in the `windows` of some segments: bytes by seconds."""
    return {each: await images.byte_seconds(subscriber, *each) for each in windows(segments)}


def fees(
    closed: ClosedPeriod,
    segments: Sequence[Segment],
    byte_seconds: Mapping[Window, int],
) -> tuple[FeeCharged, ...]:
    """The fees of a period.

    Args:
        closed: the period.
        segments: of the period, from the book.
        byte_seconds: see `byte_seconds`.

    Raises:
        InvalidMoney: an amount is beyond all measure.
    """
    found: list[FeeCharged] = []

    def add(prices: PriceList, price: Price, quantity: int, **special: int | str) -> None:
        kind = price.kind.value
        version = f"{kind}/{prices.event.tariff}/{prices.event.version}"
        found.append(
            charge(
                cause=_meta(closed.event_id, closed.subscriber, closed.closed_at),
                position=closed.position,
                # The last instant of the period: what is charged for it belongs to it.
                at=closed.end - timedelta(microseconds=1),
                subscriber=closed.subscriber,
                prices=prices,
                price=price,
                quantity=quantity,
                period=closed.period,
                fee_id=uuid5(closed.event_id, kind if price.kind is FeeKind.MANAGEMENT else version),
                **special,  # type: ignore[arg-type]
            )
        )

    if segments and segments[0].prices is not None:
        price = segments[0].prices.price(FeeKind.MANAGEMENT)
        if price is not None:
            add(segments[0].prices, price, 1)
    for prices, stretches in _by_version(segments):
        if (price := prices.price(FeeKind.MANAGEMENT_PRORATED)) is not None:
            whole = (closed.end - closed.start) // _MILLISECOND
            add(prices, price, sum(map(_milliseconds, stretches)), per=price.per * whole)
        if (price := prices.price(FeeKind.REGISTRATION_ALLOCATED)) is not None:
            capacity = sum((each.terms.capacity_bytes or 0) * _milliseconds(each) for each in stretches)
            if any(each.terms.capacity_bytes is not None for each in stretches):
                add(prices, price, _half_up(capacity, _DAY_MILLISECONDS))
        if (price := prices.price(FeeKind.REGISTRATION_IN_USE)) is not None:
            used = sum(byte_seconds[window(each)] for each in stretches)
            add(prices, price, _half_up(used, _DAY_SECONDS))
    return tuple(found)


def _by_version(segments: Sequence[Segment]) -> list[tuple[PriceList, list[Segment]]]:
    found: dict[int, tuple[PriceList, list[Segment]]] = {}
    for each in segments:
        if each.prices is not None:
            found.setdefault(id(each.prices), (each.prices, []))[1].append(each)
    return list(found.values())


def _price(segment: Segment, kind: FeeKind) -> Price | None:
    return None if segment.prices is None else segment.prices.price(kind)


def _milliseconds(segment: Segment) -> int:
    return (segment.end - segment.start) // _MILLISECOND


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _half_up(value: int, divisor: int) -> int:
    return (2 * value + divisor) // (2 * divisor)
