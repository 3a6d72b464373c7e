"""Fetch the broker's jars ahead of time, or write their lock file anew.

python -m medbus.compose.kafka fetch    fetches and verifies all jars, so that a later start needs no network
python -m medbus.compose.kafka lock     resolves all versions and digests anew and writes jars.lock
"""

import sys

from medbus.compose.kafka.jarlock import LOCK_FILE, render_lock, resolve_lock
from medbus.compose.kafka.jars import fetch_jars, jar_cache, registries
from medbus.schemas.errors import MedbusError


def main(arguments: list[str]) -> int:
    """Run one of the two commands."""
    if arguments == ["fetch"]:
        paths = fetch_jars(progress=lambda done, total: print(f"{done} of {total} jars", file=sys.stderr))
        print(f"{len(paths)} jars in {jar_cache()}, all as locked")
        return 0
    if arguments == ["lock"]:
        jars = resolve_lock(registries())
        LOCK_FILE.write_text(render_lock(jars), encoding="utf-8")
        print(f"{len(jars)} jars written to {LOCK_FILE}")
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MedbusError as error:
        sys.exit(str(error))
