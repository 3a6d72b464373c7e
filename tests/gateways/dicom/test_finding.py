"""C-FIND over the network: levels, keys, character sets, cancel."""

import asyncio
import time
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from tests.dicom_files import charset_files
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import IMPLICIT, ct
from tests.gateways.images import outgoing
from tests.gateways.site import Site

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.client import find
from medbus.gateways.dicom.client.finder import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from medbus.gateways.dicom.client.peer import PeerRefused
from medbus.gateways.dicom.status import SUCCESS, Outcome
from medbus.projections.images.query import Level
from medbus.schemas.events import Scope

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


async def study(site: Site, modalities: str = "CT", **changes: object) -> str:
    """Register a study with a series of each modality; its UID."""
    uid = str(generate_uid())
    images = [ct(StudyInstanceUID=uid, Modality=each, **changes) for each in modalities.split(",")]
    assert await site.store(*map(outgoing, images)) == [SUCCESS] * len(images)
    await site.settled()
    return uid


async def ask(site: Site, keys: Dataset, sop_class: str = STUDY_ROOT_FIND) -> list[tuple[Outcome, bytes]]:
    """Every response to a query."""

    def work() -> list[tuple[Outcome, bytes]]:
        with site.peer().requester([(sop_class, [IMPLICIT])]) as requester:
            return list(requester.find(sop_class, identifier.encode(keys, IMPLICIT)))

    return await asyncio.wait_for(asyncio.to_thread(work), 20)


