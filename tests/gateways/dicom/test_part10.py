"""DICOM files: with meta information, without it, and what is none."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import data_manager
from tests.dicom_files import part10, wheel_file, wheel_files
from tests.gateways.dicom.encoded import (
    BIG_ENDIAN,
    CT_IMAGE_STORAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    NATIVE,
    ct,
    encode,
)

from medbus.gateways.dicom.dataset import read_head
from medbus.gateways.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    DicomdirRefused,
    NotDicom,
    Part10Splitter,
    preamble,
    read_meta,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")  # the files are there to be odd

WITH_META = [
    path
    for path in wheel_files()
    if path.read_bytes()[128:132] == b"DICM"
    and path.name not in {"meta_missing_tsyntax.dcm", "no_meta_group_length.dcm"}
]


@pytest.mark.parametrize("path", WITH_META, ids=lambda path: path.name)
def test_reads_the_files_of_the_pydicom_package(path: Path) -> None:
    with path.open("rb") as file:
        meta = read_meta(file)
        assert (meta.transfer_syntax_uid, file.read()) == part10(path)
    expected = dcmread(path, stop_before_pixels=True).file_meta
    assert meta.media_storage_sop_class_uid == expected.get("MediaStorageSOPClassUID", "")
    assert meta.media_storage_sop_instance_uid == expected.get("MediaStorageSOPInstanceUID", "")
    assert not meta.guessed


@pytest.mark.parametrize(
    ("name", "transfer_syntax_uid"),
    [
        ("ExplVR_BigEndNoMeta.dcm", BIG_ENDIAN),
        ("ExplVR_LitEndNoMeta.dcm", EXPLICIT),
        ("rtstruct.dcm", IMPLICIT),
    ],
)
def test_guesses_the_transfer_syntax_of_files_that_do_not_say_it(name: str, transfer_syntax_uid: str) -> None:
    with wheel_file(name).open("rb") as file:
        meta = read_meta(file)
    assert (meta.transfer_syntax_uid, meta.guessed) == (transfer_syntax_uid, True)


def test_reads_files_whose_meta_information_has_no_group_length() -> None:
    with wheel_file("no_meta_group_length.dcm").open("rb") as file:
        meta = read_meta(file)
        assert file.read(4) == b"\x08\x00\x08\x00"
    assert meta.transfer_syntax_uid == IMPLICIT


@pytest.mark.parametrize("transfer_syntax_uid", NATIVE)
def test_what_is_written_before_a_data_set_makes_it_a_file(transfer_syntax_uid: str) -> None:
    dataset = ct(SOPInstanceUID="1.2.3")
    encoded = encode(dataset, transfer_syntax_uid)
    head = preamble(
        sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid="1.2.3", transfer_syntax_uid=transfer_syntax_uid
    )
    file = BytesIO(head + encoded)
    assert dcmread(file) == dataset
    file.seek(0)
    meta = read_meta(file)
    assert file.read() == encoded
    assert meta.offset == len(head)
    assert meta.transfer_syntax_uid == transfer_syntax_uid
    assert meta.media_storage_sop_class_uid == CT_IMAGE_STORAGE
    assert meta.media_storage_sop_instance_uid == "1.2.3"


def test_the_implementation_is_named() -> None:
    head = preamble(sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT)
    meta = dcmread(BytesIO(head + encode(ct()))).file_meta
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationClassUID.is_valid
    assert meta.ImplementationVersionName == "MEDBUS"


@pytest.mark.parametrize("strip", [128, 132])
@pytest.mark.parametrize("transfer_syntax_uid", NATIVE)
def test_preamble_and_prefix_may_be_missing(strip: int, transfer_syntax_uid: str) -> None:
    head = preamble(
        sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid="1.2.3", transfer_syntax_uid=transfer_syntax_uid
    )
    encoded = encode(ct(), transfer_syntax_uid)
    file = BytesIO(head[strip:] + encoded)
    assert read_meta(file).transfer_syntax_uid == transfer_syntax_uid
    assert file.read() == encoded


@pytest.mark.parametrize("transfer_syntax_uid", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_bare_data_sets_are_recognised(transfer_syntax_uid: str) -> None:
    encoded = encode(ct(), transfer_syntax_uid)
    file = BytesIO(encoded)
    meta = read_meta(file)
    assert (meta.transfer_syntax_uid, meta.guessed, meta.offset) == (transfer_syntax_uid, True, 0)
    assert read_head(file.read(), meta.transfer_syntax_uid).patient.patient_id == "4711"


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6), transfer_syntax_uid=st.sampled_from(NATIVE)
)
def test_how_the_bytes_arrive_makes_no_difference(sizes: list[int], transfer_syntax_uid: str) -> None:
    encoded = encode(ct(), transfer_syntax_uid)
    file = (
        preamble(
            sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid="1.2.3", transfer_syntax_uid=transfer_syntax_uid
        )
        + encoded
    )
    splitter = Part10Splitter()
    given_out = b""
    position = 0
    while position < len(file):
        size = sizes[position % len(sizes)]
        given_out += splitter.feed(file[position : position + size])
        position += size
    assert splitter.finish().transfer_syntax_uid == transfer_syntax_uid
    assert given_out == encoded


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-empty.dcm"])
def test_a_dicomdir_is_refused_with_advice(name: str) -> None:
    path = next(Path(data_manager.DATA_ROOT, "test_files", "dicomdirtests").glob(name))
    with path.open("rb") as file, pytest.raises(DicomdirRefused, match="Send the files that it lists"):
        read_meta(file)


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"DICM",
        bytes(132),
        bytes(128) + b"DICM",
        b"%PDF-1.7\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"{}",
    ],
)
def test_what_is_no_dicom_file_is_refused(contents: bytes) -> None:
    with pytest.raises(NotDicom):
        read_meta(BytesIO(contents))


def test_endless_meta_information_is_refused() -> None:
    element = b"\x02\x00\x16\x00AE\x10\x00" + b"A" * 16
    with pytest.raises(NotDicom, match="more than 65536 bytes"):
        read_meta(BytesIO(bytes(128) + b"DICM" + element * 10_000))


STARTS = [b"", b"DICM", bytes(128) + b"DICM", bytes(128) + b"DICM\x02\0\0\0UL\4\0"]


@given(st.binary(max_size=400), st.sampled_from(STARTS))
def test_noise_is_refused_and_raises_nothing_else(noise: bytes, start: bytes) -> None:
    with pytest.raises(NotDicom):
        read_meta(BytesIO(start + noise))


def test_a_file_is_left_where_the_data_set_begins_wherever_it_was() -> None:
    head = preamble(sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid="1.2.3", transfer_syntax_uid=DEFLATED)
    encoded = encode(ct(), DEFLATED)
    file = BytesIO(b"before" + head + encoded)
    file.seek(6)
    read_meta(file)
    assert file.read() == encoded
