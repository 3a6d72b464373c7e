"""Small events of images to write and to read."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from tests.bus import raw
from tests.bus.waiting import until

from medbus.bus import Bus, Partition, Record
from medbus.schemas.events import ImageErased, Meta
from medbus.schemas.topics import IMAGES


def erased(
    study: str = "1.2.3", number: int = 0, reason: str = "by order", event_id: UUID | None = None
) -> ImageErased:
    """An event of a study; the number tells it from the others."""
    return ImageErased(
        meta=Meta.first(event_id or uuid4(), source="test", occurred_at=datetime.now(UTC)),
        study_instance_uid=study,
        sop_instance_uid=str(number),
        digest="blake3:00",
        reason=reason,
    )


def numbers(records: list[Record]) -> list[int]:
    """The numbers of the events, in the order of the records."""
    found: list[int] = []
    for record in records:
        assert isinstance(record.event, ImageErased), record
        found.append(int(record.event.sop_instance_uid))
    return found


async def write(bus: Bus, *range_: int, study: str = "1.2.3") -> Partition:
    """Write numbered events of one study; all are in the partition that is returned."""
    positions = await bus.publish_all([erased(study=study, number=number) for number in range(*range_)])
    (partition,) = {position.partition for position in positions}
    return partition


async def total(bus: Bus) -> int:
    """How many offsets are taken."""
    return sum((await bus.end_offsets(IMAGES)).values())


async def write_with_marker(bus: Bus, kafka: str, number: int, *, abort: bool = False) -> None:
    """Write an event in a transaction: it ends with a marker, which takes an offset and is no record."""
    before = await total(bus)
    encoded = bus.codec.encode(erased(number=number))
    async with raw.producer(kafka, transactional_id=f"{bus.prefix}-markers") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(f"{bus.prefix}.images", encoded.value, key=encoded.key)
        await (producer.abort_transaction() if abort else producer.commit_transaction())

    async def marked() -> bool:
        return await total(bus) == before + 2

    await until(marked, 10, "the marker in the log")