async def test_a_study_is_found_by_what_it_is(served: Site) -> None:
    uid = await study(
        served,
        "CT,CT,MR",
        PatientName="FINDER^FRED",
        PatientID="F1",
        StudyDate="20240105",
        AccessionNumber="A77",
    )
    keys = dict.fromkeys(
        ("StudyInstanceUID", "PatientName", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"), ""
    )
    for asked in (
        {"StudyInstanceUID": uid},
        {"PatientName": "finder*"},
        {"PatientName": "FIND?R^FRED", "PatientID": "F1"},
        {"StudyDate": "20240101-20240110", "PatientID": "F1"},
        {"StudyDate": "-20240105", "PatientID": "F1"},
        {"StudyInstanceUID": f"1.2.3\\{uid}"},
        {"AccessionNumber": "A77", "ModalitiesInStudy": "MR"},
    ):
        [answer] = await find(served.peer(), Level.STUDY, keys | asked)
        assert answer == {
            "SpecificCharacterSet": "ISO_IR 100",
            "QueryRetrieveLevel": "STUDY",
            "RetrieveAETitle": "MEDBUS",
            "StudyInstanceUID": uid,
            "PatientName": "FINDER^FRED",
            "ModalitiesInStudy": "CT\\MR",
            "NumberOfStudyRelatedInstances": "3",
            **{key: "20240105" for key in asked if key == "StudyDate"},
            **{key: "F1" for key in asked if key == "PatientID"},
            **{key: "A77" for key in asked if key == "AccessionNumber"},
        }
    assert await find(served.peer(), Level.STUDY, {"PatientID": "F1", "StudyDate": "20240106-"}) == []


async def test_every_level_is_answered(served: Site) -> None:
    uid = await study(served, "CT,MR", PatientID="L1", PatientName="LEVEL^LENA")
    [patient] = await find(served.peer(), Level.PATIENT, {"PatientID": "L1", "PatientName": ""})
    assert patient["PatientName"] == "LEVEL^LENA"
    series = await find(
        served.peer(), Level.SERIES, {"StudyInstanceUID": uid, "SeriesInstanceUID": "", "Modality": ""}
    )
    assert sorted(each["Modality"] for each in series) == ["CT", "MR"]
    images = await find(
        served.peer(),
        Level.IMAGE,
        {
            "StudyInstanceUID": uid,
            "SeriesInstanceUID": series[0]["SeriesInstanceUID"],
            "SOPInstanceUID": "",
            "Rows": "",
            "AvailableTransferSyntaxUID": "",
        },
    )
    [image] = images
    assert image["Rows"] == "4"
    assert image["AvailableTransferSyntaxUID"] == "1.2.840.10008.1.2.1"


async def test_findscu_of_others_understands_the_answers(served: Site) -> None:
    uid = await study(served, PatientID="D1", PatientName="TOOLKIT^TOM")
    finished = await dcmtk.run(
        "findscu", "-S", "-aet", "MODALITY", "-aec", "MEDBUS", "127.0.0.1", served.port,
        *("-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=TOOLKIT*", "-k", "StudyInstanceUID="),
    )  # fmt: skip
    assert finished.code == 0
    assert uid in finished.output
    assert "TOOLKIT^TOM" in finished.output


async def test_names_in_three_scripts_come_back_in_unicode(served: Site) -> None:
    """Of the small inputs, number 3, as far as C-FIND is concerned."""
    name = bytes.fromhex(
        "d4cfc0de5ec0dbb33d1b24423b3345441b284a5e1b244242404f3a1b284a3d"
        "1b24422464245e24401b284a5e1b2442243f246d24261b284a"
    )
    image = ct(PatientID="J1", SpecificCharacterSet=["ISO 2022 IR 13", "ISO 2022 IR 87"])
    image.PatientName = "PLACEHOLDER"
    data = identifier.encode(image, IMPLICIT)
    old = b"\x10\x00\x10\x00" + (12).to_bytes(4, "little") + b"PLACEHOLDER "
    assert data.count(old) == 1
    padded = name + b" " * (len(name) % 2)
    data = data.replace(old, b"\x10\x00\x10\x00" + len(padded).to_bytes(4, "little") + padded)
    assert await served.store(outgoing(image, data, transfer_syntax_uid=IMPLICIT)) == [SUCCESS]
    await served.settled()

    expected = (
        "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73"
        "=\u5c71\u7530^\u592a\u90ce"
        "=\u3084\u307e\u3060^\u305f\u308d\u3046"
    )
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.PatientID = "J1"
    keys.PatientName = ""
    (pending, match), (final, _) = await ask(served, keys)
    assert (pending.code, final.code) == (0xFF00, 0x0000)
    answer = read_dataset(BytesIO(match), is_implicit_VR=True, is_little_endian=True)
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert str(answer.PatientName) == expected
    assert answer.get_item("PatientName").value != b""

    keys.SpecificCharacterSet = ["ISO 2022 IR 6", "ISO 2022 IR 87"]
    keys.PatientName = "*=\u5c71\u7530^*"
    assert len(await ask(served, keys)) == 2, "the query's own character set is understood"


async def test_the_charset_files_of_pydicom_come_back_as_it_reads_them(served: Site) -> None:
    named = [path for path in charset_files() if dcmread(path).get("PatientName")]
    assert len(named) > 10
    for path in named:
        original = dcmread(path)
        original.decode()
        image = ct(PatientID=path.stem, StudyInstanceUID=generate_uid())
        image.SpecificCharacterSet = original.SpecificCharacterSet
        image.PatientName = original.PatientName
        assert await served.store(outgoing(image)) == [SUCCESS]
        await served.settled()
        [answer] = await find(served.peer(), Level.STUDY, {"PatientID": path.stem, "PatientName": ""})
        assert answer["PatientName"].rstrip("=^") == str(original.PatientName).rstrip("=^"), path.name


async def test_keys_that_are_not_supported_come_back_empty_with_a_warning(served: Site) -> None:
    uid = await study(served)
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.StudyInstanceUID = uid
    keys.PatientComments = "anything"
    keys.ScheduledProcedureStepSequence = [Dataset()]
    keys.add_new(0x00091001, "LO", "private")
    (pending, match), (final, _) = await ask(served, keys)
    assert (pending.code, final.code) == (0xFF01, 0x0000)
    answer = read_dataset(BytesIO(match), is_implicit_VR=True, is_little_endian=True)
    assert answer.StudyInstanceUID == uid
    assert answer["PatientComments"].is_empty
    assert len(answer.ScheduledProcedureStepSequence) == 0
    assert answer[0x00091001].is_empty


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, Outcome(0xA900, "Query/Retrieve Level is missing")),
        ({"QueryRetrieveLevel": "PATIENT"}, Outcome(0xA900, "PATIENT is no level of the study root model")),
        ({"QueryRetrieveLevel": "FILM"}, Outcome(0xA900, "FILM is no level of the study root model")),
    ],
)
async def test_an_identifier_of_another_model_is_refused(
    served: Site, keys: dict[str, str], expected: Outcome
) -> None:
    dataset = Dataset()
    dataset.PatientID = "X"
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    assert await ask(served, dataset) == [(expected, b"")]


