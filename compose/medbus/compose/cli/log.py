"""`medbus tail` and `medbus replay`: decoded events from the log."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import typer
from rich.text import Text

from medbus.bus import Bus, Partition, Record, Start, Undecodable
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, bootstrap, installation, instant
from medbus.compose.settings import Settings
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import Event, Value
from medbus.schemas.topics import TOPICS, Topic

TopicArgument = Annotated[str, typer.Argument(help="One of: " + ", ".join(t.name for t in TOPICS) + ".")]
TopicsArgument = Annotated[
    list[str] | None, typer.Argument(help="Topics to read; all of them by default.", metavar="[TOPIC]...")
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="WHERE", help="A time (UTC), OFFSET, or PARTITION:OFFSET. Inclusive."),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="WHERE", help="A time (UTC), OFFSET, or PARTITION:OFFSET. Exclusive."),
]


def tail(
    topic: TopicArgument,
    since: FromOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show events of a topic as they come, until Ctrl-C.

    Examples:
        medbus tail images
        medbus tail decisions --from 2026-01-31T08:00 --json
    """
    console.run(_tail(named(topic), since, json, installation(home, kafka)))


def replay(
    topics: TopicsArgument = None,
    since: FromOption = None,
    until: ToOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show what the log holds, and end. Sends nothing and changes nothing.

    Examples:
        medbus replay requests decisions --from 2026-01-31 --to 2026-02-01
        medbus replay images --from 0:120 --to 0:130 --json
    """
    chosen = [named(name) for name in topics] if topics else list(TOPICS)
    console.run(_replay(chosen, since, until, json, installation(home, kafka)))


def named(name: str) -> Topic:
    """The topic of this name; SettingsError if there is none."""
    for topic in TOPICS:
        if name.rpartition(".")[2] == topic.name:
            return topic
    raise SettingsError(f"There is no topic {name!r}.", f"Choose one of {', '.join(t.name for t in TOPICS)}.")


async def _tail(topic: Topic, since: str | None, json: bool, settings: Settings) -> None:
    async with Bus(bootstrap(settings), client_id="medbus-tail", prefix=settings.prefix) as bus:
        start = Start.END if since is None else await _offsets(since, bus, [topic])
        async with bus.subscribe(topic, start=start) as batches:
            async for batch in batches:
                _show(batch, json)


async def _replay(
    topics: Sequence[Topic], since: str | None, until: str | None, json: bool, settings: Settings
) -> None:
    async with Bus(bootstrap(settings), client_id="medbus-replay", prefix=settings.prefix) as bus:
        begin = None if since is None else await _offsets(since, bus, topics)
        end = None if until is None else await _offsets(until, bus, topics)
        async for batch in bus.replay(*topics, since=begin, until=end):
            _show(batch, json)


async def _offsets(where: str, bus: Bus, topics: Sequence[Topic]) -> dict[Partition, int]:
    """Offsets from a time, OFFSET (of every partition) or PARTITION:OFFSET (of that one)."""
    match = re.fullmatch(r"(?:(\d+):)?(\d+)", where)
    if match is None:
        return await bus.offsets_at(instant(where), *topics)
    number = None if match[1] is None else int(match[1])
    first = await bus.first_offsets(*topics)
    return {
        partition: int(match[2]) if number in (None, partition.number) else offset
        for partition, offset in first.items()
    }


def _show(batch: Sequence[Record], json: bool) -> None:
    for record in batch:
        (_show_json if json else _show_line)(record)


def _show_json(record: Record) -> None:
    partition, offset = record.position
    console.as_json(
        {
            "topic": partition.topic,
            "partition": partition.number,
            "offset": offset,
            "timestamp": record.timestamp,
            "type": type(record.event).__name__,
            "event": record.event,
        }
    )


def _show_line(record: Record) -> None:
    text = Text(f"{console.moment(record.timestamp)} ", style="dim")
    text.append(f"{record.position!s:<24} ", style="cyan")
    if isinstance(record.event, Undecodable):
        text.append(f"undecodable: {record.event.error}", style="red")
    else:
        text.append(f"{type(record.event).__name__:<22} ", style="bold")
        text.append(" ".join(f"{name}={_brief(value)}" for name, value in _told(record.event)), style="")
    console.out.print(text, soft_wrap=True)


def _told(event: Event) -> Iterator[tuple[str, object]]:
    """The fields of an event that a line has room for: all but its head, one level deep."""
    if event.meta.actor:
        yield "actor", event.meta.actor
    for name in event.__struct_fields__[1:]:
        value = getattr(event, name)
        if isinstance(value, Value):
            for inner in value.__struct_fields__:
                yield inner, getattr(value, inner)
        else:
            yield name, value


def _brief(value: object) -> str:
    match value:
        case None | "" | () | {}:
            return "-"
        case bytes():
            return f"<{len(value)} bytes>"
        case Mapping():
            return f"<{len(value)} entries>"
        case tuple():
            return f"<{len(value)}>" if len(value) > 3 else ",".join(_brief(each) for each in value)
        case Value():
            return f"<{type(value).__name__}>"
    return str(value)
