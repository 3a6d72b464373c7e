"""Whether two data sets are the same: in every encoding, compressed or not, and with one value changed."""

import copy
import struct
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID
from tests.dicom_files import part10, shared_files, shared_folder, wheel_file
from tests.gateways.dicom.encoded import (
    BIG_ENDIAN,
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

from medbus.gateways.dicom.comparison import LOSSLESS, same_elements

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")  # the files are there to be odd

J2K_LOSSLESS = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"


def rich() -> Dataset:
    """A data set with values of every length of word, sequences in sequences, and private elements."""
    inner, outer, private = Dataset(), Dataset(), Dataset()
    inner.CodeValue = "T-A0100"
    inner.CodeMeaning = "Brain"
    outer.AnatomicRegionSequence = [inner, Dataset()]
    outer.SmallestImagePixelValue = 3
    private.PatientComments = "within"
    dataset = ct(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Müller^Jürgen",
        SliceThickness="2.50",
        FrameIncrementPointer=[0x00181063, 0x00181065],
        AcquisitionDuration=1.25,
        ReferencePixelX0=-7,
        FrameAnatomySequence=[outer],
        NumberOfDetectors=4,
        RedPaletteColorLookupTableDescriptor=[4, 0, 16],
        RedPaletteColorLookupTableData=struct.pack("<4H", 1, 256, 512, 65535),
        PixelAspectRatio=["1", "1"],
    )
    block = dataset.private_block(0x0011, "MEDBUS TEST", create=True)
    block.add_new(1, "DS", "1.50")
    block.add_new(2, "SQ", [private])
    block.add_new(3, "OB", bytes(range(7)) + b"\0")
    return dataset


@pytest.mark.parametrize(("one", "other"), list(combinations(NATIVE, 2)))
def test_the_encoding_makes_no_difference(one: str, other: str) -> None:
    dataset = rich()
    a, b = encode(dataset, one), _swapped_palette(dataset, other)
    assert same_elements(a if one != BIG_ENDIAN else _swapped_palette(dataset, one), one, b, other)


def _swapped_palette(dataset: Dataset, transfer_syntax_uid: str) -> bytes:
    """pydicom writes OW as it is: words have to be turned for big endian."""
    dataset = copy.deepcopy(dataset)
    if transfer_syntax_uid == BIG_ENDIAN:
        for keyword in ("RedPaletteColorLookupTableData", "PixelData"):
            words = np.frombuffer(dataset[keyword].value, "<u2")
            dataset[keyword].value = words.astype(">u2").tobytes()
    return encode(dataset, transfer_syntax_uid)


@pytest.mark.parametrize("other", NATIVE)
@pytest.mark.parametrize(
    "change",
    [
        {"SliceThickness": "2.51"},
        {"PatientName": "Muller^Jurgen"},
        {"AcquisitionDuration": 1.5},
        {"FrameIncrementPointer": [0x00181063, 0x00181066]},
        {"ReferencePixelX0": 7},
        {"NumberOfDetectors": None},
        {"InstitutionName": "A-hospital"},
        {"FrameAnatomySequence": []},
        {"RedPaletteColorLookupTableData": struct.pack("<4H", 1, 256, 512, 65534)},
        {"PixelData": bytes(31) + b"\1"},
        {"SOPInstanceUID": "1.2.3"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_one_value_changed_makes_it_another(change: dict[str, Any], other: str) -> None:
    dataset = rich()
    changed = copy.deepcopy(dataset)
    for keyword, value in change.items():
        if value is None:
            delattr(changed, keyword)
        else:
            setattr(changed, keyword, value)
    assert not same_elements(encode(dataset), EXPLICIT, _swapped_palette(changed, other), other)


def test_a_value_changed_deep_within_makes_it_another() -> None:
    dataset, changed = rich(), None
    changed = copy.deepcopy(dataset)
    changed.FrameAnatomySequence[0].AnatomicRegionSequence[0].CodeMeaning = "Skull"
    assert not same_elements(encode(dataset), EXPLICIT, encode(changed, IMPLICIT), IMPLICIT)
    changed = copy.deepcopy(dataset)
    changed.FrameAnatomySequence[0].AnatomicRegionSequence.append(Dataset())
    assert not same_elements(encode(dataset), EXPLICIT, encode(changed, IMPLICIT), IMPLICIT)
    changed = copy.deepcopy(dataset)
    changed[0x00111002].value[0].PatientComments = "without"
    assert not same_elements(encode(dataset), EXPLICIT, encode(changed, IMPLICIT), IMPLICIT)


STEP = element(0x00400009, "SH", b"S1")


@pytest.mark.parametrize(
    "other",
    [
        identified(element(0x00400275, "SQ", item(STEP) + SEQUENCE_END, UNDEFINED)),
        identified(element(0x00400275, "SQ", item(STEP + ITEM_END, UNDEFINED))),
        identified(element(0x00400275, "SQ", item(STEP + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED)),
        element(0x00080000, "UL", b"\x40\0\0\0") + identified(element(0x00400275, "SQ", item(STEP))),
        identified(element(0x00400275, "SQ", item(element(0x00400009, "SH", b"S1  ")))),
        identified(element(0x00400275, "SQ", item(element(0x00400009, "SH", b"S1\0\0")))),
        identified(element(0x00400275, "SQ", item(STEP)), element(0xFFFCFFFC, "OB", bytes(100))),
        identified(element(0x00400275, "SQ", item(STEP)), bytes(512)),
        identified(element(0x00400275, "UN", item(struct.pack("<HHL", 0x0040, 0x0009, 2) + b"S1"))),
    ],
    ids=["sequence", "item", "both", "group length", "space", "NUL", "trailing padding", "zeros", "UN"],
)
def test_lengths_and_padding_make_no_difference(other: bytes) -> None:
    plain = identified(element(0x00400275, "SQ", item(STEP)))
    assert same_elements(plain, EXPLICIT, other, EXPLICIT)
    assert same_elements(other, EXPLICIT, plain, EXPLICIT)


# Real files

MR = [
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_padded.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *combinations(MR, 2),
        ("rtdose.dcm", "rtdose_expb.dcm"),
        ("rtdose.dcm", "rtdose_rle.dcm"),
        ("rtdose_expb.dcm", "rtdose_rle.dcm"),
        ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
        ("liver_1frame.dcm", "liver_expb_1frame.dcm"),
    ],
)
def test_the_same_image_in_two_files_is_the_same(one: str, other: str) -> None:
    (syntax_a, a), (syntax_b, b) = part10(wheel_file(one)), part10(wheel_file(other))
    assert same_elements(a, syntax_a, b, syntax_b)
    assert same_elements(b, syntax_b, a, syntax_a)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MR_small.dcm", "MR_truncated.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm"),
        ("JPEG2000.dcm", "JPEG-lossy.dcm"),
        ("CT_small.dcm", "MR_small.dcm"),
        ("rtplan.dcm", "rtplan_truncated.dcm"),
    ],
)
def test_different_files_are_different(one: str, other: str) -> None:
    (syntax_a, a), (syntax_b, b) = part10(wheel_file(one)), part10(wheel_file(other))
    assert not same_elements(a, syntax_a, b, syntax_b)


def _decompressed(name: str) -> tuple[bytes, Dataset, str]:
    """A compressed real file: its bytes, and the native original as the reference decoder gives it."""
    transfer_syntax_uid, data = part10(wheel_file(name))
    dataset = dcmread(wheel_file(name))
    frames, _ = get_decoder(UID(transfer_syntax_uid)).as_array(dataset, raw=True)
    native = Dataset(dataset)
    del native.PixelData
    native.add_new(0x7FE00010, "OW", frames.tobytes())
    if native.SamplesPerPixel > 1:
        native.PlanarConfiguration = 0
    if native.PhotometricInterpretation == "YBR_RCT":
        native.PhotometricInterpretation = "RGB"
    return data, native, transfer_syntax_uid


@pytest.mark.parametrize(
    "name",
    [
        "J2K_pixelrep_mismatch.dcm",  # the codestream is signed, the attributes say it is not
        "GDCMJ2K_TextGBR.dcm",  # three planes of colour
        "SC_rgb_rle_2frame.dcm",
        "SC_rgb_rle_32bit_2frame.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "examples_jpeg2k.dcm",
        "rtdose_rle.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
    ],
)
def test_compressed_pixels_are_the_native_original_unless_one_is_changed(name: str) -> None:
    data, native, transfer_syntax_uid = _decompressed(name)
    assert transfer_syntax_uid in LOSSLESS
    assert same_elements(data, transfer_syntax_uid, encode(native), EXPLICIT)
    pixels = bytearray(native.PixelData)
    pixels[len(pixels) // 2] ^= 1
    native.PixelData = bytes(pixels)
    assert not same_elements(data, transfer_syntax_uid, encode(native), EXPLICIT)


BYTES = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
COLOUR = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PixelData": bytes(range(256)) * 48}


ORIGINALS: dict[str, dict[str, Any]] = {
    "unsigned": {"PixelData": struct.pack("<4096H", *range(4096))},
    "signed 12 of 16": {"PixelRepresentation": 1, "PixelData": struct.pack("<4096h", *range(-2048, 2048))},
    "signed 16": {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
    | {"PixelData": struct.pack("<4096h", *range(-32768, 32768, 16))},
    "two frames": {"NumberOfFrames": "2"}
    | {"PixelData": struct.pack("<8192H", *range(4096), *range(4095, -1, -1))},
    "RGB": {"PhotometricInterpretation": "RGB"} | BYTES | COLOUR,
    "YBR_FULL": {"PhotometricInterpretation": "YBR_FULL"} | BYTES | COLOUR,
}


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        *((name, RLE) for name in ORIGINALS),
        *((name, J2K_LOSSLESS) for name in ORIGINALS if name != "YBR_FULL"),  # pydicom compresses none
    ],
)
def test_sign_colour_and_frames_survive_compression(name: str, syntax: str) -> None:
    native = ct(Rows=64, Columns=64, **ORIGINALS[name])
    compressed = copy.deepcopy(native)
    compressed.file_meta = FileMetaDataset()
    compressed.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    compressed.compress(UID(syntax), generate_instance_uid=False)
    fragments = compressed.PixelData
    for frame in (native, compressed):
        frame.pop("file_meta", None)
    del compressed.PixelData
    encoded = encode(compressed) + element(0x7FE00010, "OB", fragments + SEQUENCE_END, UNDEFINED)
    for other in NATIVE[:2]:
        assert same_elements(encoded, syntax, encode(native, other), other)
    changed = bytearray(native.PixelData)
    changed[-2] ^= 1
    native.PixelData = bytes(changed)
    assert not same_elements(encoded, syntax, encode(native), EXPLICIT)


def _jpeg(*fragments: bytes, quality: bytes = b"") -> bytes:
    return identified(
        element(0x00280004, "CS", b"MONOCHROME2 "),
        element(0x7FE00010, "OB", b"".join(map(item, fragments)) + quality + SEQUENCE_END, UNDEFINED),
    )


def test_lossy_pixels_are_the_same_if_their_bytes_are() -> None:
    stream = b"\xff\xd8 the bytes of a JPEG stream \xff\xd9"
    whole = _jpeg(b"", stream)
    parted = _jpeg(b"\0\0\0\0", stream[:10], stream[10:])
    assert same_elements(whole, JPEG, parted, JPEG)
    assert not same_elements(whole, JPEG, _jpeg(b"", stream.replace(b"JPEG", b"PNG ")), JPEG)
    assert not same_elements(whole, JPEG, whole, "1.2.840.10008.1.2.4.51")


def test_lossy_pixels_are_not_the_same_as_what_they_decode_to() -> None:
    transfer_syntax_uid, data = part10(wheel_file("SC_rgb_jpeg_dcmtk.dcm"))
    dataset = dcmread(wheel_file("SC_rgb_jpeg_dcmtk.dcm"))
    dataset.decompress(as_rgb=False, generate_instance_uid=False)
    assert not same_elements(data, transfer_syntax_uid, encode(dataset), EXPLICIT)


def test_what_can_t_be_decoded_is_not_the_same() -> None:
    dataset = ct()
    native = encode(dataset)
    del dataset.PixelData
    garbage = item(b"") + item(b"garbage!") + SEQUENCE_END
    broken = encode(dataset) + element(0x7FE00010, "OB", garbage, UNDEFINED)
    assert not same_elements(broken, J2K_LOSSLESS, native, EXPLICIT)
    assert not same_elements(broken, "1.2.3.4", native, EXPLICIT)
    assert not same_elements(broken, "1.2.840.10008.1.2.4.110", native, EXPLICIT)


@settings(max_examples=200, deadline=None)
@given(
    position=st.integers(0, 1 << 12),
    replacement=st.binary(min_size=1, max_size=6),
    syntaxes=st.sampled_from(list(permutations(NATIVE, 2))),
)
def test_whatever_comes_is_compared_without_an_error(
    position: int, replacement: bytes, syntaxes: tuple[str, str]
) -> None:
    dataset = rich()
    one, other = syntaxes
    data = bytearray(encode(dataset, one))
    position %= len(data)
    data[position : position + len(replacement)] = replacement
    assert same_elements(data, one, encode(dataset, other), other) in (True, False)


def test_thousands_of_sequences_in_each_other_are_not_the_same() -> None:
    deep = b""
    for _ in range(2000):
        deep = element(0x00400275, "SQ", item(deep))
    undefined = b"".join(element(0x00400275, "SQ", item(b"", UNDEFINED), UNDEFINED) for _ in range(10_000))
    for nested in (deep, undefined):
        assert not same_elements(identified(nested), EXPLICIT, identified(nested, bytes(2)), EXPLICIT)


@pytest.mark.skipif(shared_folder() is None, reason="no folder of real files; MEDBUS_TEST_DATA names one")
def test_every_shared_file_is_itself_and_no_other_of_its_series() -> None:
    previous: tuple[str, bytes] | None = None
    for path in shared_files():
        transfer_syntax_uid, data = part10(path)
        assert same_elements(data, transfer_syntax_uid, data + bytes(2), transfer_syntax_uid)
        if previous is not None:
            assert not same_elements(data, transfer_syntax_uid, previous[1], previous[0])
        previous = transfer_syntax_uid, data
