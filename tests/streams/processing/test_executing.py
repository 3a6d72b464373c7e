"""A work item: objects out of the blob store, results into it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from tests.streams.processing.dicom.images import colour, image, processed, stacked, values_of
from tests.streams.processing.items import AT, planned, put, read

from medbus.blobs import BlobNotFound, BlobStore, BlockingBlobs
from medbus.schemas.events import Blob, ItemPlanned
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.pixels.catalogue import OPERATIONS, settings
from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Shape
from medbus.streams.processing.serving import objects, slabbing
from medbus.streams.processing.serving.executing import execute
from medbus.streams.processing.serving.outcome import Outcome

MEMORY = 64 * 1024**2
random = np.random.default_rng(6)


@pytest.fixture
def blobs() -> BlockingBlobs:
    return asyncio.run(BlobStore.open("memory:///")).blocking


def noise(*shape: int) -> NDArray[np.int16]:
    return random.integers(-100, 2000, shape, dtype=np.int16)


def done(blobs: BlockingBlobs, item: ItemPlanned, memory: int = MEMORY) -> Outcome:
    return execute(item, blobs, memory=memory)


def results(blobs: BlockingBlobs, outcome: Outcome) -> list[Dataset]:
    return [read(blobs, each.blob) for each in outcome.made]


def test_the_result_has_the_values_of_the_operation_and_says_what_it_is(blobs: BlockingBlobs) -> None:
    source = stacked(noise(1, 24, 20), SeriesNumber=3)
    outcome = done(blobs, planned(put(blobs, source)))
    (made,) = results(blobs, outcome)
    _, (expected,) = processed(OPERATIONS["gaussian"], source, {"sigma": "1"})
    assert np.array_equal(values_of(made), values_of(expected))
    assert made.StudyInstanceUID == source[0].StudyInstanceUID
    assert made.SeriesInstanceUID != source[0].SeriesInstanceUID
    assert made.SeriesNumber == 301
    assert (made.ContentDate, made.ContentTime) == ("20260304", "050607.890123")
    (said,) = outcome.made
    assert said.description == "Gaussian smoothing: sigma 1 mm, extent frame"
    assert (said.study_instance_uid, said.series_instance_uid) == (
        made.StudyInstanceUID,
        made.SeriesInstanceUID,
    )
    assert (said.sop_class_uid, said.sop_instance_uid) == (CTImageStorage, made.SOPInstanceUID)
    assert said.blob.transfer_syntax_uid == ExplicitVRLittleEndian


def test_an_item_counts_what_it_read(blobs: BlockingBlobs) -> None:
    addresses = put(blobs, stacked(noise(5, 8, 8)))
    outcome = done(blobs, planned(addresses, "mip", {}))
    assert (outcome.images, outcome.bytes) == (5, sum(each.size for each in addresses))
    assert outcome.milliseconds >= 0
    assert len(outcome.made) == 1


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("gaussian", {"sigma": "1", "extent": "volume"}), ("mip", {}), ("mpr", {"axis": "y"})],
)
def test_an_item_done_twice_leaves_the_same_bytes(
    blobs: BlockingBlobs, kind: str, parameters: dict[str, str]
) -> None:
    item = planned(put(blobs, stacked(noise(6, 16, 16))), kind, parameters)
    assert done(blobs, item).made == done(blobs, item).made


REQUEST = UUID(int=41)


def test_slices_that_are_done_apart_become_one_series_in_its_order(blobs: BlockingBlobs) -> None:
    source = stacked(noise(4, 8, 8))
    made = [
        each
        for number, address in enumerate(put(blobs, source))
        for each in results(blobs, done(blobs, planned([address], item=number, request_id=REQUEST)))
    ]
    assert len({each.SeriesInstanceUID for each in made}) == 1
    assert len({each.SOPInstanceUID for each in made}) == 4
    assert [each.InstanceNumber for each in made] == [1, 2, 3, 4]
    other = done(blobs, planned(put(blobs, source)[:1], parameters={"sigma": "2"}, request_id=REQUEST))
    assert other.made[0].series_instance_uid != made[0].SeriesInstanceUID


def test_requests_for_the_same_at_the_same_time_have_results_of_their_own(blobs: BlockingBlobs) -> None:
    address = put(blobs, stacked(noise(1, 8, 8)))
    (one,), (other,) = (done(blobs, planned(address, request_id=uuid4())).made for _ in range(2))
    assert one.sop_instance_uid != other.sop_instance_uid
    assert one.series_instance_uid != other.series_instance_uid


def test_stacks_of_a_series_become_series_of_their_own(blobs: BlockingBlobs) -> None:
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    uids: dict[str, Any] = {
        each: generate_uid() for each in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    }
    places = [(2.0 * index, 0.0, 0.0) for index in range(3)]
    second = stacked(noise(3, 8, 8), positions=places, orientation=sagittal, **uids)
    both = [*stacked(noise(4, 8, 8), **uids), *second]
    outcome = done(blobs, planned(put(blobs, both), "mip", {}))
    assert len({each.series_instance_uid for each in outcome.made}) == 2
    assert len({each.sop_instance_uid for each in outcome.made}) == 2


def test_what_is_irregular_is_found(blobs: BlockingBlobs) -> None:
    places = [(0.0, 0.0, 2.0 * index) for index in (0, 1, 2, 4, 5)]
    outcome = done(blobs, planned(put(blobs, stacked(noise(5, 8, 8), positions=places)), "mip", {}))
    assert len(outcome.findings) == 1
    assert "missing" in outcome.findings[0] or "gap" in outcome.findings[0].lower()


def test_a_mask_is_subtracted(blobs: BlockingBlobs) -> None:
    series: dict[str, Any] = {"SeriesInstanceUID": generate_uid(), "StudyInstanceUID": generate_uid()}
    picture, mask = stacked(noise(1, 8, 8), **series)[0], stacked(noise(1, 8, 8), **series)[0]
    item = planned(put(blobs, [picture]), "subtract", {}, masks=put(blobs, [mask]))
    outcome = done(blobs, item)
    (made,) = results(blobs, outcome)
    assert np.array_equal(values_of(made), values_of(picture) - values_of(mask))
    assert outcome.images == 2
    references = [each.ReferencedSOPInstanceUID for each in made.SourceImageSequence]
    assert references == [picture.SOPInstanceUID, mask.SOPInstanceUID]


def test_without_its_masks_a_subtraction_fails_and_with_masks_a_smoothing(blobs: BlockingBlobs) -> None:
    addresses = put(blobs, stacked(noise(1, 8, 8)))
    with pytest.raises(InvalidParameter, match="subtract takes images and masks"):
        done(blobs, planned(addresses, "subtract", {}))
    with pytest.raises(InvalidParameter, match="gaussian takes no masks"):
        done(blobs, planned(addresses, masks=addresses))


@pytest.mark.parametrize(("version", "advice"), [(2, "Update the server"), (0, "Update the planner")])
def test_an_item_of_another_version_is_not_done(blobs: BlockingBlobs, version: int, advice: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        done(blobs, planned(put(blobs, stacked(noise(1, 8, 8))), version=version))
    assert f"planned for version {version} of gaussian; this server has version 1" in caught.value.message
    assert advice in caught.value.advice


def test_colours_are_refused_or_handled_as_the_request_says(blobs: BlockingBlobs) -> None:
    pixels = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    addresses = put(blobs, [colour(pixels, PixelSpacing=["1", "1"])])
    with pytest.raises(UnusableImage, match="in colour"):
        done(blobs, planned(addresses))
    (made,) = results(blobs, done(blobs, planned(addresses, parameters={"sigma": "1", "colour": "channels"})))
    assert (made.SamplesPerPixel, made.PhotometricInterpretation) == (3, "RGB")


def garbage(blobs: BlockingBlobs) -> Blob:
    return blobs.put(random.bytes(5000), ExplicitVRLittleEndian)


def truncated(blobs: BlockingBlobs) -> Blob:
    whole = blobs.read(put(blobs, stacked(noise(1, 32, 32)))[0].digest)
    return blobs.put(whole[:-700], ExplicitVRLittleEndian)


def fewer_pixels(blobs: BlockingBlobs) -> Blob:
    source = image(noise(16, 16))
    source.PixelData = source.PixelData[:100]
    return put(blobs, [source])[0]


def undecodable(blobs: BlockingBlobs) -> Blob:
    whole = blobs.read(put(blobs, stacked(noise(1, 32, 32)))[0].digest)
    return blobs.put(whole, "1.2.840.10008.1.2.4.100")


def private(blobs: BlockingBlobs) -> Blob:
    whole = blobs.read(put(blobs, stacked(noise(1, 32, 32)))[0].digest)
    return blobs.put(whole, "1.2.3.4")


def empty(blobs: BlockingBlobs) -> Blob:
    return blobs.put(b"", ExplicitVRLittleEndian)


@pytest.mark.parametrize("poison", [garbage, truncated, fewer_pixels, undecodable, private, empty])
def test_an_image_that_can_t_be_read_is_a_reason(blobs: BlockingBlobs, poison: object) -> None:
    assert callable(poison)
    with pytest.raises(UnusableImage) as caught:
        done(blobs, planned([poison(blobs)]))
    assert caught.value.message
    assert caught.value.advice


def test_a_blob_that_is_not_there_is_a_reason(blobs: BlockingBlobs) -> None:
    (address,) = put(blobs, stacked(noise(1, 8, 8)))
    other = Blob(digest=f"blake3:{0:064x}", size=address.size, transfer_syntax_uid=ExplicitVRLittleEndian)
    with pytest.raises(BlobNotFound):
        done(blobs, planned([other]))


VOLUME: Sequence[tuple[str, dict[str, str]]] = [
    ("gaussian", {"sigma": "3"}),
    ("mean", {"width": "7"}),
    ("mean", {"pixels": "5"}),
    ("median", {"width": "3"}),
    ("derivative", {"axis": "z"}),
    ("gradient-magnitude", {}),
    ("laplacian", {}),
    ("log", {"sigma": "3"}),
    ("sobel", {}),
    ("unsharp", {"radius": "3", "amount": "1.5"}),
]


def across(kind: str, parameters: dict[str, str]) -> dict[str, str]:
    """The parameters, across the slices where that has to be said."""
    names = {each.name for each in OPERATIONS[kind].parameters}
    return {**parameters, "extent": "volume"} if "extent" in names else parameters


@pytest.mark.parametrize(("kind", "parameters"), VOLUME)
def test_a_stack_that_memory_does_not_hold_becomes_the_same_bytes(
    blobs: BlockingBlobs, kind: str, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = planned(put(blobs, stacked(noise(40, 16, 12))), kind, across(kind, parameters))
    whole = done(blobs, item)
    monkeypatch.setattr(slabbing, "SLAB_BYTES", 3 * 16 * 12 * 4)
    assert done(blobs, item, memory=0).made == whole.made
    assert len(whole.made) == 40


def test_every_type_that_sees_a_volume_is_among_them() -> None:
    volumes = set()
    for name, operation in OPERATIONS.items():
        for kind, parameters in VOLUME:
            if (
                kind == name
                and operation.shape_for(settings(operation, across(kind, parameters))) is Shape.VOLUME
            ):
                volumes.add(name)
    declared = {
        name
        for name, operation in OPERATIONS.items()
        if operation.shape is Shape.VOLUME or any(each.name == "extent" for each in operation.parameters)
    }
    assert volumes == declared | {"derivative"}


def enhanced(frames: NDArray[np.int16]) -> Dataset:
    """A multi-frame object by which frames are a stack over time."""
    return image(frames, SOPClassUID=EnhancedCTImageStorage, FrameTime="40")


@pytest.mark.parametrize("kind", ["gaussian", "mip"])
def test_an_object_that_memory_does_not_hold_is_read_frame_by_frame(
    blobs: BlockingBlobs, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    item = planned(
        put(blobs, [enhanced(noise(20, 12, 12))]), kind, {"sigma": "1"} if kind == "gaussian" else {}
    )
    whole = done(blobs, item)
    monkeypatch.setattr(objects, "SPOOLED", 100)
    monkeypatch.setattr(slabbing, "SLAB_BYTES", 3 * 12 * 12 * 4)
    assert execute(item, blobs, memory=0, folder=tmp_path).made == whole.made
    assert list(tmp_path.iterdir()) == []


def test_of_a_large_object_too_a_damaged_one_is_a_reason(
    blobs: BlockingBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "SPOOLED", 100)
    for poison in (garbage, truncated, fewer_pixels):
        with pytest.raises(UnusableImage):
            done(blobs, planned([poison(blobs)]))


def test_dates_are_those_of_the_item(blobs: BlockingBlobs) -> None:
    (made,) = results(blobs, done(blobs, planned(put(blobs, stacked(noise(1, 8, 8))))))
    (equipment,) = made.ContributingEquipmentSequence
    assert str(equipment.ContributionDateTime).startswith(f"{AT:%Y%m%d%H%M%S}")
