"""The vocabulary of imaging conditions, against the DICOM data dictionary."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_is_retired, dictionary_VR, tag_for_keyword

from medbus.schemas.conditions import (
    CONDITIONS,
    OF_MODALITY,
    OF_THE_REST,
    Condition,
    conditions_of,
    describe,
)

UNITS = {
    *(
        "1",
        "%",
        "mm",
        "cm",
        "m",
        "ms",
        "us",
        "s",
        "ns",
        "/s",
        "/min",
        "deg",
        "kV",
        "mA",
        "uA",
        "mAs",
        "uAs",
        "kW",
    ),
    *(
        "T",
        "T/s",
        "W/kg",
        "Hz",
        "kHz",
        "MHz",
        "s/mm2",
        "cm/s",
        "mm/s",
        "Bq",
        "keV",
        "kg",
        "mL",
        "mL/s",
        "mg/mL",
    ),
    *("mGy", "dGy", "dGy.cm2", "N", "Cel"),
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.keyword)
def test_keyword_tag_and_vr_are_those_of_the_dictionary(condition: Condition) -> None:
    tag = tag_for_keyword(condition.keyword)
    assert tag is not None
    assert condition.tag == f"{tag:08X}"
    assert condition.vr == dictionary_VR(tag)
    assert not dictionary_is_retired(tag)
    assert condition.unit in UNITS
    assert condition.label


def test_tags_and_keywords_are_unique_and_in_order() -> None:
    tags = [condition.tag for condition in CONDITIONS.values()]
    assert tags == sorted(set(tags))


def test_every_condition_belongs_to_some_modality() -> None:
    used = {condition for conditions in OF_MODALITY.values() for condition in conditions} | set(OF_THE_REST)
    assert used == set(CONDITIONS.values())


@pytest.mark.parametrize(
    ("modality", "labels"),
    [
        ("MR", {"TR", "TE", "TI", "FA", "NEX", "B0", "ETL", "b", "slice", "matrix"}),
        ("CT", {"kVp", "mA", "mAs", "pitch", "kernel", "CTDIvol", "tilt", "slice", "rotation"}),
        ("PT", {"tracer", "activity", "half-life", "injected", "weight", "scatter"}),
        ("NM", {"tracer", "activity", "collimator", "counts", "energy low"}),
        ("US", {"transducer", "frequency", "MI", "TIB", "depth", "frame rate"}),
        ("CR", {"kVp", "mAs", "EI", "S", "view", "SDD", "plate"}),
        ("DX", {"kVp", "mAs", "EI", "DAP", "view", "SDD", "AEC"}),
        ("MG", {"kVp", "mAs", "AGD", "compression", "thickness", "anode"}),
        ("XA", {"kVp", "mA", "primary angle", "secondary angle", "pulse", "DAP"}),
        ("RF", {"kVp", "mA", "primary angle", "pulse", "DAP"}),
    ],
)
def test_a_radiographer_finds_what_an_image_was_made_with(modality: str, labels: set[str]) -> None:
    assert labels <= {condition.label for condition in conditions_of(modality)}


def test_other_modalities_have_the_general_conditions() -> None:
    assert conditions_of("ECG") == conditions_of("") == OF_THE_REST
    assert "AcquisitionDuration" in {condition.keyword for condition in OF_THE_REST}


def test_describes_a_condition_with_its_numbers() -> None:
    described = describe("PixelSpacing", "0.50\\0.5")
    assert (described.tag, described.vr, described.unit, described.label) == ("00280030", "DS", "mm", "pixel")
    assert described.text == "0.50\\0.5"
    assert described.numbers == (0.5, 0.5)


def test_the_unit_of_activity_depends_on_the_modality() -> None:
    assert describe("RadionuclideTotalDose", "370000000", "PT").unit == "Bq"
    assert describe("RadionuclideTotalDose", "370", "NM").unit == "MBq"


@pytest.mark.parametrize("text", ["", "fast", "1\\fast", "nan", "inf", "1e999", "1_000", "\\", "0x10"])
def test_what_is_no_number_has_none(text: str) -> None:
    described = describe("RepetitionTime", text)
    assert described.numbers == ()
    assert described.text == text


def test_times_and_texts_are_no_numbers() -> None:
    assert describe("RadiopharmaceuticalStartTime", "093200").numbers == ()
    assert describe("ProtocolName", "194").numbers == ()


def test_an_unknown_keyword_is_its_own_label() -> None:
    described = describe("FluxCapacitance", "1.21")
    assert described.label == "FluxCapacitance"
    assert (described.tag, described.vr, described.unit, described.numbers) == ("", "", "", ())


@given(keyword=st.sampled_from([*CONDITIONS, "Unknown"]) | st.text(max_size=10), text=st.text(max_size=30))
def test_nothing_raises_and_no_number_is_infinite(keyword: str, text: str) -> None:
    described = describe(keyword, text)
    assert described.text == text
    assert all(math.isfinite(number) for number in described.numbers)
