"""Which failures are worth another try, and how many records are taken together."""

import sqlite3
from collections.abc import Sequence

import pytest
from aiokafka.errors import RequestTimedOutError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

from medbus.bus import Record
from medbus.projections.errors import CatalogMissing, InvalidQuery
from medbus.schemas.errors import BusError, InvalidEvent
from medbus.schemas.events import Event
from medbus.schemas.topics import IMAGES
from medbus.streams.processor import Processor, say_nothing, transient


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("select 1", {}, sqlite3.OperationalError("database is locked")),
        InterfaceError("select 1", {}, ValueError("connection is closed")),
        CatalogMissing("There is no catalog yet."),
        RequestTimedOutError(),
        BusError("Kafka did not tell its offsets."),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=repr,
)
def test_trouble_with_the_database_kafka_or_the_network_may_pass(error: Exception) -> None:
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        AssertionError(),
        InvalidEvent("x"),
        InvalidQuery("x"),
        IntegrityError("insert", {}, sqlite3.IntegrityError("unique")),
        DataError("select", {}, ValueError("too long")),
    ],
    ids=repr,
)
def test_a_mistake_stays_one(error: Exception) -> None:
    assert not transient(error)


async def no_events(_: Record) -> Sequence[Event]:
    return ()


@pytest.mark.parametrize(("batch", "in_flight"), [(0, 32), (33, 32), (-1, 32), (1, 0)])
def test_a_batch_has_a_record_or_more_and_no_more_than_may_be_under_way(batch: int, in_flight: int) -> None:
    with pytest.raises(ValueError, match=f"A batch of {batch} does not fit into {in_flight} under way"):
        Processor(name="p", topics=(IMAGES,), handle=no_events, batch=batch, in_flight=in_flight)


def test_a_processor_handles_records_one_by_one_unless_it_says_otherwise() -> None:
    processor = Processor(name="p", topics=(IMAGES,), handle=no_events)
    assert (processor.batch, processor.in_flight, processor.buffer) == (1, 32, 64)
    assert processor.refuse is say_nothing
