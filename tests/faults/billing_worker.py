"""A billing worker process as tests need it: it says when it has joined its group.

With `--group` it is another processor of the same kind, which begins at the beginning of the log.
"""

import argparse
import asyncio
import sys
from dataclasses import replace

from medbus.bus import Bus
from medbus.streams import log, worker
from medbus.streams.billing import service
from medbus.streams.billing.history import History


async def serve(given: argparse.Namespace) -> None:
    stop = worker.stop_on_signals()
    if given.group is None:
        settings = service.Settings(bootstrap=given.bootstrap, prefix=given.prefix, member=given.member)
        await service.run(settings, stop=stop, ready=say_ready)
        return
    async with Bus(given.bootstrap, client_id="billing", prefix=given.prefix) as bus:
        processor = replace(service.processor(History(bus)), name=given.group)
        await worker.run(processor, bus, stop=stop, ready=say_ready)


def say_ready() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap")
    parser.add_argument("--prefix")
    parser.add_argument("--member")
    parser.add_argument("--group")
    log.configure()
    asyncio.run(serve(parser.parse_args()))
    sys.exit(0)
