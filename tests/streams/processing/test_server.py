"""What a server makes of a batch, without a broker and without processes."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from tests.streams.processing.items import AT, planned

from medbus.bus import Partition, Position, Record
from medbus.projections.processing import Item, ItemState, Job
from medbus.schemas.events import (
    Answer,
    Blob,
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Keep,
    ProcessingFailed,
)
from medbus.streams.processing.serving.outcome import Made, Outcome
from medbus.streams.processing.serving.pool import ItemFailed, Pool, StoreTrouble, always
from medbus.streams.processing.serving.server import Server
from medbus.streams.processor import transient

BLOB = Blob(digest=f"blake3:{1:064x}", size=100, transfer_syntax_uid="1.2.840.10008.1.2.1")


class Catalog:
    """A catalog that knows what it is told."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.known: list[Item] = []
        self.gone: set[UUID] = set()
        self.asked: list[UUID] = []

    async def job(self, request_id: UUID, /) -> Job | None:
        self.asked.append(request_id)
        return self.jobs.get(request_id)

    async def items(self, request_id: UUID, /) -> list[Item]:
        return [each for each in self.known if each.request_id == request_id]

    async def cancelled(self, request_id: UUID, /) -> bool:
        return request_id in self.gone


class Done(Pool):
    """Does every item at once, except those for which there is an error."""

    def __init__(self, results: int = 1) -> None:
        self.results = results
        self.errors: dict[int, Exception] = {}
        self.ran: list[int] = []

    async def run(self, item: ItemPlanned, wanted: Callable[[], bool] = always) -> Outcome | None:
        self.ran.append(item.item)
        if item.item in self.errors:
            raise self.errors[item.item]
        made = Made(
            description="done",
            study_instance_uid="1",
            series_instance_uid="1.1",
            sop_class_uid="1.2",
            sop_instance_uid=f"1.1.{item.item}",
            blob=BLOB,
        )
        made_all = (made,) * self.results
        return Outcome(made=made_all, findings=(), images=1, bytes=100, milliseconds=5) if wanted() else None


class Site:
    """A server, and what it is given."""

    def __init__(self, results: int = 1) -> None:
        self.catalog, self.pool, self.lately = Catalog(), Done(results), set[UUID]()
        self.server = Server(
            "500-1",
            self.pool,
            processes=2,
            catalog=self.catalog,
            cancellations=self.lately,
            stall_seconds=4800,
        )
        self.shared = self.server.processor(pinned=False)
        self.pinned = self.server.processor(pinned=True)

    async def made(self, *items: ItemPlanned, pinned: bool = False) -> list[list[type[Event]]]:
        """The kinds of events that each item of a batch leads to."""
        processor = self.pinned if pinned else self.shared
        records = [record(item) for item in items]
        await processor.prepare(records)
        return [[type(event) for event in await processor.handle(each)] for each in records]


def record(item: ItemPlanned) -> Record:
    return Record(
        position=Position(Partition("work", 0), item.item),
        timestamp=datetime(2026, 3, 4, tzinfo=UTC),
        event=item,
    )


def items(count: int, request_id: UUID | None = None, server: str | None = None) -> list[ItemPlanned]:
    request_id = request_id or uuid4()
    return [planned([BLOB], item=number, server=server, request_id=request_id) for number in range(count)]


async def test_a_batch_is_done_together_and_asks_once_for_each_request() -> None:
    site, one, other = Site(), uuid4(), uuid4()
    made = await site.made(*items(3, one), *items(2, other))
    assert made == [[ImageProcessed, ItemProcessed]] * 5
    assert site.catalog.asked == [one, other]


async def test_the_shared_group_passes_over_what_is_pinned_and_the_own_one_what_is_not() -> None:
    site = Site()
    batch = [*items(1), *items(1, server="500-1"), *items(1, server="500-2")]
    assert await site.made(*batch) == [[ImageProcessed, ItemProcessed], [], []]
    assert await site.made(*batch, pinned=True) == [[], [ImageProcessed, ItemProcessed], []]


async def test_an_item_that_comes_again_is_not_done_again() -> None:
    site, (item, *_) = Site(), items(1)
    first = await site.made(item)
    assert await site.made(item, item) == [*first, *first]
    assert site.pool.ran == [0]


async def test_of_an_item_with_many_results_the_events_are_not_kept() -> None:
    site, (item, *_) = Site(results=500), items(1)
    assert await site.made(item, item) == [[*[ImageProcessed] * 500, ItemProcessed]] * 2
    assert site.pool.ran == [0, 0]


async def test_an_item_that_fails_leaves_the_others_alone() -> None:
    site, batch = Site(), items(3)
    site.pool.errors[1] = ItemFailed("It is damaged.", "Send it again.")
    records = [record(item) for item in batch]
    await site.shared.prepare(records)
    assert len(await site.shared.handle(records[0])) == len(await site.shared.handle(records[2])) == 2
    with pytest.raises(ItemFailed, match="It is damaged"):
        await site.shared.handle(records[1])
    (failed,) = site.shared.refuse(records[1], "ItemFailed: It is damaged. Send it again.")
    assert isinstance(failed, ProcessingFailed)
    assert (failed.item, failed.server, failed.reason) == (1, "500-1", "It is damaged. Send it again.")
    assert failed.meta == batch[1].meta.caused("failed", source="processing-server", occurred_at=AT)
    assert list(site.pinned.refuse(records[1], "ItemFailed: x")) == []


async def test_where_the_store_is_away_the_batch_is_tried_again_and_what_is_done_is_done() -> None:
    site, batch = Site(), items(3)
    site.pool.errors[1] = StoreTrouble("The store is away.")
    assert transient(site.pool.errors[1])
    with pytest.raises(StoreTrouble):
        await site.made(*batch)
    del site.pool.errors[1]
    assert await site.made(*batch) == [[ImageProcessed, ItemProcessed]] * 3
    assert sorted(site.pool.ran) == [0, 1, 1, 2]


async def test_what_is_cancelled_is_skipped_wherever_that_is_known_first() -> None:
    for known in ("catalog", "log"):
        site, request_id = Site(), uuid4()
        (site.catalog.gone if known == "catalog" else site.lately).add(request_id)
        assert await site.made(*items(2, request_id)) == [[ItemSkipped]] * 2
        assert site.pool.ran == []


async def test_an_item_that_was_done_before_its_request_was_cancelled_is_not_skipped() -> None:
    site, request_id = Site(), uuid4()
    site.catalog.gone.add(request_id)
    site.catalog.known = [Item(request_id=request_id, item=0, state=ItemState.PROCESSED)]
    assert await site.made(*items(2, request_id)) == [[], [ItemSkipped]]


async def test_a_request_that_is_completed_is_passed_over() -> None:
    site, request_id = Site(), uuid4()
    site.catalog.jobs[request_id] = Job(
        request_id=request_id,
        conversation=request_id,
        requested_at=AT,
        processing_type="gaussian",
        parameters={},
        keep=Keep.NEITHER,
        answer=Answer.FETCH,
        completed_at=AT,
    )
    assert await site.made(*items(2, request_id)) == [[], []]
    assert site.pool.ran == []


def test_the_two_places_have_groups_of_their_own_and_batches_of_twice_the_pool() -> None:
    site = Site()
    assert (site.shared.name, site.pinned.name) == ("processing-server", "processing-server-500-1")
    for each in (site.shared, site.pinned):
        assert (each.batch, each.stall_seconds) == (4, 4800)
        assert each.buffer < 64
