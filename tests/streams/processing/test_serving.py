"""Processing servers as processes, on a real broker: every item once, whoever does it, come what may."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

import numpy as np
import psutil
import pytest
from tests.streams.processes import Worker, Workers, everything, workers
from tests.streams.processing.dicom.images import image, stacked
from tests.streams.processing.items import AT, planned, put, read
from tests.streams.processing.requested import requested

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.projections.database import Database
from medbus.projections.projector import Projector
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import (
    Blob,
    DeadLettered,
    Event,
    ImageProcessed,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Meta,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingEvent,
    ProcessingFailed,
    ServerStarted,
)
from medbus.schemas.topics import DEAD_LETTERS, PROCESSING, WORK
from medbus.streams.processing.serving.service import Settings, run

PROGRAM = (str(Path(__file__).parent / "server_process.py"),)
SLOW = {"width": "17"}

E = TypeVar("E", bound=Event)
P = TypeVar("P", bound=ProcessingEvent)


class Site:
    """A log, a catalog that follows it, a blob store, and servers."""

    def __init__(self, bus: Bus, store: BlobStore, folder: Path, crew: Workers) -> None:
        self.bus, self.blobs, self.folder, self._crew = bus, store.blocking, folder, crew

    @property
    def database(self) -> str:
        return f"sqlite+aiosqlite:///{self.folder}/catalog.sqlite"

    async def start(self, name: str = "500-1", *options: str, cores: int = 1) -> Worker:
        """Start a server; returns when it is ready."""
        return await self._crew.start(
            *("--database", self.database, "--blobs", f"file://{self.folder}/blobs", "--name", name),
            *("--cores", str(cores)),
            *options,
            program=PROGRAM,
        )

    def slices(self, count: int, side: int = 16) -> list[Blob]:
        """A series in the blob store."""
        pixels = np.random.default_rng(count).integers(0, 1000, (count, side, side), dtype=np.int16)
        return put(self.blobs, stacked(pixels))

    def slow(self) -> list[Blob]:
        """An object of which a wide median takes seconds."""
        pixels = np.random.default_rng(1).integers(0, 1000, (10, 512, 512), dtype=np.int16)
        return put(self.blobs, [image(pixels)])

    async def all(self, kind: type[E]) -> list[E]:
        """All events of a kind that processing has in the log."""
        found = [record.event for record in await everything(self.bus, PROCESSING)]
        return [each for each in found if isinstance(each, kind)]

    async def until(
        self, kind: type[P], count: int, within: float = 40.0, request_id: UUID | None = None
    ) -> list[P]:
        """Wait for so many different events of a kind, of one request or of all; returns all of them,
        repeated ones too."""
        found: list[P] = []
        try:
            async with asyncio.timeout(within):
                while len({each.meta.event_id for each in found}) < count:
                    await asyncio.sleep(0.1)
                    found = [
                        each
                        for each in await self.all(kind)
                        if request_id is None or each.grant_id == request_id
                    ]
        except TimeoutError:
            raise AssertionError(f"{len(found)} of {count} {kind.__name__} after {within} s") from None
        return found


@pytest.fixture
async def site(bus: Bus, tmp_path: Path) -> AsyncIterator[Site]:
    async with (
        await BlobStore.open(f"file://{tmp_path}/blobs") as store,
        projected(bus, tmp_path),
        workers(bus) as crew,
    ):
        yield Site(bus, store, tmp_path, crew)


@asynccontextmanager
async def projected(bus: Bus, folder: Path) -> AsyncIterator[None]:
    """A catalog that follows the log."""
    async with Database(f"sqlite+aiosqlite:///{folder}/catalog.sqlite", writer=True) as database:
        projector = Projector(bus, database)
        await projector.catch_up()
        stop = asyncio.Event()
        running = asyncio.create_task(projector.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


def smoothed(blobs: Sequence[Blob], request_id: UUID | None = None) -> list[ItemPlanned]:
    """An item for each object, as frame by frame."""
    request_id = request_id or uuid4()
    return [planned([blob], item=number, request_id=request_id) for number, blob in enumerate(blobs)]


def about(request_id: UUID, kind: str) -> dict[str, object]:
    """The fields that all events about a request have."""
    head = Meta.first(request_id, source="test", occurred_at=AT)
    return {
        "meta": head.caused(kind, source="test", occurred_at=AT),
        "grant_id": request_id,
        "subscriber": "D-hospital",
    }


async def test_a_server_says_that_it_is_there_and_does_what_is_planned(site: Site) -> None:
    items = smoothed(site.slices(6))
    await site.bus.publish_all(items[:3])  # before it ever started
    await site.start("500-1", cores=2)
    await site.bus.publish_all(items[3:])
    done = await site.until(ItemProcessed, 6)
    (started,) = await site.all(ServerStarted)
    assert (started.server, started.cores) == ("500-1", 2)
    for item, event in zip(items, sorted(done, key=lambda each: each.item), strict=True):
        assert event.meta == item.meta.caused("processed", source="processing-server", occurred_at=AT)
        assert (event.grant_id, event.subscriber, event.identity) == (
            item.grant_id,
            "D-hospital",
            item.identity,
        )
        assert (event.server, event.images, event.bytes) == ("500-1", 1, item.images[0].size)
        assert (event.results, event.milliseconds > 0) == (1, True)
    made = sorted(await site.all(ImageProcessed), key=lambda each: each.item)
    assert [(each.item, each.number) for each in made] == [(number, 0) for number in range(6)]
    for each in made:
        result = read(site.blobs, each.blob)
        assert result.SOPInstanceUID == each.sop_instance_uid
        assert result.ImageType[0] == "DERIVED"


async def test_results_are_in_the_log_before_their_item_is_done(site: Site) -> None:
    await site.start()
    await site.bus.publish(planned(site.slices(20), "gaussian", {"sigma": "2", "extent": "volume"}))
    (done,) = await site.until(ItemProcessed, 1)
    assert done.results == 20
    events = [record.event for record in await everything(site.bus, PROCESSING)]
    order = [type(each) for each in events if isinstance(each, ImageProcessed | ItemProcessed)]
    assert order == [ImageProcessed] * 20 + [ItemProcessed]


async def test_what_can_t_be_read_fails_by_itself(site: Site) -> None:
    good = site.slices(5)
    whole = site.blobs.read(good[0].digest)
    native = good[0].transfer_syntax_uid
    poison = [
        site.blobs.put(np.random.default_rng(1).bytes(3000), native),
        site.blobs.put(whole[:-100], native),
        site.blobs.put(whole, "1.2.840.10008.1.2.4.100"),
        Blob(digest=f"blake3:{7:064x}", size=1, transfer_syntax_uid=native),
    ]
    items = smoothed([*good[:2], *poison, *good[2:]])
    await site.bus.publish_all(items)
    await site.start(cores=2)
    done = await site.until(ItemProcessed, 5)
    assert sorted(each.item for each in done) == [0, 1, 6, 7, 8]
    failed = sorted(await site.until(ProcessingFailed, 4), key=lambda each: each.item or 0)
    assert [each.item for each in failed] == [2, 3, 4, 5]
    assert {each.server for each in failed} == {"500-1"}
    assert all(each.meta.cause_id == items[each.item or 0].meta.event_id for each in failed)
    assert "can't be read" in failed[0].reason or "no image" in failed[0].reason
    assert "There is no decoder for MPEG2" in failed[2].reason
    assert failed[3].reason.startswith("There is no blob blake3:")
    letters = [record.event for record in await everything(site.bus, DEAD_LETTERS)]
    assert Counter(type(each) for each in letters) == {DeadLettered: 4}
    causes = {each.meta.cause_id for each in letters if isinstance(each, DeadLettered)}
    assert causes == {item.meta.event_id for item in items[2:6]}


async def test_an_item_of_a_newer_planner_fails_with_what_to_do(site: Site) -> None:
    await site.start()
    await site.bus.publish(planned(site.slices(1), version=2))
    (failed,) = await site.until(ProcessingFailed, 1)
    assert "this server has version 1. Update the server" in failed.reason


async def test_what_is_pinned_is_done_by_that_server_only(site: Site) -> None:
    await asyncio.gather(site.start("500-1"), site.start("500-2"))
    blobs = site.slices(30)
    request_id = uuid4()
    await site.bus.publish_all(
        [
            planned([blob], item=number, server=f"500-{1 + number % 3}", request_id=request_id)
            for number, blob in enumerate(blobs)
        ]
    )
    done = await site.until(ItemProcessed, 20)
    await asyncio.sleep(1)  # room for what nobody must do
    assert len(await site.all(ItemProcessed)) == 20
    assert all(each.server == f"500-{1 + each.item % 3}" for each in done)
    # What waits for a server is done when it comes.
    await site.start("500-3")
    done = await site.until(ItemProcessed, 30)
    assert all(each.server == f"500-{1 + each.item % 3}" for each in done)


def test_two_servers_share(shares: Counter[str]) -> None:
    assert set(shares) == {"500-1", "500-2"}
    assert all(0.3 <= count / shares.total() <= 0.7 for count in shares.values()), shares


@pytest.fixture
async def shares(site: Site) -> Counter[str]:
    """Who did how many of 200 items, once each of two servers has its share of the partitions: on a busy
    machine a server that is ready may have to join again."""
    await asyncio.gather(site.start("500-1"), site.start("500-2"))
    await settled(site)
    request_id = uuid4()
    await site.bus.publish_all(smoothed(site.slices(200), request_id))
    done = await site.until(ItemProcessed, 200, request_id=request_id)
    # Of an item that was done twice the first event counts.
    return Counter({each.meta.event_id: each.server or "" for each in reversed(done)}.values())


async def settled(site: Site) -> None:
    """Wait until each of two servers has half of the partitions."""
    partitions = len(site.bus.partitions(WORK))
    for _ in range(20):
        request_id = uuid4()
        await site.bus.publish_all(smoothed(site.slices(partitions), request_id))
        done = await site.until(ItemProcessed, partitions, request_id=request_id)
        if 2 * sum(each.server == "500-1" for each in done) == partitions:
            return
    raise AssertionError("the servers did not share the partitions after 20 requests")


@pytest.mark.parametrize(
    ("count", "side"), [(60, 16), pytest.param(200, 512, marks=pytest.mark.long)], ids=["small", "large"]
)
async def test_what_a_killed_server_had_is_done_by_another_one(site: Site, count: int, side: int) -> None:
    first, _ = await asyncio.gather(site.start("500-1"), site.start("500-2"))
    items = smoothed(site.slices(count, side))
    await site.bus.publish_all(items[: count // 2])
    await site.until(ItemProcessed, count // 4)
    pools = psutil.Process(first.process.pid).children(recursive=True)
    assert pools
    await first.end(signal.SIGKILL, within=5)
    await site.bus.publish_all(items[count // 2 :])
    await site.until(ItemProcessed, count, within=90)
    made = await site.all(ImageProcessed)
    # One that was repeated is the same event to the last byte: whoever knows its id has it once.
    assert len({each.meta.event_id for each in made}) == count
    assert len(set(made)) == count
    assert len({each.sop_instance_uid for each in made}) == count
    assert await site.all(ProcessingFailed) == []
    _, left = psutil.wait_procs(pools, timeout=5)
    assert left == [], "what it had started ends with it"


async def test_a_request_that_was_cancelled_before_is_not_begun(site: Site) -> None:
    request_id, other = uuid4(), uuid4()
    blobs = site.slices(4)
    await site.bus.publish(ProcessingCancelled(**about(request_id, "cancelled"), by="D-hospital"))  # type: ignore[arg-type]
    await asyncio.sleep(0.5)
    await site.start()
    await site.bus.publish_all([*smoothed(blobs, request_id), *smoothed(blobs, other)])
    skipped, done = await site.until(ItemSkipped, 4), await site.until(ItemProcessed, 4)
    assert {each.grant_id for each in skipped} == {request_id}
    assert {each.grant_id for each in done} == {other}
    assert sorted(each.item for each in skipped) == [0, 1, 2, 3]


async def test_a_request_that_is_cancelled_meanwhile_is_left_off(site: Site) -> None:
    server = await site.start()
    slow, request_id = site.slow(), uuid4()
    # One batch: the second item waits for the first one.
    await site.bus.publish_all(
        [planned(slow, "median", SLOW, item=each, slot=0, request_id=request_id) for each in range(4)]
    )
    await computing(server)
    await site.bus.publish(ProcessingCancelled(**about(request_id, "cancelled"), by="D-hospital"))  # type: ignore[arg-type]
    done, skipped = await site.until(ItemProcessed, 1), await site.until(ItemSkipped, 3)
    assert [each.item for each in done] == [0]
    assert sorted(each.item for each in skipped) == [1, 2, 3]


async def test_a_request_that_was_completed_is_passed_over(site: Site) -> None:
    request = requested()
    request_id = request.request_id
    blobs = site.slices(3)
    completed = ProcessingCompleted(
        **about(request_id, "completed"),  # type: ignore[arg-type]
        processing_type="gaussian",
        sessions=1,
        images=3,
        bytes=3,
        milliseconds=3,
    )
    await site.bus.publish_all([request, completed])
    await site.bus.publish_all(smoothed(blobs, request_id))
    await asyncio.sleep(0.5)
    await site.start()
    await site.bus.publish_all(smoothed(blobs[:1]))
    await site.until(ItemProcessed, 1)
    await asyncio.sleep(0.5)
    assert request_id not in {each.grant_id for each in await site.all(ItemProcessed)}
    assert await site.all(ItemSkipped) == []


async def computing(server: Worker) -> psutil.Process:
    """The process of a server's pool that is at work; to start takes half a second."""
    try:
        async with asyncio.timeout(20):
            while True:
                for each in psutil.Process(server.process.pid).children():
                    if each.cpu_times().user > 1.2:
                        return each
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError("none of its processes computed:\n" + server.output()) from None


