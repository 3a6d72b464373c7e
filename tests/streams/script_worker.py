"""A worker process whose records say what is to happen: the reason of an ImageErased is a small script.

`sleep 6` handles it in 6 s, `spin 6` likewise with the event loop blocked, `raise` fails for good, `fail 2`
fails twice in a way that may pass, `misfit` makes an event that no schema takes; `unprepared` makes the
preparation of its batch fail for good, `hesitate 2` twice in a way that may pass; what follows from `late 3`
is written 3 s later; anything else is handled at once.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec

from medbus.bus import Bus, Position, Record
from medbus.schemas.events import Event, ImageErased, RejectionReason, RequestRejected
from medbus.schemas.topics import IMAGES
from medbus.streams import log, worker
from medbus.streams.processor import Processor

failures: dict[str, int] = {}


class LateBus(Bus):
    """A bus that takes its time for some events."""

    async def publish(self, event: Event) -> Position:
        await late([event])
        return await super().publish(event)

    async def publish_all(self, events: Sequence[Event]) -> list[Position]:
        await late(events)
        return await super().publish_all(events)


async def late(events: Sequence[Event]) -> None:
    """Wait as the events say."""
    for event in events:
        if isinstance(event, RequestRejected) and str(event.detail).startswith("late "):
            await asyncio.sleep(float(event.detail.removeprefix("late ")))


async def prepare(records: Sequence[Record]) -> None:
    print(f"prepare {len(records)}", flush=True)
    for record in records:
        event = record.event
        assert isinstance(event, ImageErased)
        verb, _, number = event.reason.partition(" ")
        if verb == "unprepared":
            raise ValueError(event.reason)
        if verb == "hesitate":
            fail(event, int(number))


async def handle(record: Record) -> Sequence[Event]:
    event = record.event
    assert isinstance(event, ImageErased)
    print(f"begin {event.reason}", flush=True)
    verb, _, number = event.reason.partition(" ")
    match verb:
        case "sleep":
            await asyncio.sleep(float(number))
        case "spin":
            time.sleep(float(number))  # noqa: ASYNC251
        case "raise":
            raise ValueError(event.reason)
        case "fail":
            fail(event, int(number))
        case "misfit":
            return (msgspec.structs.replace(effect(event), detail=7),)
    return (effect(event),)


def fail(event: ImageErased, times: int) -> None:
    """Fail so many times."""
    failures[event.digest] = failures.get(event.digest, 0) + 1
    if failures[event.digest] <= times:
        raise ConnectionError(event.reason)


def effect(event: ImageErased) -> RequestRejected:
    """What follows from a record."""
    return RequestRejected(
        meta=event.meta.caused("effect", source="script", occurred_at=event.meta.occurred_at),
        request_id=event.meta.event_id,
        reason=RejectionReason.UNSPECIFIED,
        detail=event.reason,
    )


async def serve(given: argparse.Namespace) -> None:
    processor = Processor(
        name="script",
        topics=(IMAGES,),
        handle=handle,
        prepare=prepare,
        batch=given.batch,
        in_flight=max(given.batch, 32),
        delays=(0.05, 0.05, 0.05),
        stall_seconds=given.stall_seconds,
    )
    stop = worker.stop_on_signals()
    async with LateBus(given.bootstrap, client_id="script", prefix=given.prefix) as bus:
        await worker.run(
            processor, bus, stop=stop, member=given.member, ready=lambda: print("ready", flush=True)
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap")
    parser.add_argument("--prefix")
    parser.add_argument("--member")
    parser.add_argument("--stall-seconds", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=1)
    log.configure()
    sys.exit(worker.main(serve(parser.parse_args())))
