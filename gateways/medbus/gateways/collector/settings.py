"""Settings of the collector."""

from dataclasses import dataclass
from pathlib import Path

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.dicom.registrar import PUBLISH_TIMEOUT
from medbus.gateways.dicom.settings import DEFAULT_AE_TITLE
from medbus.gateways.grants import DECISION_TIMEOUT


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set.

    Attributes:
        bootstrap: HOST:PORT of Kafka brokers, separated by commas.
        database: URL of the catalogs.
        blobs: URL of the blob store.
        prefix: the installation's prefix of topics.
        ae_title: ours: we call from it, and C-MOVE sends to it, so it is the DICOM gateway's.
        source: names the collector in events.
        tls_outgoing: PEM file with roots: DICOM associations go over TLS then, and HTTPS trusts them too.
        netrc: file with the names and passwords of DICOMweb servers, by host; without, none are sent.
        decision_timeout: seconds to wait for a decision.
        publish_timeout: seconds to wait for the log.
        timeout: seconds for a source to take a connection, and for it to answer.
        move_timeout: seconds for it to send what a C-MOVE asks for, without a word in between.
        catalog_timeout: seconds for the catalog to show what is on the log.
        look_timeout: seconds after which a look is ended, however far it is.
        settle_seconds: how long a file has to stay as it is before it is read.
        follow_seconds: from one look at the contracts to the next.
        grace: seconds for looks under way when the collector stops or a contract changes.
        looks_at_once: how many sources are asked at the same time.
        images_per_look: at most so many are fetched in one look; the next follows at once if there are more.
        study_days: ask only for studies of so many days back; without, for all.
    """

    bootstrap: str
    database: str
    blobs: str
    prefix: str = DEFAULT_PREFIX
    ae_title: str = DEFAULT_AE_TITLE
    source: str = "collector"
    tls_outgoing: Path | None = None
    netrc: Path | None = None
    decision_timeout: float = DECISION_TIMEOUT
    publish_timeout: float = PUBLISH_TIMEOUT
    timeout: float = 30.0
    move_timeout: float = 300.0
    catalog_timeout: float = 20.0
    look_timeout: float = 3600.0
    settle_seconds: float = 2.0
    follow_seconds: float = 1.0
    grace: float = 5.0
    looks_at_once: int = 8
    images_per_look: int = 1000
    study_days: int | None = None
