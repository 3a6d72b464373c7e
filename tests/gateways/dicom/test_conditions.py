"""Imaging conditions out of data sets: by modality, from functional groups, as DICOM writes them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from tests.dicom_files import part10, wheel_file
from tests.gateways.dicom.encoded import EXPLICIT, NATIVE, ct, element, encode, identified

from medbus.gateways.dicom.conditions import SEARCHED, conditions
from medbus.gateways.dicom.dataset import read_head
from medbus.gateways.dicom.values import RawValue, text_of
from medbus.schemas.conditions import OF_MODALITY


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "MR_small.dcm",
            {
                "RepetitionTime": "4000.0000",
                "EchoTime": "240.0000",
                "FlipAngle": "90",
                "PixelSpacing": "0.3125\\0.3125",
            },
        ),
        ("MR_small_bigendian.dcm", {"RepetitionTime": "4000.0000", "EchoTime": "240.0000"}),
        ("MR_small_implicit.dcm", {"RepetitionTime": "4000.0000", "EchoTime": "240.0000"}),
        (
            "CT_small.dcm",
            {"KVP": "120", "XRayTubeCurrent": "170", "ScanOptions": "HELICAL MODE", "Exposure": "170"},
        ),
        ("JPEG2000.dcm", {"ActualFrameDuration": "1210434", "CountsAccumulated": "3596452"}),
        (
            "examples_palette.dcm",
            {"TransducerData": "C5-1\\UNUSED\\UNUSED", "ProcessingFunction": "OB_GENERAL"},
        ),
    ],
)
def test_conditions_of_real_files(name: str, expected: dict[str, str]) -> None:
    transfer_syntax_uid, data = part10(wheel_file(name))
    found = read_head(data, transfer_syntax_uid).conditions
    assert {keyword: found.get(keyword) for keyword in expected} == expected


def enhanced_mr() -> Dataset:
    """An enhanced MR object: TE in the shared, TR and b in the per-frame functional groups."""
    echo, timing, diffusion, frame, shared = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    echo.EffectiveEchoTime = 12.5
    shared.MREchoSequence = [echo]
    timing.RepetitionTime = "500"
    timing.RFEchoTrainLength = 8
    diffusion.DiffusionBValue = 1000.0
    frame.MRTimingAndRelatedParametersSequence = [timing]
    frame.MRDiffusionSequence = [diffusion]
    other = Dataset()
    later = Dataset()
    later.EffectiveEchoTime = 99.0
    later.FlipAngle = "15"
    other.MREchoSequence = [later]
    dataset = ct(Modality="MR", KVP=None, MagneticFieldStrength="3.0")
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [frame, other]
    return dataset


@pytest.mark.parametrize("transfer_syntax_uid", NATIVE)
def test_conditions_of_enhanced_objects_come_from_shared_and_first_functional_groups(
    transfer_syntax_uid: str,
) -> None:
    found = read_head(encode(enhanced_mr(), transfer_syntax_uid), transfer_syntax_uid).conditions
    assert found == {
        "RepetitionTime": "500",
        "EffectiveEchoTime": "12.5",
        "RFEchoTrainLength": "8",
        "MagneticFieldStrength": "3.0",
        "DiffusionBValue": "1000",
    }


def test_what_the_data_set_itself_says_comes_first() -> None:
    dataset = enhanced_mr()
    dataset.RepetitionTime = "2000"
    assert read_head(encode(dataset), EXPLICIT).conditions["RepetitionTime"] == "2000"


def test_sequences_that_are_not_about_the_image_are_not_searched() -> None:
    other = Dataset()
    other.RepetitionTime = "1"
    dataset = ct(Modality="MR", KVP=None, ReferencedImageSequence=[other])
    assert read_head(encode(dataset), EXPLICIT).conditions == {}


def test_the_tracer_of_a_pet_image_is_found() -> None:
    tracer = Dataset()
    tracer.Radiopharmaceutical = "FDG"
    tracer.RadionuclideTotalDose = "370000000"
    dataset = ct(Modality="PT", KVP=None, RadiopharmaceuticalInformationSequence=[tracer])
    found = read_head(encode(dataset), EXPLICIT).conditions
    assert found == {"Radiopharmaceutical": "FDG", "RadionuclideTotalDose": "370000000"}


@pytest.mark.parametrize(
    ("modality", "found"), [("CT", {"KVP": "120"}), ("MR", {}), ("XX", {"KVP": "120"}), ("", {"KVP": "120"})]
)
def test_conditions_are_chosen_by_modality(modality: str, found: dict[str, str]) -> None:
    assert read_head(encode(ct(Modality=modality)), EXPLICIT).conditions == found


def test_conditions_without_a_value_or_with_a_very_long_one_are_left_out() -> None:
    dataset = identified(
        element(0x00280030, "DS", b"\\ "),
        element(0x00400316, "DS", b""),
        element(0x00189311, "FD", b"1234567"),
        element(0x00181030, "LO", b"x" * 1026),
    )
    assert read_head(dataset, EXPLICIT).conditions == {}


@pytest.mark.parametrize(
    ("vr", "data", "text"),
    [
        (b"DS", b"0.50 \\ 0.5", "0.50\\0.5"),
        (b"CS", b"SAT2 \\FS ", "SAT2\\FS"),
        (b"LT", b" one\\two ", " one\\two"),
        (b"US", struct.pack("<4H", 256, 0, 0, 128), "256\\0\\0\\128"),
        (b"SS", struct.pack("<h", -3), "-3"),
        (b"FD", struct.pack("<2d", 0.984375, 35.0), "0.984375\\35"),
        (b"FD", struct.pack("<d", 1e-7), "1e-07"),
        (b"FL", struct.pack("<f", 0.1), "0.1"),
        (b"FL", struct.pack("<f", 3.4028234663852886e38), "3.4028235e+38"),
        (b"FD", struct.pack("<d", float("inf")), ""),
        (b"US", b"123", ""),
    ],
)
def test_values_are_written_as_dicom_writes_them(vr: bytes, data: bytes, text: str) -> None:
    assert text_of(RawValue(vr, data, big_endian=False), ("ascii",)) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_text_of_a_single_is_that_single(number: float) -> None:
    encoded = struct.pack("<f", number)
    assert (
        struct.pack("<f", float(text_of(RawValue(b"FL", encoded, big_endian=False), ("ascii",)))) == encoded
    )


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_is_that_double(number: float) -> None:
    encoded = struct.pack(">d", number)
    assert struct.pack(">d", float(text_of(RawValue(b"FD", encoded, big_endian=True), ("ascii",)))) == encoded


@given(
    modality=st.sampled_from([*OF_MODALITY, "", "SR"]),
    tags=st.lists(st.sampled_from([int(c.tag, 16) for c in OF_MODALITY["CT"]])),
    vr=st.sampled_from([b"DS", b"FD", b"US", b"CS", b"UN", b"??"]),
    data=st.binary(max_size=20),
)
def test_no_value_raises(modality: str, tags: list[int], vr: bytes, data: bytes) -> None:
    values = dict.fromkeys(tags, RawValue(vr, data, big_endian=False))
    found = conditions(modality, values, {})
    assert all(text.strip("\\") for text in found.values())


def test_searched_sequences_are_sequences() -> None:
    from pydicom.datadict import dictionary_VR

    assert {dictionary_VR(tag) for tag in SEARCHED} == {"SQ"}