async def test_a_server_ends_within_seconds_in_the_middle_of_an_item(site: Site) -> None:
    server = await site.start()
    await site.bus.publish(planned(site.slow(), "median", SLOW))
    busy = await computing(server)
    assert await server.end(signal.SIGTERM, within=8) == 0
    assert "Traceback" not in server.output()
    assert not busy.is_running()
    assert await site.all(ItemProcessed) == []
    await site.start()
    await site.until(ItemProcessed, 1)


async def test_a_process_that_is_killed_does_not_fail_an_item(site: Site) -> None:
    server = await site.start()
    await site.bus.publish(planned(site.slow(), "median", SLOW))
    busy = await computing(server)
    os.kill(busy.pid, signal.SIGKILL)
    await site.until(ItemProcessed, 1)
    assert await site.all(ProcessingFailed) == []


@pytest.mark.long
async def test_items_that_take_longer_than_a_session_are_done_once(site: Site) -> None:
    server = await site.start()
    slow = site.slow()
    items = [
        planned(slow, "median", SLOW, item=number, slot=number, request_id=uuid4()) for number in range(8)
    ]
    await site.bus.publish_all(items)
    await site.until(ItemProcessed, 8, within=100)
    await asyncio.sleep(2)
    assert len(await site.all(ItemProcessed)) == 8
    assert server.process.returncode is None


