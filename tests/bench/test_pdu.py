"""The client's PDUs and commands, read by pynetdicom and pydicom."""

import struct
from io import BytesIO

import pydicom
import pytest
from bench import pdu, query
from bench.pdu import Context
from bench.slice import CT_IMAGE_STORAGE
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF

SOP_INSTANCE = "2.25.1234567"


def command(encoded: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(encoded), force=True)


def test_an_association_request_is_what_pynetdicom_reads() -> None:
    contexts = [Context(1, pdu.STUDY_ROOT_GET), Context(3, CT_IMAGE_STORAGE, provider=True)]
    encoded = pdu.associate_request("CALLED", "CALLING", contexts, 16384)
    read = A_ASSOCIATE_RQ()
    read.decode(encoded)
    assert read.encode() == encoded
    assert (read.called_ae_title, read.calling_ae_title) == ("CALLED", "CALLING")
    assert [each.abstract_syntax for each in read.presentation_context] == [
        pdu.STUDY_ROOT_GET,
        CT_IMAGE_STORAGE,
    ]
    assert [each.context_id for each in read.presentation_context] == [1, 3]
    assert read.user_information is not None
    assert read.user_information.maximum_length == 16384
    roles = read.user_information.role_selection
    assert [(uid, role.scu, role.scp) for uid, role in roles.items()] == [(CT_IMAGE_STORAGE, 1, 1)]


def test_an_acceptance_names_the_limit_and_the_accepted_contexts() -> None:
    request = A_ASSOCIATE_RQ()
    request.decode(pdu.associate_request("A", "B", [Context(1, "1.2.3"), Context(3, "1.2.4")], 65536))
    primitive = request.to_primitive()
    accepted, refused = primitive.presentation_context_definition_list
    accepted.result, refused.result = 0, 3
    primitive.presentation_context_definition_results_list = [accepted, refused]
    primitive.result = 0
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    assert pdu.accepted(answer.encode()[6:]) == (65536, {1})


def test_a_store_request_is_a_command_set() -> None:
    read = command(pdu.store_request(7, CT_IMAGE_STORAGE, SOP_INSTANCE))
    assert read.CommandField == 0x0001
    assert read.MessageID == 7
    assert read.AffectedSOPClassUID == CT_IMAGE_STORAGE
    assert read.AffectedSOPInstanceUID == SOP_INSTANCE
    assert read.CommandDataSetType == 1
    assert read.CommandGroupLength == len(pdu.store_request(7, CT_IMAGE_STORAGE, SOP_INSTANCE)) - 12


def test_a_store_response_answers_its_request() -> None:
    request = pdu.read_command(pdu.store_request(7, CT_IMAGE_STORAGE, SOP_INSTANCE))
    read = command(pdu.store_response(request))
    assert read.CommandField == 0x8001
    assert read.MessageIDBeingRespondedTo == 7
    assert read.AffectedSOPInstanceUID == SOP_INSTANCE
    assert (read.Status, read.CommandDataSetType) == (0, 0x0101)


def test_an_identifier_asks_for_a_study() -> None:
    read = pydicom.dcmread(BytesIO(pdu.study_identifier("1.2.3")), force=True)
    assert (read.QueryRetrieveLevel, read.StudyInstanceUID) == ("STUDY", "1.2.3")


@given(st.binary(max_size=500), st.integers(min_value=16, max_value=200))
def test_a_message_comes_back_whole_from_pdus_within_the_limit(data: bytes, limit: int) -> None:
    encoded = pdu.message(5, b"c" * 10, data, limit)
    commands: list[tuple[bytes, bool]] = []
    found: list[tuple[bytes, bool]] = []
    start = 0
    while start < len(encoded):
        kind, length = struct.unpack_from(">BxI", encoded, start)
        assert kind == pdu.P_DATA_TF
        assert length <= limit
        whole = encoded[start : start + 6 + length]
        P_DATA_TF().decode(whole)
        for each in pdu.fragments(memoryview(whole)[6:]):
            assert each.context == 5
            (commands if each.command else found).append((bytes(each.data), each.last))
        start += 6 + length
    assert commands == [(b"c" * 10, True)]
    assert b"".join(part for part, _ in found) == data
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True] * bool(found)


@pytest.mark.parametrize("value", ["1.2.3", "1.22.3"])
def test_uids_are_padded_to_even_length(value: str) -> None:
    assert len(pdu.even(value.encode())) == 6
    assert pdu.uid(pdu.even(value.encode())) == value


def test_an_acceptance_of_ours_is_what_pynetdicom_reads() -> None:
    contexts = [Context(1, "1.2.3", pdu.IMPLICIT_VR), Context(3, CT_IMAGE_STORAGE)]
    request = pdu.associate_request("CALLED", "CALLING", contexts, 16384)
    encoded = pdu.associate_accept(request[6:], 65536)
    assert pdu.accepted(encoded[6:]) == (65536, {1, 3})
    read = A_ASSOCIATE_AC()
    read.decode(encoded)
    assert read.encode() == encoded
    assert [each.transfer_syntax for each in read.presentation_context] == [pdu.IMPLICIT_VR, pdu.EXPLICIT_VR]


def test_the_requests_of_query_and_retrieval_are_command_sets() -> None:
    find, move = command(pdu.find_request(3)), command(pdu.move_request(4, "ODD"))
    assert (find.AffectedSOPClassUID, find.CommandField, find.MessageID) == (pdu.STUDY_ROOT_FIND, 0x0020, 3)
    assert (move.AffectedSOPClassUID, move.CommandField, move.MessageID) == (pdu.STUDY_ROOT_MOVE, 0x0021, 4)
    assert move.MoveDestination == "ODD"
    assert find.CommandDataSetType == move.CommandDataSetType == 1


def test_an_identifier_is_a_data_set() -> None:
    encoded = query.of_images("1.2.3", "1.2.34")
    read = command(encoded)
    assert read.is_little_endian
    assert not read.is_implicit_VR
    assert (read.QueryRetrieveLevel, read.StudyInstanceUID, read.SeriesInstanceUID) == (
        "IMAGE",
        "1.2.3",
        "1.2.34",
    )
    assert (read.SOPInstanceUID, read.InstanceNumber) == ("", None)
    assert list(read.keys()) == sorted(read.keys())
