"""The life of a worker: a process that runs one processor with others in a consumer group."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from medbus.bus import Bus, Partition, Position, Record
from medbus.bus.dead_letters import Raw
from medbus.schemas.errors import MedbusError
from medbus.streams import offsets, watchdog
from medbus.streams.application import CONCURRENCY, Application, application, source
from medbus.streams.processor import Handled, Handling, Processor
from medbus.streams.watchdog import EXIT_BLOCKED

log = logging.getLogger(__name__)

DRAIN_SECONDS = 1.0
"""How long a rebalance or the end waits for what is in flight; the rest is handled again."""

STOP_SECONDS = 2.5
"""How long the application may take to stop after that; then the process ends all the same."""


class Crashed(MedbusError):
    """The worker can't go on; nothing is lost, another one takes over from the last committed offset."""


async def run(
    processor: Processor,
    bus: Bus,
    *,
    stop: asyncio.Event,
    member: str | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Run a processor until told to stop.

    Args:
        processor: what to run.
        bus: an open bus.
        stop: ends the worker when it is set.
        member: see `application`.
        ready: called when the worker has joined its group.

    Raises:
        OffsetOutOfRange: the log does not have what comes next for this group.
        Stalled: there is work, but no progress.
        Crashed: Kafka or Faust failed for good.
        MedbusError: something could not even be written to the dead letters.

    The process ends at once, with EXIT_BLOCKED, if its event loop is blocked, or if Faust can't be stopped
    because the broker is away: what is not committed is handled again.
    """
    await offsets.verify(bus, processor.name, processor.topics)
    worker = _Worker(processor, bus, member)
    with watchdog.unblocked(processor.stall_seconds):
        await worker.run(stop, ready)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. Faust's own signal handling is not used."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def main(serve: Coroutine[Any, Any, None]) -> int:
    """Run a worker as the main of a process.

    Returns:
        The exit code: 0 after a clean stop, 1 if it can't go on.
    """
    try:
        asyncio.run(serve)
    except MedbusError as error:
        log.critical("%s", error)
        return 1
    except Exception:
        log.critical("the worker failed", exc_info=True)
        return 1
    return 0


class _Arrived(NamedTuple):
    event: Any
    assignment: int


class _Taken(NamedTuple):
    event: Any
    record: Record
    raw: Raw


class _Worker:
    def __init__(self, processor: Processor, bus: Bus, member: str | None) -> None:
        self.processor = processor
        self.bus = bus
        self.handling = Handling(processor, bus)
        self.app: Application = application(
            bus.bootstrap,
            group=offsets.group_name(bus.prefix, processor.name),
            client_id=member or processor.name,
            member=member,
            buffer=processor.buffer,
            linger=processor.linger,
        )
        self.app.drain = self._drain
        # Between Faust's stream and the handling: what comes while a batch is handled is the next batch. An
        # entry is done when its record is acknowledged or left to whoever has its partition next.
        self.arrived: asyncio.Queue[_Arrived] = asyncio.Queue(processor.batch)
        self.assignment = 0
        # For batches. While none is free, what arrives makes the next batch larger.
        self.room = asyncio.Semaphore(processor.in_flight // processor.batch)
        # Acknowledged in the order in which they came, so that no commit passes what is still under way.
        self.under_way: asyncio.Queue[tuple[list[Any], asyncio.Task[None]]] = asyncio.Queue()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.app.agent(
            source(self.app, bus.prefix, processor.topics), name=processor.name, concurrency=CONCURRENCY
        )(self._agent)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        duties = [
            asyncio.create_task(self._handle(), name="handle"),
            asyncio.create_task(self._acknowledge(), name="acknowledge"),
            asyncio.create_task(self._joined(ready), name="joined"),
            asyncio.create_task(self._crash(), name="crash"),
            asyncio.create_task(self._watch(), name="watch"),
        ]
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await self.app.start()
            waiting: set[asyncio.Future[Any]] = {stopping, self.failure, *duties}
            while not stopping.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        except Exception as error:
            # Said now: stopping may end the process.
            log.error("%s ends: %s", self.processor.name, error)  # noqa: TRY400
            raise
        finally:
            await self._stop()
            for each in (stopping, *duties):
                each.cancel()
            await asyncio.gather(stopping, *duties, return_exceptions=True)
            while not self.under_way.empty():
                self.under_way.get_nowait()[1].cancel()

    async def _agent(self, stream: Any) -> None:
        """Take the records as they come."""
        try:
            self.stream = stream.noack()
            async for event in self.stream.events():
                await self.arrived.put(_Arrived(event, self.assignment))
        except Exception as error:
            if not self.failure.done():
                self.failure.set_exception(error)
            raise

    async def _handle(self) -> None:
        """Handling is one after the other, writing goes on meanwhile."""
        while True:
            await self.room.acquire()
            await self._answer([await self._taken(event) for event in await self._batch()])

    async def _answer(self, batch: list[_Taken]) -> None:
        failed = await self.handling.prepare([each.record for each in batch])
        if failed and len(batch) > 1:
            self.room.release()
            for each in batch:
                await self.room.acquire()
                await self._answer([each])
            return
        handled = [
            Handled(each.record, each.raw, failed or await self.handling.answer(each.record))
            for each in batch
        ]
        writing = asyncio.create_task(self.handling.publish(handled))
        self.under_way.put_nowait(([each.event for each in batch], writing))

    async def _batch(self) -> list[Any]:
        """What has arrived, at least one: waits for the first only."""
        events: list[Any] = []
        while not events or (len(events) < self.processor.batch and not self.arrived.empty()):
            event, assignment = await self.arrived.get()
            if assignment == self.assignment:
                events.append(event)
            else:
                # From before a rebalance: whoever has its partition now begins at what is committed.
                self.arrived.task_done()
        return events

    async def _taken(self, event: Any) -> _Taken:
        message = event.message
        raw = Raw(key=message.key, value=message.value, headers=tuple(message.headers or ()))
        topic = message.topic[len(self.bus.prefix) + 1 :]
        record = Record(
            position=Position(Partition(topic, message.partition), message.offset),
            timestamp=datetime.fromtimestamp(round(message.timestamp * 1000) / 1000, UTC),
            event=await self.handling.decode(raw),
        )
        return _Taken(event, record, raw)

    async def _acknowledge(self) -> None:
        while True:
            events, writing = await self.under_way.get()
            await writing
            for event in events:
                await self.stream.ack(event)
                self.arrived.task_done()
            self.room.release()

    async def _drain(self) -> None:
        """Let what has been taken be finished; what has only arrived is left alone."""
        self.assignment += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.arrived.join()

    async def _stop(self) -> None:
        # Can't be cancelled: Faust shields its parts, and aiokafka waits for an answer for ever if the
        # broker is away. Nothing would be won by waiting with it.
        stopped = asyncio.create_task(self.app.stop(), name="stop application")
        await asyncio.wait([stopped], timeout=DRAIN_SECONDS + STOP_SECONDS)
        if not stopped.done():
            log.critical("%s can't stop in good order: the process ends", self.processor.name)
            logging.shutdown()
            os._exit(EXIT_BLOCKED)

    async def _joined(self, ready: Callable[[], None]) -> None:
        await self.app.joined.wait()
        ready()
        log.info("%s is ready", self.processor.name)

    async def _crash(self) -> None:
        await self.app.wait_until_stopped()
        raise Crashed(f"{self.processor.name} lost its consumer: {self.app.crash_reason!r}.")

    async def _watch(self) -> None:
        await watchdog.watch(
            self.bus, self.processor.name, self.processor.topics, self._assigned, self.processor.stall_seconds
        )

    def _assigned(self) -> set[Partition]:
        prefix = len(self.bus.prefix) + 1
        return {Partition(tp.topic[prefix:], tp.partition) for tp in self.app.consumer.assignment()}
