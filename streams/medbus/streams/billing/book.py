"""The book: which contract and which prices were in force when. Pure.

Its times are those of the log. What was recorded at a time is in force after it, strictly: of two records
with the same time nobody can say which came first, and this way billing them again gives the same.
"""

import itertools
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from medbus.bus import Record
from medbus.schemas.events import (
    ContractCancelled,
    ContractChanged,
    FeeKind,
    Price,
    SubscriberContracted,
    TariffSet,
    Terms,
)


class PriceList:
    """A version of a price list.

    Attributes:
        recorded_at: when it came to the log.
        event: the version itself.
    """

    __slots__ = ("_prices", "event", "recorded_at")

    def __init__(self, recorded_at: datetime, event: TariffSet) -> None:
        self.recorded_at = recorded_at
        self.event = event
        self._prices = {(price.kind, price.item): price for price in event.prices}

    def price(self, kind: FeeKind, item: str = "") -> Price | None:
        """What a thing costs: the item's own price, else that of its kind; None if it is free of charge."""
        return self._prices.get((kind, item)) or self._prices.get((kind, ""))


class Era(NamedTuple):
    """From when a contract had these terms; None for no contract."""

    since: datetime
    terms: Terms | None


class Segment(NamedTuple):
    """A stretch of time in which a contract had the same terms and prices."""

    start: datetime
    end: datetime
    terms: Terms
    prices: PriceList | None


class Book:
    """The history of contracts and price lists, as far as it was read."""

    def __init__(self) -> None:
        self._eras: dict[str, list[Era]] = {}
        self._lists: dict[str, list[PriceList]] = {}
        self._seen: set[UUID] = set()

    @property
    def subscribers(self) -> Collection[str]:
        """All that ever had a contract."""
        return self._eras.keys()

    def take(self, records: Iterable[Record]) -> None:
        """Enter records of the topics of subscribers and price lists, in the order of the log within each."""
        for record in records:
            event = record.event
            if not isinstance(event, SubscriberContracted | ContractChanged | ContractCancelled | TariffSet):
                continue
            if event.meta.event_id in self._seen:
                continue
            self._seen.add(event.meta.event_id)
            if isinstance(event, TariffSet):
                self._lists.setdefault(event.tariff, []).append(PriceList(record.timestamp, event))
                continue
            eras = self._eras.setdefault(event.subscriber, [])
            if isinstance(event, ContractCancelled):
                eras.append(Era(record.timestamp, None))
            elif isinstance(event, SubscriberContracted) or (eras and eras[-1].terms is not None):
                eras.append(Era(record.timestamp, event.terms))

    def first(self, subscriber: str) -> datetime | None:
        """When a subscriber had its first contract; None if it never had one."""
        eras = self._eras.get(subscriber)
        return eras[0].since if eras else None

    def terms(self, subscriber: str, at: datetime) -> Terms | None:
        """The terms of a subscriber's contract at a time; None if there was no contract in force."""
        for era in reversed(self._eras.get(subscriber, ())):
            if era.since < at:
                return era.terms
        return None

    def prices(self, tariff: str | None, at: datetime) -> PriceList | None:
        """The version of a price list that is good at a time; None if there is none."""
        best: PriceList | None = None
        for each in self._lists.get(tariff, ()) if tariff is not None else ():
            if (
                each.recorded_at < at
                and each.event.valid_from <= at
                and (best is None or each.event.valid_from >= best.event.valid_from)
            ):
                best = each
        return best

    def segments(self, subscriber: str, start: datetime, end: datetime) -> list[Segment]:
        """The stretches of a period in which a contract was in force, each with one set of terms and prices.

        Args:
            subscriber: whose contract.
            start: of the period.
            end: of the period, exclusive.
        """
        eras = self._eras.get(subscriber, [])
        cuts = {start, end}
        cuts.update(era.since for era in eras)
        for tariff in {era.terms.tariff for era in eras if era.terms is not None and era.terms.tariff}:
            for each in self._lists.get(tariff, ()):
                cuts.add(max(each.recorded_at, each.event.valid_from))
        marks = sorted(cut for cut in cuts if start <= cut <= end)
        found: list[Segment] = []
        for begin, until in itertools.pairwise(marks):
            # What begins at a mark is in force right after it.
            within = begin + (until - begin) / 2
            terms = self.terms(subscriber, within)
            if terms is None:
                continue
            segment = Segment(begin, until, terms, self.prices(terms.tariff, within))
            if found and found[-1][1:] == (begin, terms, segment.prices):
                segment = segment._replace(start=found.pop().start)
            found.append(segment)
        return found
