"""Work items that tests plan themselves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from medbus.blobs import BlockingBlobs
from medbus.schemas.events import Blob, ItemPlanned, Meta
from medbus.streams.processing.asked import asked
from medbus.streams.processing.dicom.derived import encoded
from medbus.streams.processing.dicom.pixels import opened
from medbus.streams.processing.pixels.catalogue import OPERATIONS

AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def put(blobs: BlockingBlobs, objects: Sequence[Dataset]) -> list[Blob]:
    """Objects in Explicit VR Little Endian, in the blob store."""
    return [blobs.put(encoded(each), str(ExplicitVRLittleEndian)) for each in objects]


def planned(
    images: Sequence[Blob],
    processing_type: str = "gaussian",
    parameters: Mapping[str, str] | None = None,
    *,
    masks: Sequence[Blob] = (),
    item: int = 0,
    slot: int | None = None,
    server: str | None = None,
    version: int | None = None,
    request_id: UUID | None = None,
) -> ItemPlanned:
    """An item as the planner writes it; parameters are those of a small Gaussian unless they are given."""
    given = {"sigma": "1"} if parameters is None else parameters
    request_id = request_id or uuid4()
    return ItemPlanned(
        meta=Meta.first(request_id, source="test", occurred_at=AT).caused(
            f"item:{item}", source="test", occurred_at=AT
        ),
        grant_id=request_id,
        subscriber="D-hospital",
        item=item,
        slot=item if slot is None else slot,
        server=server,
        identity=f"blake3:{item:064x}",
        processing_type=processing_type,
        version=OPERATIONS[processing_type].version if version is None else version,
        parameters=asked(processing_type, given).written,
        images=tuple(images),
        masks=tuple(masks),
    )


def read(blobs: BlockingBlobs, blob: Blob) -> Dataset:
    """An object in the blob store."""
    return opened(blobs.read(blob.digest), blob.transfer_syntax_uid)
