"""`python -m medbus.streams.auth`: an auth worker as a process of its own."""

import argparse
import sys
from datetime import timedelta

from medbus.bus.settings import DEFAULT_PREFIX
from medbus.streams import log
from medbus.streams.auth.lookup import GRANT_LIFETIME
from medbus.streams.auth.service import Settings, main


def _settings() -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m medbus.streams.auth",
        description="Answers every request with a grant or a rejection and its reason.",
        epilog="Example: python -m medbus.streams.auth --bootstrap 127.0.0.1:9092 "
        "--database sqlite+aiosqlite:///catalog.sqlite",
    )
    parser.add_argument(
        "--bootstrap", required=True, metavar="HOST:PORT", help="Kafka brokers, with commas between"
    )
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="prefix of the topics (%(default)s)")
    parser.add_argument("--database", required=True, metavar="URL", help="where the catalogs are")
    parser.add_argument(
        "--member", metavar="NAME", help="keeps its partitions over a restart; unique among the workers"
    )
    parser.add_argument(
        "--grant-seconds",
        type=int,
        default=int(GRANT_LIFETIME.total_seconds()),
        metavar="N",
        help="how long a grant is good for (%(default)s)",
    )
    given = parser.parse_args()
    return Settings(
        bootstrap=given.bootstrap,
        prefix=given.prefix,
        database=given.database,
        member=given.member,
        grant_lifetime=timedelta(seconds=given.grant_seconds),
    )


if __name__ == "__main__":
    settings = _settings()
    log.configure()
    sys.exit(main(settings))
