"""Records for tests of billing: a log that is written by hand, with the log's own times."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from medbus.bus import Partition, Position, Record
from medbus.schemas.events import (
    Channel,
    ContractCancelled,
    ContractChanged,
    Event,
    FeeCharged,
    FeeKind,
    ImageDelivered,
    Meta,
    Price,
    ProcessingCompleted,
    RequestAuthorized,
    Scope,
    SoftwareRun,
    SubscriberContracted,
    TariffSet,
    Terms,
)
from medbus.schemas.topics import TOPIC_OF
from medbus.streams.billing.book import Book
from medbus.streams.billing.charging import fees

ROOT = UUID(int=0x6D656462757300000000000000000000)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


class Ledger:
    """A log under construction. Times are given as days since the first of January 2026, or as datetimes."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._offsets: Counter[Partition] = Counter()

    def write(self, at: datetime | float, event: Event, partition: int = 0) -> Record:
        """Append an event."""
        where = Partition(TOPIC_OF[type(event)].name, partition)
        record = Record(position=Position(where, self._offsets[where]), timestamp=moment(at), event=event)
        self._offsets[where] += 1
        self.records.append(record)
        return record

    def meta(self, cause: UUID | None = None) -> Meta:
        """The head of a new event."""
        number = uuid5(ROOT, str(len(self.records)))
        head = Meta.first(cause or number, source="test", occurred_at=JANUARY)
        return (
            head
            if cause is None
            else Meta.first(number, source="test", occurred_at=JANUARY, conversation=cause)
        )

    def tariff(
        self,
        at: datetime | float,
        *prices: Price,
        name: str = "standard",
        currency: str = "EUR",
        valid_from: datetime | float | None = None,
        decimals: int = 2,
    ) -> TariffSet:
        """A new version of a price list."""
        version = 1 + sum(isinstance(r.event, TariffSet) and r.event.tariff == name for r in self.records)
        event = TariffSet(
            meta=self.meta(),
            tariff=name,
            version=version,
            valid_from=moment(at if valid_from is None else valid_from),
            currency=currency,
            policy=f"half-up-{decimals}",
            prices=prices,
        )
        self.write(at, event)
        return event

    def contract(
        self,
        at: datetime | float,
        subscriber: str = "A",
        *,
        tariff: str | None = "standard",
        capacity: int | None = None,
    ) -> Record:
        """A contract is made."""
        terms = Terms(name=subscriber, tariff=tariff, capacity_bytes=capacity)
        return self.write(at, SubscriberContracted(meta=self.meta(), subscriber=subscriber, terms=terms))

    def change(
        self,
        at: datetime | float,
        subscriber: str = "A",
        *,
        tariff: str | None = "standard",
        capacity: int | None = None,
    ) -> Record:
        """It is changed."""
        terms = Terms(name=subscriber, tariff=tariff, capacity_bytes=capacity)
        return self.write(at, ContractChanged(meta=self.meta(), subscriber=subscriber, terms=terms))

    def cancel(self, at: datetime | float, subscriber: str = "A") -> Record:
        """It is cancelled."""
        return self.write(at, ContractCancelled(meta=self.meta(), subscriber=subscriber, reason="test"))

    def grant(
        self,
        at: datetime | float,
        subscriber: str = "A",
        *,
        conversation: UUID | None = None,
        request: str = "QueryRequested",
    ) -> Record:
        """A request is granted."""
        head = self.meta(conversation)
        return self.write(
            at,
            RequestAuthorized(
                meta=head,
                request_id=head.event_id,
                request=request,
                subscriber=subscriber,
                scope=Scope(),
                expires_at=moment(at) + timedelta(hours=1),
            ),
        )

    def delivered(self, at: datetime | float, subscriber: str = "A", *, partition: int = 0) -> Record:
        """An image was delivered."""
        return self.write(
            at,
            ImageDelivered(
                meta=self.meta(),
                grant_id=ROOT,
                subscriber=subscriber,
                channel=Channel.C_GET,
                destination="A_WS",
                study_instance_uid="1.2",
                sop_instance_uid=f"1.2.{len(self.records)}",
                digest="blake3:00",
                size=1,
                transfer_syntax_uid="1.2.840.10008.1.2.1",
            ),
            partition,
        )

    def processed(
        self,
        at: datetime | float,
        subscriber: str = "A",
        *,
        kind: str = "smoothing",
        images: int = 0,
        size: int = 0,
        sessions: int = 0,
        milliseconds: int = 0,
        results: int = 1,
    ) -> Record:
        """A processing request is done."""
        return self.write(
            at,
            ProcessingCompleted(
                meta=self.meta(),
                grant_id=ROOT,
                subscriber=subscriber,
                processing_type=kind,
                sessions=sessions,
                images=images,
                bytes=size,
                milliseconds=milliseconds,
                results=results,
            ),
        )

    def ran(self, at: datetime | float, subscriber: str = "A", *, software: str = "MR_SYSTEM") -> Record:
        """Software ran."""
        return self.write(
            at,
            SoftwareRun(
                meta=self.meta(),
                grant_id=ROOT,
                subscriber=subscriber,
                apparatus_id="A_MRI#1",
                software_id=software,
                version="5.0",
                digest="blake3:00",
            ),
        )

    @property
    def book(self) -> Book:
        """All contracts and prices of the log."""
        book = Book()
        book.take(self.records)
        return book

    def charged(self) -> list[FeeCharged]:
        """All fees that follow from the events of the log."""
        book = self.book
        return [fee for record in self.records for fee in fees(book, record)]


def moment(at: datetime | float) -> datetime:
    """A time, from days since the first of January 2026."""
    return at if isinstance(at, datetime) else JANUARY + timedelta(days=at)


def price(kind: FeeKind, amount: str, per: int = 1, item: str = "") -> Price:
    """A price."""
    return Price(kind=kind, item=item, price=amount, per=per)


def shown(charged: Iterable[FeeCharged]) -> list[tuple[str, int, str, int, int]]:
    """Kind, quantity, price, of how many units, and amount in minor units of fees."""
    return [(fee.kind.value, fee.quantity, fee.price, fee.per, fee.amount.minor_units) for fee in charged]
