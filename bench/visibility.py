"""Time from a C-STORE's success to the image's row in the catalog, as a reader of the catalog sees it."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from bench import blast, service
from bench.association import Association
from bench.figure import Figure, percentiles
from bench.stage import Stage
from medbus.projections.database import Database
from medbus.projections.images import ImageReader
from medbus.schemas.errors import MedbusError

TARGET_MS = 100.0
WAIT_SECONDS = 30.0
WINDOW = 64
"""So many of the images that are not visible yet are asked for at once: they become visible in order."""


class NotVisible(MedbusError):
    """Images that were answered with success did not come into the catalog."""


def visibility(stage: Stage) -> Iterator[Figure]:
    """From C-STORE success to visible in the catalog: images one at a time, and a study at full speed."""
    alone = asyncio.run(_alone(stage))
    busy = asyncio.run(_busy(stage))
    yield from percentiles("visible/alone", alone, p99_target=TARGET_MS)
    yield from percentiles("visible/busy", busy, p99_target=TARGET_MS)
    stage.service.verify()


async def _alone(stage: Stage) -> list[list[float]]:
    runs = []
    running = stage.service
    async with Database(running.status.database) as database:
        reader = ImageReader(database)
        for _ in range(stage.repetitions):
            stage.say("sending images one at a time, looking for each in the catalog")
            slices = stage.study()[: stage.size.requests]
            with Association(
                running.port, service.AE_TITLE, blast.CALLING, blast.storage(slices)
            ) as association:
                data_sets = [each.data_set() for each in slices]
                messages = blast.encoded(slices, data_sets, association.limit)
                runs.append(
                    [
                        await _visible_after(reader, blast.send(association, [each], [message])[0])
                        for each, message in zip(slices, messages, strict=True)
                    ]
                )
    return runs


async def _visible_after(reader: ImageReader, image: blast.Stored) -> float:
    while await reader.image(image.sop_instance_uid) is None:
        if time.monotonic() > image.answered + WAIT_SECONDS:
            raise NotVisible(f"An image is not in the catalog {WAIT_SECONDS:.0f} s after its success.")
        await asyncio.sleep(0.0005)
    return time.monotonic() - image.answered


async def _busy(stage: Stage) -> list[list[float]]:
    runs = []
    running = stage.service
    async with Database(running.status.database) as database:
        for _ in range(stage.repetitions):
            stage.say("sending a study at full speed, looking for its images in the catalog")
            slices = stage.study()
            watch = asyncio.create_task(
                _first_seen(ImageReader(database), [each.sop_instance_uid for each in slices])
            )
            try:
                run = await asyncio.to_thread(blast.blast, running.port, service.AE_TITLE, slices)
                seen = await asyncio.wait_for(watch, WAIT_SECONDS)
            except TimeoutError:
                raise NotVisible(
                    f"Images are not in the catalog {WAIT_SECONDS:.0f} s after their success."
                ) from None
            finally:
                watch.cancel()
            # A row may be seen before the response has reached the client.
            runs.append([max(0.0, seen[each.sop_instance_uid] - each.answered) for each in run.images])
    return runs


async def _first_seen(reader: ImageReader, uids: Sequence[str]) -> dict[str, float]:
    seen: dict[str, float] = {}
    waiting = list(uids)
    while waiting:
        found = await reader.images(waiting[:WINDOW])
        now = time.monotonic()
        seen |= {image.sop_instance_uid: now for image in found}
        waiting = [each for each in waiting if each not in seen]
        await asyncio.sleep(0.005)
    return seen
