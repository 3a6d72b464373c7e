"""A program that runs a broker, for tests that end it: ``parent.py HOME [drain]``.

It prints the broker's address and process id once it answers. With ``drain`` it catches a SIGINT, publishes
one more event, and only then stops.
"""

import asyncio
import signal
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer

from medbus.compose.kafka import EmbeddedKafka

SLOW_SECONDS = 0.5


async def run(home: Path) -> None:
    """Run a broker until this process ends in whatever way."""
    async with EmbeddedKafka(home) as kafka:
        print(kafka.bootstrap, kafka.pid, flush=True)
        await asyncio.Event().wait()


async def run_and_drain(home: Path) -> None:
    """Run a broker until a SIGINT, and still need it then."""
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    async with EmbeddedKafka(home) as kafka:
        print(kafka.bootstrap, kafka.pid, flush=True)
        await interrupted.wait()
        await asyncio.sleep(SLOW_SECONDS)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
            await producer.send_and_wait("drained", b"after the interrupt")


if __name__ == "__main__":
    program = run_and_drain if sys.argv[2:] == ["drain"] else run
    asyncio.run(program(Path(sys.argv[1])))
