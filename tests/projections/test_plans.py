"""No statement on the way of an image, in or out, walks through a table that grows."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import StaticPool
from tests.projections.examples import conflicted, contracted, erased, image, issued
from tests.projections.memory_log import MemoryLog

from medbus.projections import positions, projection
from medbus.projections.images import Level, Query, search
from medbus.projections.projector import PROJECTIONS
from medbus.schemas.events import Event, Scope

SMALL = {"positions", "definitions"}


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


async def test_the_test_would_see_a_scan() -> None:
    with founded(indexed=True) as connection, scans(connection) as found:
        connection.execute(text("SELECT * FROM images WHERE comments = 'x'"))
        connection.execute(text("SELECT * FROM images WHERE sop_instance_uid = 'x'"))
        positions.lowest(connection)
    assert len(found) == 1
