"""`medbus status`: what runs, and how far each part is."""

from datetime import UTC, datetime

import msgspec
import psutil
from rich.text import Text

from medbus.bus import Bus, Partition
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, JsonOption
from medbus.compose.cli.options import status as running
from medbus.compose.home import ComponentStatus, ServiceStatus
from medbus.projections.database import Database
from medbus.schemas.errors import MedbusError
from medbus.schemas.topics import IMAGES, SUBSCRIBERS, TOPICS


class ComponentReport(msgspec.Struct, frozen=True):
    """A component with what the operating system says of its processes."""

    name: str
    state: str
    detail: str
    seconds: float
    restarts: int
    memory_bytes: int


class TopicReport(msgspec.Struct, frozen=True):
    """A topic: how many records it holds, and how many of them the catalogs have yet to take up."""

    topic: str
    records: int
    behind: int | None


class Report(msgspec.Struct, frozen=True):
    """The whole."""

    service: ServiceStatus
    components: list[ComponentReport]
    topics: list[TopicReport]
    trouble: str


def status(json: JsonOption = False, home: HomeOption = None) -> None:
    """Show what runs on this home: components, memory, topics, and how far the catalogs are behind.

    Ends with exit code 1 if a component is not up or the log can't be read.

    Example:
        medbus status --json
    """
    report = console.run(_report(running(home)))
    if json:
        console.as_json(report)
    else:
        _show(report)
    if report.trouble or any(component.state != "up" for component in report.components):
        raise SystemExit(console.FAILED)


async def _report(service: ServiceStatus) -> Report:
    trouble = ""
    topics: list[TopicReport] = []
    try:
        topics = await _topics(service)
    except MedbusError as error:
        trouble = str(error)
    return Report(
        service=service,
        components=[_component(each) for each in service.components],
        topics=topics,
        trouble=trouble,
    )


def _component(component: ComponentStatus) -> ComponentReport:
    memory = 0
    for pid in component.pids:
        try:
            memory += psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue
    return ComponentReport(
        name=component.name,
        state=component.state,
        detail=component.detail,
        seconds=(datetime.now(UTC) - component.since).total_seconds(),
        restarts=component.restarts,
        memory_bytes=memory,
    )


async def _topics(service: ServiceStatus) -> list[TopicReport]:
    async with Bus(service.bootstrap, client_id="medbus-status", prefix=service.prefix) as bus:
        first, last = await bus.first_offsets(*TOPICS), await bus.end_offsets(*TOPICS)
    async with Database(service.database) as database:
        taken: dict[Partition, int] = await database.positions()
    reports = []
    for topic in TOPICS:
        parts = [p for p in last if p.topic == topic.name]
        projected = topic in (SUBSCRIBERS, IMAGES)
        reports.append(
            TopicReport(
                topic=topic.name,
                records=sum(last[p] - first[p] for p in parts),
                behind=sum(last[p] - taken.get(p, 0) for p in parts) if projected else None,
            )
        )
    return reports


def _show(report: Report) -> None:
    service = report.service
    console.out.print(f"medbus (process {service.pid}) on {service.bootstrap}, prefix {service.prefix}")
    console.table(
        "Components",
        ("component", "state", "where", "for", "restarts", "memory"),
        [
            (c.name, c.state, c.detail, f"{c.seconds:.0f} s", c.restarts, console.bytes_text(c.memory_bytes))
            for c in report.components
        ],
    )
    if report.topics:
        console.table(
            "Topics",
            ("topic", "records", "catalogs behind by"),
            [(t.topic, t.records, "" if t.behind is None else t.behind) for t in report.topics],
        )
    if report.trouble:
        console.err.print(Text(report.trouble, style="bold red"))
