"""A whole service with a contract for its peers, and a look at what it has stored."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from tests.gateways.dcmtk import free_port
from tests.interoperability.files import Encoded, data_set
from tests.running_service import RunningService

from medbus.blobs import BlobStore
from medbus.projections.database import Database
from medbus.projections.images import ImageReader, StoredImage
from medbus.schemas.events import Apparatus, Role, Terms

AE_TITLE = "MEDBUS"
SUBSCRIBER = "peers"
CALLING = "PEER"
DESTINATION, ORTHANC = "DEST", "ORTHANC"
PIXEL_DATA, TRAILING_PADDING = 0x7FE00010, 0xFFFCFFFC
VISIBLE_SECONDS = 20.0
ROLES = (Role.IMAGE_REGISTERING, Role.IMAGE_RECEIVING, Role.IMAGE_SENDING)


@dataclass(frozen=True)
class Serving:
    """A service that runs.

    Attributes:
        port: where it takes associations.
        destinations: ports of loopback at which it finds whom it may send to, by AE title.
    """

    running: RunningService
    port: int
    destinations: dict[str, int]

    def stored(self, *sop_instance_uids: str) -> dict[str, Encoded]:
        """Data set and transfer syntax of images, as they lie in the blob store.

        Raises:
            AssertionError: one of them does not come into the catalog.
        """
        return asyncio.run(self._stored(sop_instance_uids))

    def same(self, file: Path, transfer_syntax_uid: str) -> None:
        """Check that the image of a file is stored as it is there, in that transfer syntax.

        Sequences may have other lengths: DCMTK encodes those anew before it sends.
        """
        original = data_set(file)
        [(data, syntax)] = self.stored(str(original.SOPInstanceUID)).values()
        assert syntax == transfer_syntax_uid
        assert original.file_meta.TransferSyntaxUID == transfer_syntax_uid
        found = differences(data_set((data, syntax)), original)
        assert not found, found

    async def _stored(self, uids: tuple[str, ...]) -> dict[str, Encoded]:
        settings = self.running.settings()
        blobs = await BlobStore.open(settings.blobs_url)
        async with Database(settings.database_url) as database:
            images = await self._visible(ImageReader(database), uids)
        return {
            image.sop_instance_uid: (
                await blobs.read(image.blob.digest),
                image.blob.transfer_syntax_uid,
            )
            for image in images
        }

    @staticmethod
    async def _visible(reader: ImageReader, uids: tuple[str, ...]) -> list[StoredImage]:
        deadline = time.monotonic() + VISIBLE_SECONDS
        while len(found := await reader.images(list(uids))) < len(uids):
            assert time.monotonic() < deadline, (
                f"{len(uids) - len(found)} of {len(uids)} images are not in the catalog "
                f"{VISIBLE_SECONDS:.0f} s after their success"
            )
            await asyncio.sleep(0.02)
        return list(found)


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[Serving]:
    """Run a service; environment are more of its settings."""
    running = RunningService(home, **environment)
    destinations = {title: free_port() for title in (DESTINATION, ORTHANC)}
    apparatuses = (
        Apparatus(apparatus_id="P#1", ae_title=CALLING),
        *(
            Apparatus(apparatus_id=title, ae_title=title, host="127.0.0.1", port=port)
            for title, port in destinations.items()
        ),
    )
    try:
        running.start()
        terms = Terms(name="Peers", roles=ROLES, apparatuses=apparatuses, networks=("127.0.0.0/8",))
        asyncio.run(running.contract(SUBSCRIBER, terms))
        port = int(running.status().dicom.rpartition(":")[2])
        yield Serving(running, port, destinations)
        running.stop()
    finally:
        running.close()


def differences(one: Dataset, other: Dataset) -> list[str]:
    """The elements that are not the same.

    DCMTK leaves out padding at the end, and makes OB of an OW that compressed pixels must not have (PS3.5
    section A.4): neither counts.
    """
    tags = sorted({*one.keys(), *other.keys()} - {TRAILING_PADDING})
    return [
        str(one.get(tag) or other.get(tag))[:100]
        for tag in tags
        if tag not in one
        or tag not in other
        or (one[tag].value != other[tag].value if tag == PIXEL_DATA else one[tag] != other[tag])
    ]
