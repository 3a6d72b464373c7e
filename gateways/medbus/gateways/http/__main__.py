"""`python -m medbus.gateways.http`: the HTTP gateway as a process of its own."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.gateways.http.gateway import DEFAULT_PORT, Settings, main
from medbus.schemas.errors import MedbusError, SettingsError


def settings(arguments: list[str] | None = None) -> Settings:
    """Settings from the command line.

    Raises:
        SettingsError: the secrets can't be read, or one is too short.
    """
    parser = argparse.ArgumentParser(
        prog="python -m medbus.gateways.http",
        description="Answers subscribers and a schema registry's read calls, and says how the service is.",
        epilog="Example: python -m medbus.gateways.http --bootstrap 127.0.0.1:9092 "
        "--database sqlite+aiosqlite:///catalog.sqlite --blobs file:///blobs",
    )
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT", help="Kafka brokers")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="prefix of the topics (%(default)s)")
    parser.add_argument("--database", required=True, metavar="URL", help="where the catalogs are")
    parser.add_argument("--blobs", required=True, metavar="URL", help="where the images are")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port, 0 for any (%(default)s)")
    parser.add_argument(
        "--payment-secrets",
        type=Path,
        metavar="FILE",
        help="secrets of those who report payments, one a line; without, none are taken",
    )
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="where to write port and process id")
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("medbus").setLevel(logging.INFO)
    return Settings(
        bootstrap=given.bootstrap,
        database=given.database,
        blobs=given.blobs,
        prefix=given.prefix,
        host=given.host,
        port=given.port,
        payment_secrets=() if given.payment_secrets is None else _secrets(given.payment_secrets),
        ready_file=given.ready_file,
    )


def _secrets(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The secrets in {path} can't be read: {error}.") from error
    return tuple(line.strip() for line in lines if line.strip())


if __name__ == "__main__":
    try:
        asyncio.run(main(settings()))
    except MedbusError as error:
        sys.exit(str(error))
