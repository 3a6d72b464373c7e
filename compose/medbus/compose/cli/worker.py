"""`medbus worker`: one more server beside those of the service, on this machine or another."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, KafkaOption, installation, size

if TYPE_CHECKING:
    from medbus.streams.processing.serving import service as serving

app = typer.Typer(help="Servers that share the service's work.", no_args_is_help=True)


@app.callback()
def _worker() -> None:
    """Servers that share the service's work."""


@app.command()
def processing(
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What it is called; no other server has the name.")
    ],
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="With how many processes it computes; one for each core by default."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="How much memory pixels may take; 1GiB by default.")
    ] = None,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Process images, together with the other servers, until Ctrl-C.

    What is under way when it ends is done by another server, once. On another machine it needs the service's
    Kafka, catalogs and blob store: --kafka, and MEDBUS_DATABASE and MEDBUS_BLOBS in the environment.

    Examples:
        medbus worker processing --name 500-1
        medbus worker processing --name 500-2 --cores 4 --memory 2GiB --kafka kafka:9092
    """
    from medbus.compose import logs
    from medbus.compose.worker import server_settings

    chosen = {"processing_cores": cores, "processing_memory": None if memory is None else size(memory)}
    settings = installation(home, kafka).model_copy(
        update={option: value for option, value in chosen.items() if value is not None}
    )
    logs.configure(settings.log_level)
    console.run(_serve(server_settings(settings, name, f"processing-server-{name}")))


async def _serve(settings: "serving.Settings") -> None:
    from medbus.streams.processing.serving import service as serving

    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)

    def ready() -> None:
        console.out.print(f"{settings.name} takes work. Stop it with Ctrl-C.", style="bold")

    await serving.run(settings, stop=stop, ready=ready)