async def test_a_value_that_does_not_fit_its_key_is_refused(served: Site) -> None:
    with pytest.raises(PeerRefused, match="C000H StudyDate can't be matched"):
        await find(served.peer(), Level.STUDY, {"StudyDate": "yesterday"})


async def test_garbage_as_an_identifier_is_refused(served: Site) -> None:
    def work() -> list[Outcome]:
        with served.peer().requester([(STUDY_ROOT_FIND, [IMPLICIT])]) as requester:
            return [outcome for outcome, _ in requester.find(STUDY_ROOT_FIND, b"\xff" * 100)]

    [outcome] = await asyncio.to_thread(work)
    assert outcome.code in (0xA900, 0xC000)
    assert outcome.comment


async def test_what_lies_outside_the_scope_is_not_found(served: Site) -> None:
    await study(served, PatientID="S1", PatientName="SCOPE^A")
    await study(served, PatientID="S2", PatientName="SCOPE^B")
    served.auth.scope = Scope(patients=("S2",))
    answers = await find(served.peer(), Level.STUDY, {"PatientName": "SCOPE^*", "PatientID": ""})
    assert [each["PatientID"] for each in answers] == ["S2"]


async def test_a_query_can_be_cancelled(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = identifier.answer

    def slowly(*arguments: Any, **options: Any) -> bytes:
        """Else all answers are out before the first has reached the peer."""
        time.sleep(0.002)
        return encoded(*arguments, **options)

    monkeypatch.setattr(identifier, "answer", slowly)
    await served.store(*(outgoing(ct(PatientID="CANCEL")) for _ in range(120)))
    await served.settled()
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.PatientID = "CANCEL"

    def work() -> list[Outcome]:
        with served.peer().requester([(STUDY_ROOT_FIND, [IMPLICIT])]) as requester:
            outcomes: list[Outcome] = []
            for outcome, _ in requester.find(STUDY_ROOT_FIND, identifier.encode(keys, IMPLICIT)):
                if not outcomes:
                    requester.cancel(STUDY_ROOT_FIND)
                outcomes.append(outcome)
            return outcomes

    outcomes = await asyncio.wait_for(asyncio.to_thread(work), 20)
    assert outcomes[-1].code == 0xFE00
    assert len(outcomes) < 121


async def test_explicit_vr_is_spoken_too(served: Site) -> None:
    uid = await study(served, PatientID="E1")

    def work() -> list[Dataset]:
        ae = AE("MODALITY")
        ae.add_requested_context(PATIENT_ROOT_FIND, "1.2.840.10008.1.2.1")
        ae.add_requested_context(STUDY_ROOT_FIND, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", served.port, ae_title="MEDBUS")
        assert association.is_established
        keys = Dataset()
        keys.QueryRetrieveLevel = "STUDY"
        keys.PatientID = "E1"
        keys.StudyInstanceUID = ""
        try:
            return [
                answer
                for sop_class in (
                    PATIENT_ROOT_FIND,
                    STUDY_ROOT_FIND,
                )
                for _, answer in association.send_c_find(keys, sop_class)
                if answer is not None
            ]
        finally:
            association.release()

    answers = await asyncio.to_thread(work)
    assert [each.StudyInstanceUID for each in answers] == [uid, uid]
