"""Settings of the process that gives out results."""

from dataclasses import dataclass
from pathlib import Path

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.dicom.registrar import PUBLISH_TIMEOUT
from medbus.gateways.dicom.settings import DEFAULT_AE_TITLE
from medbus.schemas.errors import SettingsError
from medbus.schemas.webhook import key_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set.

    Attributes:
        bootstrap: HOST:PORT of Kafka brokers, separated by commas.
        database: URL of the catalogs.
        blobs: URL of the blob store.
        prefix: the installation's prefix of topics.
        ae_title: the AE title under which results are sent.
        tls_outgoing: PEM file with roots: results are sent over TLS then.
        webhook_key: file with the key that the secrets of subscribers come from; without it no webhook is
            posted.
        webhook_ca: PEM file with the roots of receivers of webhooks; by default those of the system.
        source: names this process in events.
        first_delay: seconds before what failed for now is tried again; doubled each time.
        longest_delay: seconds that are waited at most.
        give_up: seconds after the end of the processing from which on it is not tried again.
        least_tries: so often it is tried however late it is: this process may have been away for long.
        poll: seconds after which the catalog is asked, though nothing was heard.
        publish_timeout: seconds to wait for the log.
        dimse_timeout: seconds for a connection, and for a response of a peer.
        webhook_timeout: seconds for a whole webhook.
        ready_file: written when it runs, with the process id.
    """

    bootstrap: str
    database: str
    blobs: str
    prefix: str = DEFAULT_PREFIX
    ae_title: str = DEFAULT_AE_TITLE
    tls_outgoing: Path | None = None
    webhook_key: Path | None = None
    webhook_ca: Path | None = None
    source: str = "results"
    first_delay: float = 1.0
    longest_delay: float = 300.0
    give_up: float = 24 * 3600.0
    least_tries: int = 3
    poll: float = 10.0
    publish_timeout: float = PUBLISH_TIMEOUT
    dimse_timeout: float = 30.0
    webhook_timeout: float = 15.0
    ready_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        if not 0 < self.first_delay <= self.longest_delay:
            raise SettingsError(
                f"Delays from {self.first_delay:g} s to {self.longest_delay:g} s make no sense.",
                "Choose 0 < first_delay <= longest_delay.",
            )

    def key(self) -> bytes | None:
        """The key of webhooks; None if none is set.

        Raises:
            SettingsError: it can't be read, or is none.
        """
        if self.webhook_key is None:
            return None
        try:
            return key_of(self.webhook_key.read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(f"The key of webhooks can't be read: {error}.") from error
