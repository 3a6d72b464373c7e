"""`medbus up`: run the whole service in the foreground."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from medbus.compose import settings as compose
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, KafkaOption
from medbus.compose.service import Service

STYLES = {"up": "green", "restarting": "bold red", "starting": "dim", "stopping": "dim", "stopped": "dim"}


def up(
    home: HomeOption = None,
    kafka: KafkaOption = None,
    dicom_port: Annotated[
        int | None, typer.Option(help="Port of the DICOM gateway; 0 to choose a free one.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Port of the HTTP gateway; 0 to choose a free one.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="COMPONENT", help="Run this part only; may be given several times."),
    ] = None,
) -> None:
    """Run the service in the foreground until Ctrl-C, one line per component.

    Without --kafka it runs its own Kafka broker, with all data in the home folder. A component that dies is
    started again. More settings: medbus.toml in the home, and MEDBUS_… in the environment.

    Examples:
        medbus up
        medbus up --kafka kafka-1:9092,kafka-2:9092 --dicom-port 104
        medbus up --kafka kafka-1:9092 --only gateway-dicom --only gateway-http
    """
    settings = compose.load(home=home, kafka=kafka, dicom_port=dicom_port, http_port=http_port)
    console.run(_up(Service(settings, tell_component, only or ())))


async def _up(service: Service) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(each, stop.set)
    await service.run(stop, lambda: console.out.print("medbus is up. Stop it with Ctrl-C.", style="bold"))


def tell_component(component: str, state: str, detail: str) -> None:
    """Print a change of a component's state."""
    line = Text(f"{datetime.now(UTC):%H:%M:%S} ", style="dim")
    line.append(f"{component:<18} ", style="bold")
    line.append(f"{state:<11}", style=STYLES.get(state, ""))
    line.append(detail)
    console.out.print(line, soft_wrap=True)
