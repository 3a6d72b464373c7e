"""No statement on the way of an image, a fee, a request or an item walks through a table that grows."""

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import StaticPool
from tests.projections.asked import asked as database_of
from tests.projections.examples import NOON, conflicted, contracted, erased, image, issued
from tests.projections.interleaving import log_of
from tests.projections.memory_log import BEGIN, MemoryLog
from tests.projections.money import (
    APRIL,
    asked,
    authorized,
    closing,
    euros,
    fee,
    invoice,
    payment,
    periodic,
    rejected,
    tariff,
)
from tests.projections.processing_events import (
    answered,
    cancelled,
    completed,
    failed,
    granted,
    identity_of,
    image_processed,
    item_processed,
    kept,
    planned,
    processing,
    refused,
    server_started,
    skipped,
    started,
)

from medbus.projections import positions, projection
from medbus.projections.accounts import AccountReader
from medbus.projections.database import Database
from medbus.projections.images import ImageReader, Level, Query, search
from medbus.projections.processing import ProcessingReader
from medbus.projections.projector import PROJECTIONS
from medbus.projections.requests import Outcome, RequestReader
from medbus.schemas.events import Answer, Event, FeeKind, Keep, Scope

SMALL = {"positions", "definitions", "processing_load", "processing_servers"}
DUE = ("processing_unkept", "processing_unanswered")
"""They hold only what is still to be done, not what was."""


