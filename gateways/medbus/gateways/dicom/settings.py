"""Settings of the DICOM gateway."""

from dataclasses import dataclass
from pathlib import Path

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.dicom.limits import ACSE_TIMEOUT, MAXIMUM_ASSOCIATIONS
from medbus.gateways.dicom.registrar import PUBLISH_TIMEOUT
from medbus.gateways.grants import DECISION_TIMEOUT

DEFAULT_AE_TITLE = "MEDBUS"
DEFAULT_PORT = 11112


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """Encrypted connections (BCP 195: TLS 1.2 or later).

    Attributes:
        certificate: PEM file with this side's certificate, and those between it and the root.
        key: PEM file with its private key.
        client_ca: PEM file with the roots of peers' certificates; without, peers are not asked for one.
        client_required: whether peers must have a certificate. If not, one that is shown is still checked.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_required: bool = True


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set.

    Attributes:
        bootstrap: HOST:PORT of Kafka brokers, separated by commas.
        database: URL of the catalogs.
        blobs: URL of the blob store.
        prefix: the installation's prefix of topics.
        host: the address to listen at.
        port: the port; 0 for any free one.
        ae_title: this gateway's AE title, the only one that may be called.
        tls: for encrypted connections only.
        tls_outgoing: PEM file with roots: sub-operations of C-MOVE and reports go over TLS then.
        source: names this gateway in events.
        decision_timeout: seconds to wait for a decision.
        publish_timeout: seconds to wait for the log.
        acse_timeout: seconds for a peer to ask for an association once it is connected.
        network_timeout: seconds of silence after which an association is ended.
        dimse_timeout: seconds for a response of a peer.
        maximum_associations: how many at once.
        grace: seconds for running associations when the gateway stops.
        ready_file: written as JSON when peers can connect: address, port and process id.
    """

    bootstrap: str
    database: str
    blobs: str
    prefix: str = DEFAULT_PREFIX
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    ae_title: str = DEFAULT_AE_TITLE
    tls: TlsSettings | None = None
    tls_outgoing: Path | None = None
    source: str = "gateway-dicom"
    decision_timeout: float = DECISION_TIMEOUT
    publish_timeout: float = PUBLISH_TIMEOUT
    acse_timeout: float = ACSE_TIMEOUT
    network_timeout: float = 60.0
    dimse_timeout: float = 60.0
    maximum_associations: int = MAXIMUM_ASSOCIATIONS
    grace: float = 5.0
    ready_file: Path | None = None
