"""`python -m medbus.gateways.dicom`: the DICOM gateway as a process of its own."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.dicom.gateway import main
from medbus.gateways.dicom.settings import DEFAULT_AE_TITLE, DEFAULT_PORT, Settings, TlsSettings
from medbus.schemas.errors import MedbusError, SettingsError


def settings(arguments: list[str] | None = None) -> Settings:
    """Settings from the command line.

    Raises:
        SettingsError: options that don't go together.
    """
    parser = argparse.ArgumentParser(
        prog="python -m medbus.gateways.dicom",
        description="Stores, finds and delivers images for DICOM peers that have a contract.",
        epilog="Example: python -m medbus.gateways.dicom --bootstrap 127.0.0.1:9092 "
        "--database sqlite+aiosqlite:///catalog.sqlite --blobs file:///var/lib/medbus/blobs",
    )
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT", help="Kafka brokers")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="prefix of the topics (%(default)s)")
    parser.add_argument("--database", required=True, metavar="URL", help="where the catalogs are")
    parser.add_argument("--blobs", required=True, metavar="URL", help="where the images are")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port, 0 for any (%(default)s)")
    parser.add_argument("--aet", default=DEFAULT_AE_TITLE, help="this gateway's AE title (%(default)s)")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="take only encrypted connections")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="private key of the certificate")
    parser.add_argument("--tls-client-ca", type=Path, metavar="PEM", help="roots of peers' certificates")
    parser.add_argument(
        "--tls-client-optional", action="store_true", help="let peers in that have no certificate"
    )
    parser.add_argument("--tls-outgoing-ca", type=Path, metavar="PEM", help="send over TLS; roots of servers")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="where to write port and process id")
    parser.add_argument("--verbose", action="store_true", help="log more")
    given = parser.parse_args(arguments)
    if (given.tls_certificate is None) != (given.tls_key is None):
        raise SettingsError("A certificate without key, or a key without certificate.", "Give both.")
    tls = None
    if given.tls_certificate is not None:
        tls = TlsSettings(
            certificate=given.tls_certificate,
            key=given.tls_key,
            client_ca=given.tls_client_ca,
            client_required=not given.tls_client_optional,
        )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("medbus").setLevel(logging.DEBUG if given.verbose else logging.INFO)
    return Settings(
        bootstrap=given.bootstrap,
        database=given.database,
        blobs=given.blobs,
        prefix=given.prefix,
        host=given.host,
        port=given.port,
        ae_title=given.aet,
        tls=tls,
        tls_outgoing=given.tls_outgoing_ca,
        ready_file=given.ready_file,
    )


if __name__ == "__main__":
    try:
        asyncio.run(main(settings()))
    except MedbusError as error:
        sys.exit(str(error))
