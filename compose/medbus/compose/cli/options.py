"""Options that several commands share, and what they lead to."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from medbus.compose import settings as compose
from medbus.compose.home import Home, ServiceStatus
from medbus.compose.settings import Settings
from medbus.schemas.errors import SettingsError

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Home folder of the service. [env: MEDBUS_HOME]"),
]
KafkaOption = Annotated[
    str | None,
    typer.Option("--kafka", metavar="HOST:PORT", help="An existing Kafka cluster. [env: MEDBUS_KAFKA]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of a table.")]
LimitOption = Annotated[int, typer.Option(min=1, help="At most so many.")]


def status(home: Path | None) -> ServiceStatus:
    """What runs on the home; raises NotRunning if nothing does."""
    return Home(compose.load(home=home).home).status()


def installation(home: Path | None, kafka: str | None = None) -> Settings:
    """The settings, with the addresses of the service that runs on this home filled in.

    Raises:
        NotRunning: no cluster was named and no service runs on the home.
    """
    settings = compose.load(home=home, kafka=kafka)
    if settings.kafka is not None:
        return settings
    running = Home(settings.home).status()
    return settings.model_copy(
        update={
            "kafka": running.bootstrap,
            "prefix": running.prefix,
            "database": running.database,
            "blobs": running.blobs,
            "ae_title": running.ae_title,
        }
    )


def bootstrap(settings: Settings) -> str:
    """Where Kafka listens, of settings that `installation` gave."""
    assert settings.kafka is not None  # noqa: S101
    return settings.kafka


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGTP]i?)?B?", re.IGNORECASE)


def size(text: str) -> int:
    """Bytes from a text such as 500, 10GB or 1.5 TiB.

    Raises:
        SettingsError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text!r} is not a size.", "Write it as 500MB, 10GiB or 2TB.")
    number, unit = match[1], (match[2] or "").lower()
    power = "kmgtp".index(unit[0]) + 1 if unit else 0
    return int(float(number) * (1024 if unit.endswith("i") else 1000) ** power)


def instant(text: str) -> datetime:
    """A point in time from ISO 8601; without a zone it is UTC.

    Raises:
        SettingsError: it is no time.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{text!r} is neither an offset nor a time.",
            "Write an offset as PARTITION:OFFSET or OFFSET, a time as 2026-01-31T12:00 (UTC).",
        ) from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
