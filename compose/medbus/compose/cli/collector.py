"""`medbus collector`: asks senders that agreed to it for new images."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, installation

if TYPE_CHECKING:
    from medbus.gateways import collector as gateway

COLUMNS = ("subscriber", "apparatus", "by", "from", "every", "new", "registered", "refused", "failed", "size")


def collector(
    once: Annotated[
        bool, typer.Option("--once", help="Look once at every source, show what came, and end.")
    ] = False,
    subscriber: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --once: only at the sources of this one.")
    ] = None,
    netrc: Annotated[
        Path | None, typer.Option(help="File with names and passwords of DICOMweb servers, by host.")
    ] = None,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Ask senders whose contracts agree to it for new images, and register them under these contracts.

    Sources are what `--collect` of a contract names: C-GET, C-MOVE, DICOMweb or a folder. Without --once
    they are looked at on schedule, with a line for each look that brought something, until Ctrl-C; the
    service does that by itself while it runs. Ends with exit code 1 if a source could not be looked at.

    Examples:
        medbus collector --once
        medbus collector --once --subscriber A-hospital --json
    """
    from medbus.compose.worker import collector_settings

    settings = installation(home, kafka)
    chosen = collector_settings(
        settings.model_copy(update={"collector_netrc": netrc or settings.collector_netrc})
    )
    if once:
        looked = console.run(_once(chosen, subscriber))
        show(looked, json)
        if any(each.problem for each in looked):
            raise SystemExit(console.FAILED)
    else:
        console.run(_follow(chosen, json))


def show(looked: "list[gateway.Looked]", json: bool) -> None:
    """Print what came of each source."""
    if json:
        for each in looked:
            console.as_json(each)
        return
    console.table("Sources", COLUMNS, map(row, looked))
    for each in looked:
        for text in filter(None, (each.problem, each.remark)):
            console.err.print(f"{each.subscriber} {each.apparatus_id}: {text}", markup=False)


def row(looked: "gateway.Looked") -> tuple[object, ...]:
    """A source and what came of it, for the table."""
    return (
        looked.subscriber,
        looked.apparatus_id,
        looked.retrieval.value,
        looked.address,
        f"{looked.every_seconds} s",
        looked.new,
        looked.registered,
        looked.refused,
        looked.failed,
        console.bytes_text(looked.bytes),
    )


async def _once(settings: "gateway.Settings", subscriber: str | None) -> "list[gateway.Looked]":
    from medbus.gateways.collector import run_once

    return await run_once(settings, subscriber=subscriber)


async def _follow(settings: "gateway.Settings", json: bool) -> None:
    from medbus.gateways.collector import run

    def told(looked: "gateway.Looked") -> None:
        if json:
            console.as_json(looked)
        elif looked.new or looked.problem:
            said = (
                looked.problem or f"{console.counted(looked.registered, 'image')} of {looked.new} registered"
            )
            name = f"{looked.subscriber} {looked.apparatus_id} {looked.retrieval.value}"
            console.out.print(f"{name}: {said}", markup=False)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop, told=told)
