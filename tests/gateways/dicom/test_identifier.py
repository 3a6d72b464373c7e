"""Identifiers of query and retrieval, without a network."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from tests.gateways.dicom.encoded import EXPLICIT, IMPLICIT

from medbus.gateways.dicom.identifier import Identifier, answer, encode, failed, question, selection
from medbus.gateways.dicom.presentation import Root
from medbus.gateways.dicom.status import Refused
from medbus.projections.images.query import AnyOf, Level, Range, Single, Universal, Wildcard

SYNTAXES = (IMPLICIT, EXPLICIT)


def asked(root: Root = Root.STUDY, syntax: str = IMPLICIT, **keys: object) -> Identifier:
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return Identifier(root, encode(dataset, syntax), syntax)


def read(data: bytes, syntax: str) -> Dataset:
    dataset = read_dataset(BytesIO(data), is_implicit_VR=syntax == IMPLICIT, is_little_endian=True)
    assert isinstance(dataset, Dataset)
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_keys_are_matched_by_what_they_are(syntax: str) -> None:
    keys = asked(
        syntax=syntax,
        QueryRetrieveLevel="IMAGE",
        PatientName="DOE*",
        PatientID="4711",
        StudyDate="20240101-",
        StudyInstanceUID=["1.2.3", "1.2.4"],
        Modality=["CT", "MR"],
        InstanceNumber="7",
        Rows=512,
        AccessionNumber="",
    )
    query = question(keys).query
    assert query.level is Level.IMAGE
    assert query.keys == {
        "PatientName": Wildcard(pattern="DOE*"),
        "PatientID": Single(value="4711"),
        "StudyDate": Range(first="20240101", last=None),
        "StudyInstanceUID": AnyOf(values=("1.2.3", "1.2.4")),
        "Modality": AnyOf(values=("CT", "MR")),
        "InstanceNumber": Single(value="7"),
        "Rows": Single(value="512"),
        "AccessionNumber": Universal(),
        "SOPInstanceUID": Universal(),
    }


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_answer_has_exactly_what_was_asked_for(syntax: str) -> None:
    keys = asked(
        syntax=syntax,
        QueryRetrieveLevel="STUDY",
        PatientName="",
        NumberOfStudyRelatedInstances="",
        PatientWeight="",
        InstanceAvailability="",
        ReferencedStudySequence=[],
    )
    found: dict[str, str | int | None] = {
        "PatientName": "DOE^JANE",
        "NumberOfStudyRelatedInstances": 12,
        "StudyInstanceUID": "1.2.3",
    }
    match = read(answer(question(keys), found, retrieve_ae_title="MEDBUS", transfer_syntax=syntax), syntax)
    assert match.SpecificCharacterSet == "ISO_IR 100"
    assert match.QueryRetrieveLevel == "STUDY"
    assert match.RetrieveAETitle == "MEDBUS"
    assert match.InstanceAvailability == "ONLINE"
    assert match.PatientName == "DOE^JANE"
    assert match.NumberOfStudyRelatedInstances == 12
    assert match.StudyInstanceUID == "1.2.3"
    assert match["PatientWeight"].is_empty
    assert len(match.ReferencedStudySequence) == 0
    assert len(match) == 9


def test_unsupported_keys_are_told_apart() -> None:
    supported: dict[str, Any] = {
        "QueryRetrieveLevel": "STUDY",
        "PatientName": "",
        "InstanceAvailability": "",
        "RetrieveAETitle": "",
    }
    assert question(asked(**supported)).all_supported
    assert not question(asked(**supported, PatientWeight="")).all_supported
    assert not question(asked(**supported, SOPInstanceUID="")).all_supported, "a key of a lower level"


@settings(deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\\^="),
        min_size=1,
        max_size=30,
    )
)
def test_any_name_comes_back(name: str) -> None:
    name = name.strip() or "X"
    keys = asked(QueryRetrieveLevel="STUDY", PatientName="")
    data = answer(question(keys), {"PatientName": name}, retrieve_ae_title="A", transfer_syntax=EXPLICIT)
    assert str(read(data, EXPLICIT).PatientName) == name


@pytest.mark.parametrize(
    ("root", "level", "allowed"),
    [
        (Root.PATIENT, "PATIENT", True),
        (Root.STUDY, "PATIENT", False),
        (Root.STUDY, "IMAGE", True),
        (Root.PATIENT_STUDY_ONLY, "STUDY", True),
        (Root.PATIENT_STUDY_ONLY, "SERIES", False),
        (Root.STUDY, "study", False),
    ],
)
def test_each_model_has_its_levels(root: Root, level: str, allowed: bool) -> None:
    keys = asked(root, QueryRetrieveLevel=level)
    if allowed:
        assert question(keys).query.level == level
    else:
        with pytest.raises(Refused) as caught:
            question(keys)
        assert caught.value.code == 0xA900


def test_a_retrieval_names_what_it_wants() -> None:
    keys = asked(
        Root.PATIENT,
        QueryRetrieveLevel="SERIES",
        PatientID="4711",
        StudyInstanceUID="1.2",
        SeriesInstanceUID=["1.2.3", "1.2.4"],
        SOPInstanceUID="1.2.3.4",
    )
    chosen = selection(keys)
    assert chosen.patient_ids == ("4711",)
    assert chosen.study_instance_uids == ("1.2",)
    assert chosen.series_instance_uids == ("1.2.3", "1.2.4")
    assert chosen.sop_instance_uids == (), "a key of a lower level does not count"


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(st.lists(st.from_regex(r"1\.2\.[1-9][0-9]{0,50}", fullmatch=True), min_size=1, max_size=5))
def test_what_failed_is_named(syntax: str, uids: list[str]) -> None:
    dataset = read(failed(uids, syntax), syntax)
    named = dataset.FailedSOPInstanceUIDList
    assert ([named] if len(uids) == 1 else list(named)) == uids


def test_more_failures_than_fit_are_cut_at_a_uid() -> None:
    uids = [f"1.2.3.{10**49 + number}" for number in range(1, 3000)]
    explicit = read(failed(uids, EXPLICIT), EXPLICIT).FailedSOPInstanceUIDList
    assert 1000 < len(explicit) < 3000
    assert list(explicit) == uids[: len(explicit)]
    assert len(read(failed(uids, IMPLICIT), IMPLICIT).FailedSOPInstanceUIDList) == 2999
    assert failed([], EXPLICIT) == b""


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_understood_or_refused(data: bytes, syntax: str) -> None:
    for reading in (question, selection):
        with suppress(Refused):
            reading(Identifier(Root.STUDY, data, syntax))
