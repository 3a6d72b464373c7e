"""A processing server as a process of its own, which says when it is ready."""

import argparse
import sys

from medbus.streams import log, worker
from medbus.streams.processing.serving.service import MEMORY, Settings, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "prefix", "database", "blobs", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--member")
    parser.add_argument("--cores", type=int)
    parser.add_argument("--memory", type=int, default=MEMORY)
    parser.add_argument("--folder")
    settings = Settings(**vars(parser.parse_args()))

    async def serve() -> None:
        await run(settings, stop=worker.stop_on_signals(), ready=lambda: print("ready", flush=True))

    log.configure()
    sys.exit(worker.main(serve()))
