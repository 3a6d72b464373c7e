"""Which failures are worth another try."""

import sqlite3

import pytest
from aiokafka.errors import RequestTimedOutError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

from medbus.projections.errors import CatalogMissing, InvalidQuery
from medbus.schemas.errors import BusError, InvalidEvent
from medbus.streams.processor import transient


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
