"""Settings of an installation: from options, the environment (`MEDBUS_…`), `medbus.toml`, in this order."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from medbus.schemas.errors import SettingsError
from medbus.schemas.period import UNITS

DEFAULT_HOME = Path.home() / ".medbus"


class Settings(BaseSettings):
    """Everything that can be set. Each is also a variable `MEDBUS_` and the name in capitals."""

    model_config = SettingsConfigDict(env_prefix="MEDBUS_", extra="forbid", frozen=True)

    home: Path = Field(DEFAULT_HOME, description="Folder that holds all data of an embedded installation.")
    kafka: str | None = Field(None, description="HOST:PORT of an existing Kafka cluster; else embedded.")
    kafka_port: int = Field(0, ge=0, le=65535, description="Port of the embedded broker; 0 to choose one.")
    prefix: str = Field("medbus", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="First part of topic names.")
    database: str | None = Field(None, description="SQLAlchemy URL of the catalogs; else SQLite in the home.")
    blobs: str | None = Field(None, description="URL of the blob store; else a folder in the home.")
    dicom_host: str = Field("127.0.0.1", description="Address at which the DICOM gateway listens.")
    dicom_port: int = Field(11112, ge=0, le=65535, description="Its port; 0 to choose one.")
    dicom_workers: int = Field(
        min(os.cpu_count() or 1, 8), ge=1, le=64, description="How many processes share that port."
    )
    ae_title: str = Field("MEDBUS", min_length=1, max_length=16, description="Its application entity title.")
    tls_certificate: Path | None = Field(None, description="Server certificate (PEM); turns TLS on.")
    tls_key: Path | None = Field(None, description="Its private key (PEM).")
    tls_client_ca: Path | None = Field(None, description="CA of client certificates; demands them.")
    tls_outgoing_ca: Path | None = Field(None, description="CA of peers; what is sent to them goes over TLS.")
    http_host: str = Field("127.0.0.1", description="Address at which the HTTP gateway listens.")
    http_port: int = Field(8080, ge=0, le=65535, description="Its port; 0 to choose one.")
    http_image_bytes: int = Field(
        4 * 1024**3, ge=1, description="Most bytes of an image that comes with a request for processing."
    )
    http_body_bytes: int = Field(16 * 1024**3, ge=1, description="Most bytes of such a request in all.")
    decision_seconds: float = Field(5.0, gt=0, description="How long a gateway waits for a decision.")
    auth_workers: int = Field(1, ge=1, le=64, description="How many processes decide requests.")
    billing_workers: int = Field(1, ge=1, le=64, description="How many processes charge fees.")
    processing_servers: int = Field(
        1, ge=0, le=64, description="How many servers process images here; more may run elsewhere."
    )
    processing_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,60}$",
        description="What they are called, with a number behind it; else as the host is.",
    )
    processing_cores: int | None = Field(
        None, ge=1, le=256, description="With how many processes each of them computes; one for each core."
    )
    processing_memory: int = Field(
        1024**3, ge=256 * 1024**2, description="Bytes of memory that each of them may use."
    )
    billing_period: str = Field(
        "month",
        pattern=f"^({'|'.join(UNITS)}|off)$",
        description="What is closed and invoiced when it is over: month, day and so on; off for none.",
    )
    payment_secrets: Path | None = Field(
        None, description="File with the secrets of the payment webhook, one a line; turns it on."
    )
    webhook_key: Path | None = Field(
        None,
        description="File with the key from which the secrets of subscribers' webhooks derive; "
        "else webhook.key in the home, made at first use.",
    )
    collector_netrc: Path | None = Field(
        None, description="File with names and passwords of the DICOMweb servers that are asked, by host."
    )
    without: str = Field(
        "", description="Components that this service does without, separated by commas; all run by default."
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="How much is logged.")

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options first, then the environment, then medbus.toml of the working folder and of the home."""
        home = Path(init_settings().get("home") or os.environ.get("MEDBUS_HOME") or DEFAULT_HOME).expanduser()
        files = [home / "medbus.toml", Path("medbus.toml")]
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=[file for file in files if file.is_file()]),
        )

    @property
    def database_url(self) -> str:
        """The catalogs' URL."""
        return self.database or f"sqlite+aiosqlite:///{self.home}/catalogs/catalog.sqlite"

    @property
    def blobs_url(self) -> str:
        """The blob store's URL."""
        return self.blobs or (self.home / "blobs").as_uri()

    @property
    def webhook_key_file(self) -> Path:
        """The file with the key of webhooks."""
        return self.webhook_key or self.home / "webhook.key"

    def environment(self) -> dict[str, str]:
        """The environment from which a child process reads the same settings."""
        return {
            f"MEDBUS_{name.upper()}": str(value)
            for name, value in self.model_dump(mode="json").items()
            if value is not None
        }


def load(**options: Any) -> Settings:
    """The settings, with the options that were given (None means not given).

    Raises:
        SettingsError: a value is not one that is allowed; says which.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"The setting {name} is not usable: {first['msg']} (got {first.get('input')!r}).",
            f"Correct the option, MEDBUS_{name.upper()} in the environment, or medbus.toml.",
        ) from error
    except ValueError as error:  # TOML that can't be read
        raise SettingsError(f"medbus.toml can't be read: {error}.", "Correct the file.") from error
