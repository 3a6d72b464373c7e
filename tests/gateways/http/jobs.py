"""What a processing service would put on the log for a request, and files to enclose in one."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from tests import synthetic
from tests.gateways.http.web import Web

from medbus.blobs import BlobStore
from medbus.schemas.events import (
    Blob,
    Event,
    ImageProcessed,
    ItemProcessed,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
)
from medbus.schemas.topics import REQUESTS

SERIES = "1.2.840.99.1"


def wanted(**changes: Any) -> dict[str, Any]:
    """The body of a request for the smoothing of a series; changes by field."""
    images = {"series_instance_uids": [SERIES]}
    return {"type": "gaussian", "parameters": {"sigma": "2"}, "images": images, **changes}


async def ask(site: Web, token: str, **changes: Any) -> UUID:
    """Have something processed; the id."""
    answer = await site.call("/processing", token=token, json=wanted(**changes))
    assert answer.status == 202, answer.body
    return UUID(answer.body["id"])


async def event(site: Web, processing_id: UUID) -> ProcessingRequested:
    """The request on the log."""
    [found] = [
        each
        for each in await site.events(REQUESTS, ProcessingRequested)
        if each.meta.event_id == processing_id
    ]
    return found


class Job:
    """A request that is being processed by a test.

    Args:
        site: the service.
        asked: the request.
        subscriber: who made it.
    """

    def __init__(self, site: Web, asked: ProcessingRequested, subscriber: str) -> None:
        self._site = site
        self._asked = asked
        self._subscriber = subscriber

    async def started(self, items: int) -> None:
        """It is split into items of one image each."""
        await self._happens(
            ProcessingStarted, "started", processing_type="gaussian", version=1, items=items, images=items
        )

    async def processed(self, item: int, blob: Blob, *, finding: str = "", uid: str = "") -> str:
        """An item is done, with one result; its SOP Instance UID."""
        sop_instance_uid = uid or str(generate_uid())
        await self._happens(
            ImageProcessed,
            f"image:{item}",
            item=item,
            number=1,
            processing_type="gaussian",
            description="Gaussian smoothing: sigma 2 mm",
            study_instance_uid="1.2.3.4",
            series_instance_uid="1.2.3.5",
            sop_class_uid=str(CTImageStorage),
            sop_instance_uid=sop_instance_uid,
            blob=blob,
        )
        await self._happens(
            ItemProcessed,
            f"item:{item}",
            item=item,
            identity=f"identity-{item}",
            server="500-1",
            images=1,
            bytes=1000,
            milliseconds=10,
            results=1,
            findings=(finding,) if finding else (),
        )
        return sop_instance_uid

    async def failed(self, item: int, reason: str) -> None:
        """An item failed."""
        await self._happens(ProcessingFailed, f"item:{item}", item=item, server="500-1", reason=reason)

    async def completed(self) -> None:
        """All is done."""
        await self._happens(
            ProcessingCompleted,
            "completed",
            processing_type="gaussian",
            sessions=1,
            images=1,
            bytes=1000,
            milliseconds=10,
        )

    async def _happens(self, kind: type[Event], name: str, **fields: Any) -> None:
        meta = self._asked.meta
        await self._site.publish(
            kind(
                meta=meta.caused(name, source="test", occurred_at=meta.occurred_at),
                **{"grant_id": self._asked.request_id, "subscriber": self._subscriber, **fields},
            )
        )


async def job(site: Web, subscriber: str, token: str, **changes: Any) -> tuple[UUID, Job]:
    """A new request, and what is done with it."""
    processing_id = await ask(site, token, **changes)
    return processing_id, Job(site, await event(site, processing_id), subscriber)


async def stored(site: Web, data: bytes) -> Blob:
    """Put a data set into the service's blob store."""
    async with await BlobStore.open(site.settings.blobs) as blobs:
        return await blobs.put(data, str(ExplicitVRLittleEndian))


async def kept(site: Web, blob: Blob) -> bytes:
    """A data set in the service's blob store."""
    async with await BlobStore.open(site.settings.blobs) as blobs:
        return await blobs.read(blob.digest)


def file(folder: Path, pixels: int = 0) -> Path:
    """A DICOM file of a CT image, or of one with so many bytes of noise."""
    return synthetic.write(ct(pixels), folder)


def data_set(pixels: int = 0) -> bytes:
    """Such an image without preamble and file meta information."""
    content = BytesIO()
    ct(pixels).save_as(content, implicit_vr=False, little_endian=True)
    return content.getvalue()


def ct(pixels: int) -> Dataset:
    """Such an image."""
    side = int((pixels / 2) ** 0.5)
    if not side:
        return synthetic.ct()
    return synthetic.ct(Rows=side, Columns=side, PixelData=os.urandom(2 * side * side))