@contextmanager
def founded(*, indexed: bool) -> Iterator[Connection]:
    engine = create_engine("sqlite+pysqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        projection.found(connection, PROJECTIONS)
        if indexed:
            projection.index(connection, PROJECTIONS)
        yield connection
    engine.dispose()


@contextmanager
def scans(connection: Connection) -> Iterator[list[str]]:
    """The tables that are walked through by the statements within."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    found: list[str] = []
    try:
        yield found
    finally:
        event.remove(connection, "before_cursor_execute", note)
    for statement, parameters in statements:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        for _, _, _, step in plan:
            match = re.match(r"SCAN (\w+)", step)
            if match and match[1] not in SMALL and not match[1].startswith(("anon", "json_each")):
                found.append(f"{step}: {statement}")


MARCH_CLOSED, APRIL_CLOSED = closing("A"), closing("A", APRIL)
REQUEST = asked()
MONEY: list[Event] = [
    tariff(),
    REQUEST,
    authorized(REQUEST),
    fee("A"),
    fee("B"),
    payment("A", reference="R1"),
    payment("B", reference="R1"),
    MARCH_CLOSED,
    periodic(MARCH_CLOSED),
    invoice(MARCH_CLOSED, euros(3025)),
    APRIL_CLOSED,
    rejected(asked(), "A"),
]
PROCESSING = processing(keep=Keep.AFTER, answer=Answer.C_STORE, destinations=("A", "B"))
REJECTED, FAILED = processing(), processing()
WORK: list[Event] = [
    *(PROCESSING, granted(PROCESSING), started(PROCESSING, 4)),
    *(planned(PROCESSING, item, slot=item) for item in range(4)),
    *(image_processed(PROCESSING, 0), item_processed(PROCESSING, 0), failed(PROCESSING, 1)),
    *(cancelled(PROCESSING), skipped(PROCESSING, 2), completed(PROCESSING), planned(PROCESSING, 5)),
    *(kept(PROCESSING), answered(PROCESSING)),
    *(REJECTED, refused(REJECTED), FAILED, failed(FAILED), server_started("500-1")),
]


async def test_taking_up_events_walks_through_no_table_even_before_there_are_indexes() -> None:
    first = image("1", study="1.1")
    events: list[Event] = [
        first,
        image("1", study="1.1", contents="other"),
        image("1", study="1.5"),
        image("2", study="1.1", name="DOE^JANET"),
        conflicted(first),
        erased(first),
        contracted("A"),
        issued("A", "aa"),
        *MONEY,
        *MONEY,
        *WORK,
        *WORK,
    ]
    log = MemoryLog()
    log.extend(events)
    with founded(indexed=False) as connection, scans(connection) as found:
        for record in log.all():
            projection.apply(connection, PROJECTIONS, [record])
    # What nobody has registered any more is swept from a table of registrants.
    assert [each for each in found if not each.startswith("SCAN usage")] == []


QUERIES = [
    (Level.STUDY, {"StudyInstanceUID": "1.1"}),
    (Level.STUDY, {"StudyInstanceUID": "1.1\\1.2"}),
    (Level.STUDY, {"PatientID": "P1"}),
    (Level.STUDY, {"PatientName": "DOE*"}),
    (Level.STUDY, {"PatientName": "DOE^JANE"}),
    (Level.STUDY, {"AccessionNumber": "A1"}),
    (Level.PATIENT, {"PatientID": "P1"}),
    (Level.PATIENT, {"PatientName": "DOE*"}),
    (Level.SERIES, {"StudyInstanceUID": "1.1"}),
    (Level.SERIES, {"SeriesInstanceUID": "1.1.1"}),
    (Level.IMAGE, {"SOPInstanceUID": "1"}),
    (Level.IMAGE, {"SeriesInstanceUID": "1.1.1"}),
    (Level.IMAGE, {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.1"}),
    (Level.IMAGE, {"PatientID": "P1", "StudyInstanceUID": "1.1"}),
]
COUNTS = {
    Level.PATIENT: ["NumberOfPatientRelatedInstances"],
    Level.STUDY: ["NumberOfStudyRelatedInstances", "ModalitiesInStudy", "NumberOfPatientRelatedStudies"],
    Level.SERIES: ["NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedInstances"],
    Level.IMAGE: ["NumberOfSeriesRelatedInstances"],
}


@pytest.mark.parametrize("scope", [Scope(), Scope(patients=("P1",), registrants=("A-hospital",))])
@pytest.mark.parametrize(("level", "texts"), QUERIES)
async def test_queries_for_something_walk_through_no_table(
    level: Level, texts: dict[str, str], scope: Scope
) -> None:
    log = MemoryLog(partitions=1)
    log.extend(image(f"{n}", study=f"1.{n % 9}", patient=f"P{n % 9}") for n in range(40))
    with founded(indexed=True) as connection:
        projection.apply(connection, PROJECTIONS, log.all())
        query = Query.of(level, dict.fromkeys(COUNTS[level], "") | texts)
        with scans(connection) as found:
            search.page(connection, query, scope, after=None, size=100)
    assert found == []


async def lines_and_fees(reader: AccountReader) -> None:
    closed = await reader.last_closed("A")
    assert closed is not None
    await reader.lines(closed)
    assert [each async for each in reader.fees_of(closed, "EUR")] == []


ACCOUNTS: list[Callable[[AccountReader], Awaitable[object]]] = [
    lambda reader: reader.account("A"),
    lambda reader: reader.balance("A", "EUR"),
    lambda reader: reader.currency("basic"),
    lambda reader: reader.fees("A"),
    lambda reader: reader.fees("A", since=NOON, kind=FeeKind.DELIVERY),
    lambda reader: reader.fees(since=NOON),
    lambda reader: reader.closed("A"),
    lambda reader: reader.last_closed("A"),
    lambda reader: reader.invoices("A"),
    lambda reader: reader.invoices(period="2026-03"),
    lambda reader: reader.invoice("A/2026-03/EUR"),
    lambda reader: reader.payments("A"),
    lambda reader: reader.payment(payment("A", reference="R1").meta.event_id),
    lines_and_fees,
]
REQUESTS: list[Callable[[RequestReader], Awaitable[object]]] = [
    lambda reader: reader.request(REQUEST.request_id),
    lambda reader: reader.requests(subscriber="A"),
    lambda reader: reader.requests(subscriber="A", since=BEGIN),
    lambda reader: reader.requests(outcome=Outcome.REJECTED),
    lambda reader: reader.requests(since=BEGIN, outcome=Outcome.UNDECIDED),
]
PROCESSING_ID = PROCESSING.request_id
PROCESSINGS: list[Callable[[ProcessingReader], Awaitable[object]]] = [
    lambda reader: reader.job(PROCESSING_ID),
    lambda reader: reader.jobs(subscriber="A"),
    lambda reader: reader.jobs(subscriber="A", since=BEGIN, until=NOON),
    lambda reader: reader.jobs(since=BEGIN),
    lambda reader: reader.request(PROCESSING_ID),
    lambda reader: reader.grant(PROCESSING_ID),
    lambda reader: reader.items(PROCESSING_ID),
    lambda reader: reader.failures(PROCESSING_ID),
    lambda reader: reader.results(PROCESSING_ID),
    lambda reader: reader.results(PROCESSING_ID, item=0),
    lambda reader: reader.results(PROCESSING_ID, after=(0, 0), limit=10),
    lambda reader: reader.result(PROCESSING_ID, "2.25.1"),
    lambda reader: reader.same(identity_of(PROCESSING, 0)),
    lambda reader: reader.same_item(identity_of(PROCESSING, 0)),
    lambda reader: reader.totals(PROCESSING_ID),
    lambda reader: reader.load(),
    lambda reader: reader.servers(),
    lambda reader: reader.cancelled(PROCESSING_ID),
    lambda reader: reader.unkept(10),
    lambda reader: reader.unanswered(10),
    lambda reader: reader.answers(PROCESSING_ID),
]


@pytest.mark.parametrize("ask", ACCOUNTS)
async def test_questions_about_an_account_walk_through_no_table(
    ask: Callable[[AccountReader], Awaitable[object]],
) -> None:
    with founded(indexed=True) as connection:
        projection.apply(connection, PROJECTIONS, log_of(MONEY).all())
        with scans(connection) as found:
            await ask(AccountReader(database_of(connection)))
    assert found == []


@pytest.mark.parametrize("ask", REQUESTS)
async def test_questions_about_requests_walk_through_no_table(
    ask: Callable[[RequestReader], Awaitable[object]],
) -> None:
    with founded(indexed=True) as connection:
        projection.apply(connection, PROJECTIONS, log_of(MONEY).all())
        with scans(connection) as found:
            await ask(RequestReader(database_of(connection)))
    assert found == []


@pytest.mark.parametrize("ask", PROCESSINGS)
async def test_questions_about_processing_walk_through_no_table(
    ask: Callable[[ProcessingReader], Awaitable[object]],
) -> None:
    with founded(indexed=True) as connection:
        projection.apply(connection, PROJECTIONS, log_of(WORK).all())
        with scans(connection) as found:
            await ask(ProcessingReader(database_of(connection)))
    assert [each for each in found if not each.startswith(tuple(f"SCAN {name} USING" for name in DUE))] == []


async def test_usage_over_time_walks_through_no_table() -> None:
    with founded(indexed=True) as connection, scans(connection) as found:
        await ImageReader(database_of(connection)).byte_seconds("A", BEGIN, NOON)
    assert found == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda database: AccountReader(database).fees(),
        lambda database: AccountReader(database).closed(limit=1),
        lambda database: AccountReader(database).invoices(),
        lambda database: AccountReader(database).payments(),
        lambda database: RequestReader(database).requests(),
        lambda database: ProcessingReader(database).jobs(),
    ],
)
async def test_the_newest_of_all_are_found_by_an_index(ask: Callable[[Database], Awaitable[object]]) -> None:
    with founded(indexed=True) as connection, scans(connection) as found:
        await ask(database_of(connection))
    assert len(found) == 1
    assert re.match(r"SCAN \w+ USING INDEX \w+_by_time", found[0])


async def test_the_test_would_see_a_scan() -> None:
    with founded(indexed=True) as connection, scans(connection) as found:
        connection.execute(text("SELECT * FROM images WHERE comments = 'x'"))
        connection.execute(text("SELECT * FROM images WHERE sop_instance_uid = 'x'"))
        positions.lowest(connection)
    assert len(found) == 1
