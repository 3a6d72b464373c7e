"""The synthetic series: valid DICOM, repeatable, no easier to compress than real CT."""

import zlib
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bench import fill
from bench.images import CONDITIONS, STUDY_IMAGES, registered
from bench.series import PADDING, SMALL, Series, small
from bench.slice import CT_IMAGE_STORAGE, uid
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medbus.schemas.codec import Codec
from medbus.schemas.registry import Registry


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    made = Series(tmp_path_factory.mktemp("series"), count=3)
    assert len(made.files) == 3
    return made


def test_a_slice_is_a_valid_ct_image_under_its_new_uids(series: Series) -> None:
    slices = series.study("one")
    image = pydicom.dcmread(BytesIO(slices[1].part10()))
    assert image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert image.file_meta.MediaStorageSOPInstanceUID == slices[1].sop_instance_uid
    assert image.SOPInstanceUID == slices[1].sop_instance_uid
    assert image.StudyInstanceUID == slices[1].study_instance_uid
    assert image.SOPClassUID == CTImageStorage == CT_IMAGE_STORAGE
    assert image.InstanceNumber == 2
    assert image.pixel_array.shape == (512, 512)
    assert image.pixel_array.dtype == np.int16
    assert image.pixel_array[0, 0] == PADDING
    assert len(image.PixelData) == 512 * 1024


def test_what_is_sent_is_the_file_without_its_meta_information(series: Series) -> None:
    each = series.study("one")[0]
    sent = pydicom.dcmread(BytesIO(each.data_set()), force=True)
    assert sent.SOPInstanceUID == each.sop_instance_uid
    assert each.part10().endswith(each.data_set())
    assert len(each.data_set()) == each.size
    assert each.data_set()[:4] == b"\x08\x00\x05\x00"  # Specific Character Set, the first element


def test_every_study_has_uids_of_its_own(series: Series) -> None:
    one, two = series.study("one"), series.study("two")
    assert one == series.study("one")
    uids = {each.sop_instance_uid for each in (*one, *two)}
    assert len(uids) == 6
    assert {each.study_instance_uid for each in one}.isdisjoint(each.study_instance_uid for each in two)
    assert len({each.study_instance_uid for each in one}) == 1


def test_the_seed_decides_all(series: Series, tmp_path: Path) -> None:
    again = Series(tmp_path, count=3)
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in series.files]


def test_pixels_compress_as_those_of_real_ct_do(series: Series) -> None:
    # Real CT of 512 x 512, chest and head, gives 1.8 to 2.6 at this level.
    for file in series.files:
        pixels = pydicom.dcmread(file).PixelData
        assert 1.7 < len(pixels) / len(zlib.compress(pixels, 1)) < 2.6


def test_small_images_have_the_header_of_all_and_few_pixels(tmp_path: Path) -> None:
    small_ = small(tmp_path)
    made = list(islice(fill.images(small_, "one"), fill.STUDY_IMAGES + 1))
    assert len({each.sop_instance_uid for each in made}) == len(made)
    assert len({each.study_instance_uid for each in made}) == 2
    image = pydicom.dcmread(BytesIO(made[-1].part10()))
    assert (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID) == made[-1].new
    assert image.pixel_array.shape == (SMALL, SMALL)
    assert 2_000 < made[-1].size < 4_000


def test_uids_have_one_length() -> None:
    uids = {uid(str(number)) for number in range(1000)}
    assert len(uids) == 1000
    assert {len(each) for each in uids} == {44}
    assert all(pydicom.uid.UID(each).is_valid for each in uids)


def test_events_are_as_large_and_varied_as_those_of_a_ct() -> None:
    registry = Registry()
    for version in registry.missing():
        registry.apply(*version.record())
    codec = Codec(registry)
    events = list(islice(registered(STUDY_IMAGES + 1), STUDY_IMAGES + 1))
    assert len({event.instance.sop_instance_uid for event in events}) == len(events)
    assert len({event.meta.event_id for event in events}) == len(events)
    assert events[0].study == events[STUDY_IMAGES - 1].study != events[STUDY_IMAGES].study
    assert len(events[0].conditions) == CONDITIONS
    assert events[0].header.data is not None
    assert 1_500 < len(events[0].header.data) < 2_500
    encoded = codec.encode(events[0])
    assert codec.decode(encoded.value, encoded.headers) == events[0]