class Memory(NamedTuple):
    """The most that the processes of a server had together, in MiB.

    Attributes:
        resident: all of it.
        own: without what files have as well, which the system takes back when it needs room.
    """

    resident: int
    own: int


async def memory(server: Worker, until: asyncio.Task[Any]) -> Memory:
    """What a server needs while something goes on."""
    resident = own = 0
    main = psutil.Process(server.process.pid)
    family = [main, *main.children(recursive=True)]
    while not until.done():
        seen = [each.memory_info() for each in family]
        resident = max(resident, sum(each.rss for each in seen))
        own = max(own, sum(each.rss - each.shared for each in seen))
        await asyncio.sleep(0.02)
    return Memory(resident // 1024**2, own // 1024**2)


def series(site: Site, count: int, side: int) -> list[Blob]:
    """A series that is written slice by slice."""
    made: list[Blob] = []
    common: dict[str, Any] = {}
    row = np.arange(side, dtype=np.int16)
    for index in range(count):
        pixels = (row[:, np.newaxis] * row + index)[np.newaxis].astype(np.int16)
        (slice_,) = stacked(pixels, positions=[(0.0, 0.0, float(index))], **common)
        common = common or {
            each: str(slice_[each].value)
            for each in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
        }
        made += put(site.blobs, [slice_])
    return made


FILTER = {"sigma": "2", "extent": "volume"}
LONG = (pytest.mark.long, pytest.mark.timeout(600))


@pytest.mark.parametrize(
    ("kind", "parameters", "size"),
    [
        ("mip", {}, (160, 16, 540)),
        ("gaussian", FILTER, (160, 16, 480)),
        pytest.param("mip", {}, (1000, 512, 1024), marks=LONG),
        pytest.param("gaussian", FILTER, (1000, 512, 1024), marks=LONG),
    ],
    ids=["mip-small", "filter-small", "mip-large", "filter-large"],
)
async def test_a_large_series_needs_little_memory(
    site: Site, kind: str, parameters: dict[str, str], size: tuple[int, int, int]
) -> None:
    """The size is slices, memory for pixels, and the bound of all processes together, both in MiB. For a
    filter, what lies in files may be resident for some milliseconds on top of it."""
    count, pixels, bound = size
    blobs = series(site, count, 512)
    options = ("--memory", str(pixels * 1024**2), "--folder", str(site.folder))
    server = await site.start("500-1", *options, cores=2)
    await site.bus.publish(planned(blobs, kind, parameters))
    waiting = asyncio.create_task(site.until(ItemProcessed, 1, within=500))
    most = await memory(server, waiting)
    (done,) = await waiting
    print(f"{kind} of {count} slices: {most}, {done.milliseconds} ms")
    assert done.results == (1 if kind == "mip" else count)
    assert (most.resident if kind == "mip" else most.own) < bound


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a b"},
        {"name": ""},
        {"memory": 1},
        {"cores": 0},
        {"folder": "/not/there"},
        {"item_seconds": 0},
        {"item_seconds": 1800},
    ],
)
async def test_a_wrong_setting_is_said_before_anything_starts(changes: dict[str, object]) -> None:
    given: dict[str, object] = {
        "bootstrap": "127.0.0.1:1",
        "prefix": "x",
        "database": "x",
        "blobs": "x",
        "name": "x",
    }
    with pytest.raises(SettingsError):
        await run(Settings(**(given | changes)), stop=asyncio.Event())  # type: ignore[arg-type]
