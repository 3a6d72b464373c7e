"""The head of encoded data sets: real files as pydicom reads them, and everything that can be wrong."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from tests.dicom_files import part10, shared_files, shared_folder, wheel_file, wheel_files
from tests.gateways.dicom.encoded import (
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    NATIVE,
    SEQUENCE_END,
    UNDEFINED,
    ct,
    element,
    encode,
    identified,
    item,
)

from medbus.gateways.dicom.dataset import (
    Head,
    HeadScanner,
    MalformedDataSet,
    MissingIdentifier,
    OversizedDataSet,
    TruncatedDataSet,
    UnreadableDataSet,
    read_head,
)
from medbus.gateways.dicom.encoding import encoding_of
from medbus.gateways.dicom.frame import Frame
from medbus.gateways.dicom.scanner import Scanner

WITHOUT_META = {"ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "rtstruct.dcm"}
"""Files without file meta information; test_part10 reads them."""

DAMAGED_META = {"meta_missing_tsyntax.dcm", "no_meta_group_length.dcm"}

REFUSED: dict[str, type[UnreadableDataSet]] = {
    "JPEGLSNearLossless_08.dcm": MissingIdentifier,
    "JPEGLSNearLossless_16.dcm": MissingIdentifier,
    "SC_rgb_jls_lossy_line.dcm": MissingIdentifier,
    "SC_rgb_jls_lossy_sample.dcm": MissingIdentifier,
    "empty_charset_LEI.dcm": MissingIdentifier,
    "HTJ2KLossless_08_RGB.dcm": MissingIdentifier,
    "MR_truncated.dcm": TruncatedDataSet,
    "rtplan_truncated.dcm": TruncatedDataSet,
    "UN_sequence.dcm": MalformedDataSet,  # a fragment of a data set
    "priv_SQ.dcm": MalformedDataSet,
    "nested_priv_SQ.dcm": MalformedDataSet,
}
"""Files that are no complete, identified data set, and what is wrong with them."""

FILES = [path for path in wheel_files() if path.name not in WITHOUT_META | DAMAGED_META]
READABLE = [
    path for path in FILES if path.name not in REFUSED and not path.name.startswith("IM0")
]  # 50 alike

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")  # the files are there to be odd

BULK = {0x7FE00008, 0x7FE00009, 0x7FE00010, 0x56000020, 0x54001010, 0x00420011}


def _pydicom(data: bytes, transfer_syntax_uid: str) -> Dataset:
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        data = zlib.decompress(data, -zlib.MAX_WBITS)
    dataset: Dataset = read_dataset(BytesIO(data), encoding.implicit, not encoding.big_endian)
    return dataset


def _without_bulk(dataset: Dataset) -> Dataset:
    """What the header should have, by pydicom: elements but bulk data and group lengths."""
    kept = Dataset()
    for tag in dataset:
        number = int(tag.tag)
        long = tag.VR in {"OB", "OD", "OF", "OL", "OV", "OW", "UN"} and tag.value and len(tag.value) > 1024
        overlay = number & 0xFF01FFFF == 0x60003000
        if number in BULK or overlay or long or tag.tag.element == 0:
            continue
        if tag.VR == "SQ":
            tag.value = Sequence([_without_bulk(inner) for inner in tag.value])
        kept.add(tag)
    return kept


def _check_against_pydicom(path: Path) -> None:
    transfer_syntax_uid, data = part10(path)
    head = read_head(data, transfer_syntax_uid)
    expected = _pydicom(data, transfer_syntax_uid)

    assert head.instance.sop_instance_uid == expected.SOPInstanceUID
    assert head.instance.sop_class_uid == expected.SOPClassUID
    assert head.study.study_instance_uid == expected.StudyInstanceUID
    assert head.series.series_instance_uid == expected.SeriesInstanceUID
    assert head.series.modality == expected.get("Modality", "")
    assert head.patient.patient_id == str(expected.get("PatientID") or "")
    assert head.patient.patient_name == str(expected.get("PatientName") or "")
    assert head.study.study_date == str(expected.get("StudyDate") or "").replace(".", "")
    assert head.instance.rows == expected.get("Rows")
    assert head.instance.columns == expected.get("Columns")
    assert head.instance.instance_number == expected.get("InstanceNumber")
    assert head.size == len(data)
    assert head.encapsulated == ("PixelData" in expected and expected["PixelData"].is_undefined_length)
    header = _pydicom(head.header, head.header_transfer_syntax_uid)
    assert not BULK & {int(element.tag) for element in header}
    assert header == _without_bulk(expected)


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_reads_what_pydicom_reads_in_the_files_of_its_package(path: Path) -> None:
    _check_against_pydicom(path)


@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"HTJ2KLossless_08_RGB.dcm"}))
def test_refuses_the_files_of_the_package_that_are_no_complete_data_set(name: str) -> None:
    transfer_syntax_uid, data = part10(wheel_file(name))
    with pytest.raises(REFUSED[name]):
        read_head(data, transfer_syntax_uid)


@pytest.mark.skipif(shared_folder() is None, reason="no folder of real files; MEDBUS_TEST_DATA names one")
def test_reads_what_pydicom_reads_in_the_shared_folder() -> None:
    checked = [path for path in shared_files() if path.name not in REFUSED]
    assert len(checked) > 50
    for path in checked:
        _check_against_pydicom(path)


@pytest.mark.parametrize("transfer_syntax_uid", NATIVE)
def test_reads_the_same_in_every_encoding(transfer_syntax_uid: str) -> None:
    dataset = ct(SeriesNumber=7, ImageComments="calibrated", PixelSpacing=["0.5", "0.5"])
    head = read_head(encode(dataset, transfer_syntax_uid), transfer_syntax_uid)
    assert head.patient.patient_name == "DOE^JANE"
    assert head.series.series_number == 7
    assert (head.instance.rows, head.instance.columns) == (4, 4)
    assert head.instance.comments == "calibrated"
    assert head.conditions == {"KVP": "120", "PixelSpacing": "0.5\\0.5"}


def test_header_of_deflated_is_inflated() -> None:
    dataset = ct()
    head = read_head(encode(dataset, NATIVE[3]), NATIVE[3])
    assert head.header_transfer_syntax_uid == EXPLICIT
    del dataset.PixelData
    assert head.header == encode(dataset)


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from([path for path in READABLE if path.stat().st_size < 50_000]),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=20),
)
def test_how_the_bytes_arrive_makes_no_difference(path: Path, sizes: list[int]) -> None:
    transfer_syntax_uid, data = part10(path)
    scanner = HeadScanner(transfer_syntax_uid)
    stream = BytesIO(data)
    for size in cycle(sizes):
        scanner.feed(chunk := stream.read(size))
        if not chunk:
            break
    assert scanner.finish() == read_head(data, transfer_syntax_uid)


def test_the_head_is_there_before_the_pixels() -> None:
    data = encode(ct())
    scanner = HeadScanner(EXPLICIT)
    scanner.feed(data[:-32])
    assert scanner.pixels_reached
    assert scanner.so_far().patient.patient_id == "4711"


# Cut short


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_a_file_cut_short_in_its_last_value_is_refused(path: Path) -> None:
    transfer_syntax_uid, data = part10(path)
    if path.name == "image_dfl.dcm":
        data = data[:-8]  # after the deflated data set stand checksum and size, as in a gzip file
    for cut in (3, 9, 33):
        with pytest.raises(TruncatedDataSet):
            read_head(data[:-cut], transfer_syntax_uid)


@pytest.mark.parametrize("transfer_syntax_uid", NATIVE)
def test_a_data_set_cut_anywhere_but_between_elements_is_refused(transfer_syntax_uid: str) -> None:
    dataset = ct(RequestAttributesSequence=[Dataset()])
    dataset.RequestAttributesSequence[0].ScheduledProcedureStepID = "S1"
    data = encode(dataset, transfer_syntax_uid)
    boundaries = {len(encode(dataset[: element.tag], transfer_syntax_uid)) for element in dataset} - {0}
    if encoding_of(transfer_syntax_uid).deflated:
        boundaries = set()
    for cut in set(range(len(data))) - boundaries:
        with pytest.raises(TruncatedDataSet, match=f"after {cut} bytes"):
            read_head(data[:cut], transfer_syntax_uid)


@pytest.mark.parametrize(
    "tail",
    [
        element(0x7FE00010, "OB", item(b"") + item(b"1234"), UNDEFINED),
        element(0x7FE00010, "OB", item(b"") + item(b"1234", length=400), UNDEFINED),
        element(0x00400275, "SQ", item(element(0x00400009, "SH", b"S1")), UNDEFINED),
        element(0x00400275, "SQ", item(element(0x00400009, "SH", b"S1"), UNDEFINED), UNDEFINED),
        element(0x00400275, "SQ", item(element(0x00400009, "SH", b"S1")), 400),
        element(0x7FE00010, "OW", bytes(64), length=0xFFFFFFFE),
    ],
    ids=[
        "fragments",
        "a fragment",
        "a sequence",
        "an item",
        "a sequence of stated length",
        "4 GiB of pixels",
    ],
)
def test_what_does_not_end_is_refused(tail: bytes) -> None:
    with pytest.raises(TruncatedDataSet):
        read_head(identified(tail), EXPLICIT)


# Malformed


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\xff" * 64,
        bytes(64),
        b"\x00" + bytes(range(1, 64)),
        b"\x89PNG\r\n\x1a\n" * 8,
    ],
)
@pytest.mark.parametrize("transfer_syntax_uid", NATIVE)
def test_garbage_is_refused_where_it_begins(garbage: bytes, transfer_syntax_uid: str) -> None:
    with pytest.raises(UnreadableDataSet) as raised:
        read_head(garbage, transfer_syntax_uid)
    if not encoding_of(transfer_syntax_uid).deflated:
        assert isinstance(raised.value, MalformedDataSet)
        assert raised.value.offset == 0


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (
            element(0x00400275, "SQ", b"", UNDEFINED) + element(0x00400009, "SH", b"S1"),
            "an item was expected",
        ),
        (element(0x7FE00010, "OB", item(b"", UNDEFINED), UNDEFINED), "a fragment has no length"),
        (element(0x00420010, "UT", b"text", UNDEFINED), "a value of UT has no length"),
        (item(b"1234"), "an item stands outside of any sequence"),
        (bytes(8) + element(0x00420010, "UT", b"text"), "an element was expected"),
        (struct.pack("<HHHHL", 0x0040, 0x0001, 0x0101, 0x0101, 0x0101), "has no value representation"),
    ],
)
def test_says_what_is_wrong_and_where(tail: bytes, what: str) -> None:
    start = len(identified())
    with pytest.raises(MalformedDataSet, match=what) as raised:
        read_head(identified(tail), EXPLICIT)
    assert start <= raised.value.offset <= start + 16


def test_ten_thousand_sequences_in_each_other_are_refused() -> None:
    nested = b"".join(element(0x00400275, "SQ", item(b"", UNDEFINED), UNDEFINED) for _ in range(10_000))
    with pytest.raises(MalformedDataSet, match="nested more than 32 deep"):
        read_head(identified(nested), EXPLICIT)


def test_a_sequence_of_stated_length_with_garbage_in_it_is_left_out() -> None:
    broken = element(0x00400275, "SQ", item(element(0x00400009, "SH", b"S1", length=200)))
    after = element(0x00420010, "ST", b"title ")
    head = read_head(identified(broken, after), EXPLICIT)
    assert head.header == identified(after)


# Identifiers


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("value", [None, "", "none", "1.2.x", "1..2", "1." * 40 + "1"])
def test_an_identifier_that_is_missing_or_none_is_named(keyword: str, value: str | None) -> None:
    dataset = ct()
    del dataset[keyword]
    if value is not None:
        dataset.add_new(keyword, "LO", value)  # LO, so that pydicom writes anything
        dataset[keyword].VR = "LO"
    with pytest.raises(MissingIdentifier) as raised:
        read_head(encode(dataset), EXPLICIT)
    assert raised.value.keyword == keyword


def test_a_patient_id_may_be_missing() -> None:
    assert read_head(encode(ct(PatientID=None)), EXPLICIT).patient.patient_id == ""


@pytest.mark.parametrize(
    ("sop_class_uid", "modality", "content"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "DOC", element(0x00420011, "OB", b"%PDF-1.7 " * 200)),
        ("1.2.840.10008.5.1.4.1.1.66", "OT", element(0x00420010, "ST", b"raw data")),
        ("1.2.840.113619.4.30", "XX", element(0x00431001, "OB", bytes(5000))),  # private
        ("1.2.826.0.1.3680043.99", "", b""),  # not invented yet
    ],
)
def test_nothing_is_refused_for_being_no_image(sop_class_uid: str, modality: str, content: bytes) -> None:
    dataset = ct(SOPClassUID=sop_class_uid, Modality=modality, PixelData=None, Rows=None, Columns=None)
    head = read_head(encode(dataset) + content, EXPLICIT)
    assert (head.instance.sop_class_uid, head.series.modality) == (sop_class_uid, modality)
    assert (head.instance.rows, head.instance.columns) == (None, None)


def test_uids_padded_with_spaces_are_uids() -> None:
    data = encode(ct()).replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.2 ")
    assert read_head(data, EXPLICIT).instance.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"


# Bad values


@pytest.mark.parametrize(
    "value", [b"7.5 ", b"seven ", b"", b"99999999999 ", b"1_0 ", b"0x7 ", b"-", b"\xff\xfe"]
)
def test_a_number_that_is_none_is_none(value: bytes) -> None:
    head = read_head(identified(element(0x00200011, "IS", value)), EXPLICIT)
    assert head.series.series_number is None


@pytest.mark.parametrize(
    ("value", "number"), [(b"7 ", 7), (b" +7 ", 7), (b"-12 ", -12), (b"007 ", 7), (b"7\0", 7)]
)
def test_a_number_with_signs_and_padding_is_a_number(value: bytes, number: int) -> None:
    head = read_head(identified(element(0x00200011, "IS", value)), EXPLICIT)
    assert head.series.series_number == number


def test_a_condition_that_is_no_number_stays_the_text_that_it_is() -> None:
    dataset = identified(
        element(0x00200011, "IS", b"3 "),
        element(0x00280030, "DS", b"0.5 \\half"),
        element(0x00189311, "FD", struct.pack("<d", float("nan"))),
    )
    head = read_head(dataset, EXPLICIT)
    assert head.conditions == {"PixelSpacing": "0.5\\half"}


@pytest.mark.parametrize(
    ("times", "date", "time"),
    [
        (
            {"AcquisitionDateTime": "20200102030405.5+0900", "AcquisitionDate": "20210101"},
            "20200102",
            "030405.5",
        ),
        (
            {"AcquisitionDate": "20200102", "AcquisitionTime": "030405", "ContentDate": "20210101"},
            "20200102",
            "030405",
        ),
        ({"ContentDate": "20200102", "ContentTime": "0304", "SeriesDate": "20210101"}, "20200102", "0304"),
        ({"SeriesDate": "20200102", "StudyDate": "20210101"}, "20200102", ""),
        ({"StudyDate": "20200102", "AcquisitionTime": "0304", "StudyTime": "05"}, "20200102", "05"),
        ({"AcquisitionDate": "", "ContentDate": "yesterday", "StudyDate": "2020.01.02"}, "20200102", ""),
        ({"StudyDate": None}, "", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_the_imaging_time_is_the_first_there_is(times: dict[str, str | None], date: str, time: str) -> None:
    head = read_head(encode(ct(**times)), EXPLICIT)
    assert (head.instance.imaging_date, head.instance.imaging_time) == (date, time)


# Bulk data


def test_bulk_data_are_left_out_wherever_they_stand_and_lengths_are_corrected() -> None:
    long, short = bytes(1026), bytes(1024)
    inner = element(0x00091001, "OB", long) + element(0x00091002, "UN", short)
    icon = element(0x7FE00010, "OW", bytes(8))
    head = read_head(
        identified(
            element(0x00400275, "SQ", item(inner) + item(icon)),
            element(0x00880200, "SQ", item(icon + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED),
            element(0x54000100, "SQ", item(element(0x54001010, "OW", bytes(10)))),
            element(0x60003000, "OW", bytes(10)),
            element(0x60023000, "OB", bytes(10)),
            element(0x60010010, "LO", b"PRIVATE "),
            element(0x7FE00010, "OW", bytes(32)),
            element(0x7FE10010, "LO", b"AFTER "),
            element(0x7FE11001, "OB", long),
            element(0xFFFCFFFC, "OB", bytes(6)),
        ),
        EXPLICIT,
    )
    assert head.header == identified(
        element(0x00400275, "SQ", item(element(0x00091002, "UN", short)) + item(b"")),
        element(0x00880200, "SQ", item(ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED),
        element(0x54000100, "SQ", item(b"")),
        element(0x60010010, "LO", b"PRIVATE "),
        element(0x7FE10010, "LO", b"AFTER "),
        element(0xFFFCFFFC, "OB", bytes(6)),
    )


def test_group_lengths_are_left_out() -> None:
    with_lengths = element(0x00080000, "UL", struct.pack("<L", 64)) + identified()
    assert read_head(with_lengths, EXPLICIT).header == identified()


def test_fragments_are_left_out_and_noted() -> None:
    fragments = element(0x7FE00010, "OB", item(b"") + item(b"\xff\xd8" * 99) + SEQUENCE_END, UNDEFINED)
    head = read_head(identified(fragments), "1.2.840.10008.1.2.4.50")
    assert head.encapsulated
    assert head.header == identified()
    assert head.header_transfer_syntax_uid == EXPLICIT


def test_zeros_after_the_last_element_are_no_part_of_it() -> None:
    for zeros in (2, 6, 8, 100_000):
        assert read_head(identified() + bytes(zeros), EXPLICIT).header == identified()


def test_a_gigabyte_of_frames_needs_little_memory() -> None:
    frames = bytes(1 << 20)
    scanner = HeadScanner(EXPLICIT)
    tracemalloc.start()
    try:
        scanner.feed(identified(element(0x7FE00010, "OW", b"", length=1 << 30)))
        for _ in range(1 << 10):
            scanner.feed(frames)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    head = scanner.finish()
    assert head.size == len(identified()) + 12 + (1 << 30)
    assert peak < 1 << 17


def test_a_header_beyond_the_limit_is_refused_as_it_comes() -> None:
    scanner = HeadScanner(EXPLICIT, header_limit=1 << 20)
    scanner.feed(identified(element(0x0042FFFF, "UT", b"", length=1 << 30)))
    scanner.feed(bytes(900_000))
    with pytest.raises(OversizedDataSet):
        scanner.feed(bytes(200_000))


def test_what_inflates_beyond_the_limit_is_refused() -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(identified(element(0x7FE00010, "OW", b"", length=1 << 30)) + bytes(1 << 25))
    scanner = HeadScanner(NATIVE[3], inflated_limit=1 << 24)
    with pytest.raises(OversizedDataSet):
        scanner.feed(bomb + deflater.flush())


# Encodings that are not what they should be


@pytest.mark.parametrize(
    ("stated", "actual"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT), (IMPLICIT, NATIVE[2])]
)
def test_a_data_set_in_another_encoding_than_stated_is_read_as_it_is(stated: str, actual: str) -> None:
    head = read_head(encode(ct(), actual), stated)
    assert head.patient.patient_name == "DOE^JANE"
    assert head.transfer_syntax_uid == stated
    assert head.header_transfer_syntax_uid == actual


def test_single_elements_without_vr_among_others_are_read() -> None:
    mixed = identified(struct.pack("<HHL", 0x0020, 0x0011, 2) + b"7 ", element(0x00200013, "IS", b"9 "))
    head = read_head(mixed, EXPLICIT)
    assert (head.series.series_number, head.instance.instance_number) == (7, 9)


def test_unknown_values_of_undefined_length_are_implicit_within() -> None:
    within = struct.pack("<HHL", 0x0040, 0x0009, 4) + b"STEP"
    unknown = element(0x00400275, "UN", item(within) + SEQUENCE_END, UNDEFINED)
    assert read_head(identified(unknown), EXPLICIT).header == identified(unknown)


@pytest.mark.parametrize("vr", ["UN", "OB"])
def test_identifying_values_of_unknown_vr_are_read_by_the_dictionary(vr: str) -> None:
    head = read_head(
        identified(element(0x00280010, "UN", b"\x04\x00"), element(0x00204000, vr, b"note")), EXPLICIT
    )
    assert head.instance.rows == 4
    assert head.instance.comments == "note"


# What is remembered from one image to the next


def test_images_of_a_series_share_patient_study_and_series() -> None:
    first = ct()
    second = ct(StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID)
    one, other = (read_head(encode(each), EXPLICIT) for each in (first, second))
    assert one.instance != other.instance
    assert (one.patient, one.study, one.series) == (other.patient, other.study, other.series)
    assert one.patient is other.patient
    assert one.study is other.study
    assert one.series is other.series


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        ("PatientName", "ROE^RICHARD", lambda head: head.patient.patient_name),
        ("StudyDate", "20010101", lambda head: head.study.study_date),
        ("Modality", "OT", lambda head: head.series.modality),
    ],
)
def test_images_of_a_series_that_contradict_each_keep_what_they_say(
    keyword: str, value: str, found: Callable[[Head], str]
) -> None:
    first = ct()
    second = ct(
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        **{keyword: value},
    )
    heads = [read_head(encode(each), EXPLICIT) for each in (first, second, first)]
    assert [found(head) for head in heads] == [getattr(first, keyword), value, getattr(first, keyword)]


def test_the_same_bytes_in_another_character_set_are_another_text() -> None:
    name = element(0x00100010, "PN", "Äneas".encode("latin-1") + b" ")
    names = [
        read_head(element(0x00080005, "CS", term) + identified(name), EXPLICIT).patient.patient_name
        for term in (b"ISO_IR 100", b"ISO_IR 101", b"ISO_IR 144", b"ISO_IR 100")
    ]
    assert names == ["Äneas", "Äneas", "Фneas", "Äneas"]


def test_what_is_remembered_is_bounded() -> None:
    def images(count: int) -> None:
        for number in range(count):
            institution = element(0x00080080, "LO", f"{number:06}".encode() * 8000)
            patient = element(0x00100020, "LO", f"{number:06}".encode() * 8)
            read_head(identified(institution, patient), EXPLICIT)

    images(100)
    tracemalloc.start()
    try:
        images(1000)
        assert tracemalloc.get_traced_memory()[0] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


# Whatever comes


def _mutated(data: bytes, changes: list[tuple[int, bytes]], cut: int | None) -> bytes:
    mutated = bytearray(data)
    for at, replacement in changes:
        position = at % len(mutated)
        mutated[position : position + len(replacement)] = replacement
    return bytes(mutated if cut is None else mutated[: cut % len(mutated)])


_HEADERS = [
    part10(path)._replace(data_set=head.header, transfer_syntax_uid=head.header_transfer_syntax_uid)
    for path in READABLE
    if path.stat().st_size < 50_000
    for head in [read_head(part10(path).data_set, part10(path).transfer_syntax_uid)]
]


@settings(max_examples=400, deadline=None)
@given(
    source=st.sampled_from(_HEADERS),
    changes=st.lists(
        st.tuples(
            st.integers(0, 1 << 16),
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from(
                    [b"\xff\xff\xff\xff", b"SQ\0\0", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"UN\0\0"]
                ),
            ),
        ),
        max_size=6,
    ),
    cut=st.none() | st.integers(0, 1 << 16),
    size=st.integers(1, 5000),
)
def test_nothing_but_our_errors_is_raised(
    source: tuple[str, bytes], changes: list[tuple[int, bytes]], cut: int | None, size: int
) -> None:
    transfer_syntax_uid, header = source
    data = _mutated(header, changes, cut)

    def outcome(step: int) -> Head | tuple[type[Exception], str]:
        scanner = HeadScanner(transfer_syntax_uid)
        try:
            for position in range(0, len(data), step):
                scanner.feed(data[position : position + step])
            return scanner.finish()
        except UnreadableDataSet as error:
            return type(error), str(error)

    assert outcome(size) == outcome(len(data) + 1)


class _Walking(Scanner):
    """Looks at every element by itself, as if none were plain."""

    def _pass(self, view: memoryview, position: int, frame: Frame) -> int:
        return position


_Scanned = tuple[object, ...]


def _scanned(
    kind: type[Scanner], transfer_syntax_uid: str, data: bytes, step: int, wanted: frozenset[int]
) -> _Scanned:
    scanner = kind(
        encoding_of(transfer_syntax_uid),
        wanted=wanted,
        wanted_within=wanted,
        searched=frozenset({0x00081140, 0x00540016, 0x52009229, 0x52009230, 0x0040A730, 0x300A0010}),
    )
    error = None
    try:
        for position in range(0, len(data), step):
            scanner.feed(memoryview(data)[position : position + step])
        scanner.finish()
    except UnreadableDataSet as caught:
        error = type(caught), str(caught)
    return (
        error,
        scanner.values,
        scanner.values_within,
        error or bytes(scanner.header),
        scanner.position,
        scanner.pixels_reached,
        scanner.encapsulated,
    )


_TAGS_IN_FILES = sorted(
    set().union(*(map(int, _pydicom(source[1], source[0]).keys()) for source in _HEADERS))
)


@settings(max_examples=300, deadline=None)
@given(
    source=st.sampled_from(_HEADERS),
    changes=st.lists(
        st.tuples(
            st.integers(0, 1 << 16),
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from([b"\0\0\0\0", b"\xe0\x7f\x10\0OW", b"\0\x60\0\x30OW", b"\xfe\xff\x0d\xe0"]),
            ),
        ),
        max_size=4,
    ),
    step=st.integers(1, 5000),
    wanted=st.frozensets(st.sampled_from(_TAGS_IN_FILES), max_size=60),
)
def test_plain_elements_are_passed_over_as_if_each_were_looked_at(
    source: tuple[str, bytes], changes: list[tuple[int, bytes]], step: int, wanted: frozenset[int]
) -> None:
    transfer_syntax_uid, header = source
    data = _mutated(header, changes, None)
    assert _scanned(Scanner, transfer_syntax_uid, data, step, wanted) == _scanned(
        _Walking, transfer_syntax_uid, data, step, wanted
    )


def _implicit(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


_OVERLONG = element(0x00081150, "UI", b"1.2", 64)
"""An element that says that it is longer than the item that holds it."""


@pytest.mark.parametrize("step", [1, 100, 100_000])
@pytest.mark.parametrize(
    ("transfer_syntax_uid", "data", "header"),
    [
        (
            IMPLICIT,
            _implicit(0x00080060, b"CT") + _implicit(0x00291010, bytes(1026)) + _implicit(0x00291011, b"x "),
            _implicit(0x00080060, b"CT") + _implicit(0x00291011, b"x "),
        ),
        (IMPLICIT, 2 * _implicit(0x00291010, bytes(1024)), None),
        (EXPLICIT, 2 * element(0x00080070, "LO", bytes(range(32, 127)) * 600), None),
        (
            EXPLICIT,
            element(0x00080060, "CS", b"CT")
            + element(0x00081140, "SQ", item(element(0x00081150, "UI", b"1.23") + _OVERLONG))
            + element(0x00100010, "PN", b"A" * 100),
            element(0x00080060, "CS", b"CT") + element(0x00100010, "PN", b"A" * 100),
        ),
        (EXPLICIT, element(0x00081140, "SQ", item(element(0x00081150, "UI", b"1.23")) * 3), None),
    ],
    ids=["bulk in implicit VR", "no bulk in implicit VR", "long texts", "longer than its item", "items"],
)
def test_what_is_not_plain_is_looked_at(
    transfer_syntax_uid: str, data: bytes, header: bytes | None, step: int
) -> None:
    data = (_implicit if transfer_syntax_uid == IMPLICIT else _explicit)(0x00080008, b"ORIGINAL") + data
    wanted = frozenset({0x00080060, 0x00081150, 0x00100010, 0x00291010})
    scanned = _scanned(Scanner, transfer_syntax_uid, data, step, wanted)
    assert scanned == _scanned(_Walking, transfer_syntax_uid, data, step, wanted)
    assert scanned[3] == (data if header is None else data[:16] + header)


def _explicit(tag: int, value: bytes) -> bytes:
    return element(tag, "CS", value)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), transfer_syntax_uid=st.sampled_from(NATIVE))
def test_nothing_but_our_errors_is_raised_for_noise(data: bytes, transfer_syntax_uid: str) -> None:
    with pytest.raises(UnreadableDataSet):
        read_head(data, transfer_syntax_uid)


def test_the_tags_of_bulk_data_are_what_they_are_taken_for() -> None:
    assert {dictionary_VR(tag) for tag in BULK} == {"OF", "OD", "OB or OW", "OB"}
