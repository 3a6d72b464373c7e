"""`python -m medbus.gateways.results`: gives out results as a process of its own."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.dicom.settings import DEFAULT_AE_TITLE
from medbus.gateways.results.service import main
from medbus.gateways.results.settings import Settings
from medbus.schemas.errors import MedbusError


def settings(arguments: list[str] | None = None) -> Settings:
    """Settings from the command line.

    Raises:
        SettingsError: options that don't go together.
    """
    parser = argparse.ArgumentParser(
        prog="python -m medbus.gateways.results",
        description="Registers results of processing, sends them by C-STORE, and posts webhooks.",
        epilog="Example: python -m medbus.gateways.results --bootstrap 127.0.0.1:9092 "
        "--database sqlite+aiosqlite:///catalog.sqlite --blobs file:///var/lib/medbus/blobs",
    )
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT", help="Kafka brokers")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="prefix of the topics (%(default)s)")
    parser.add_argument("--database", required=True, metavar="URL", help="where the catalogs are")
    parser.add_argument("--blobs", required=True, metavar="URL", help="where the images are")
    parser.add_argument("--aet", default=DEFAULT_AE_TITLE, help="AE title to send under (%(default)s)")
    parser.add_argument("--tls-outgoing-ca", type=Path, metavar="PEM", help="send over TLS; roots of servers")
    parser.add_argument("--webhook-key", type=Path, metavar="FILE", help="key that webhooks are signed with")
    parser.add_argument("--webhook-ca", type=Path, metavar="PEM", help="roots of receivers of webhooks")
    parser.add_argument(
        "--first-delay", type=float, default=1.0, metavar="S", help="before the second try (%(default)g)"
    )
    parser.add_argument(
        "--longest-delay", type=float, default=300.0, metavar="S", help="between tries (%(default)g)"
    )
    parser.add_argument(
        "--give-up", type=float, default=24 * 3600.0, metavar="S", help="after so long (%(default)g)"
    )
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="where to write the process id")
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("medbus").setLevel(logging.INFO)
    return Settings(
        bootstrap=given.bootstrap,
        prefix=given.prefix,
        database=given.database,
        blobs=given.blobs,
        ae_title=given.aet,
        tls_outgoing=given.tls_outgoing_ca,
        webhook_key=given.webhook_key,
        webhook_ca=given.webhook_ca,
        first_delay=given.first_delay,
        longest_delay=given.longest_delay,
        give_up=given.give_up,
        ready_file=given.ready_file,
    )


if __name__ == "__main__":
    try:
        asyncio.run(main(settings()))
    except MedbusError as error:
        sys.exit(str(error))
