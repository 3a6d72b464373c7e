"""`medbus topics`: create and verify the topics of an installation."""

import typer

from medbus.bus import admin
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption, JsonOption, KafkaOption, bootstrap, installation
from medbus.compose.settings import Settings
from medbus.schemas.topics import TOPICS

app = typer.Typer(help="Topics: create them, verify their settings.", no_args_is_help=True)


@app.command()
def create(home: HomeOption = None, kafka: KafkaOption = None) -> None:
    """Create the topics and register the schemas that are missing. Safe to run again.

    `medbus up` does it by itself. One at a time on a cluster.

    Example:
        medbus topics create --kafka kafka-1:9092
    """
    settings = installation(home, kafka)
    created = console.run(admin.create_topics(bootstrap(settings), settings.prefix))
    for name in created:
        console.out.print(f"created {name}")
    if not created:
        console.out.print("Nothing was missing.")


@app.command()
def verify(json: JsonOption = False, home: HomeOption = None, kafka: KafkaOption = None) -> None:
    """Check that every topic keeps everything: no deletion, dated by arrival.

    Ends with exit code 1, and says which setting is wrong, if one is.

    Example:
        medbus topics verify
    """
    settings = installation(home, kafka)
    counts = console.run(_verify(settings))
    rows = [
        (
            topic.full_name(settings.prefix),
            counts[topic.full_name(settings.prefix)],
            topic.key_name,
            topic.owner,
        )
        for topic in TOPICS
    ]
    columns = ("topic", "partitions", "key", "written by")
    if json:
        for row in rows:
            console.as_json(dict(zip(columns, row, strict=True)))
    else:
        console.table("Topics, all settings as they must be", columns, rows)


async def _verify(settings: Settings) -> dict[str, int]:
    return await admin.verify_topics(bootstrap(settings), settings.prefix)
