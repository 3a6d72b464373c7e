"""PDUs to bytes and back, beside pynetdicom's, and what is refused."""

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom import pdu as theirs

from medbus.gateways.dicom.upper.pdu import (
    A_ABORT,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    MalformedPdu,
    Pdu,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    ResultContext,
    RoleSelection,
    UserInformation,
    decode,
    encode,
)

uids = st.from_regex(r"[1-2]\.(0|[1-9][0-9]{0,9})(\.[1-9][0-9]{0,8}){0,4}", fullmatch=True)
titles = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)
shorts = st.integers(0, 65535)
roles = st.builds(RoleSelection, sop_class_uid=uids, scu=st.booleans(), scp=st.booleans())
users = st.builds(
    UserInformation,
    maximum_length=st.integers(0, 2**32 - 1),
    implementation_class_uid=uids,
    implementation_version_name=titles,
    window=st.none() | st.tuples(shorts, shorts),
    roles=st.lists(roles, max_size=3).map(tuple),
    others=st.lists(
        st.tuples(st.sampled_from((0x56, 0x57, 0x58, 0x59)), st.binary(max_size=20)), max_size=2
    ).map(tuple),
)
odd = st.integers(0, 127).map(lambda number: 2 * number + 1)
proposed = st.builds(
    ProposedContext,
    context_id=odd,
    abstract_syntax=uids,
    transfer_syntaxes=st.lists(uids, max_size=3).map(tuple),
)
accepted = st.builds(ResultContext, context_id=odd, result=st.just(0), transfer_syntax=uids)
refused = st.builds(ResultContext, context_id=odd, result=st.integers(1, 4), transfer_syntax=st.just(""))
requests = st.builds(
    AssociateRequest,
    called_ae_title=titles,
    calling_ae_title=titles,
    contexts=st.lists(proposed, max_size=4, unique_by=lambda each: each.context_id).map(tuple),
    user=users,
)
accepts = st.builds(
    AssociateAccept,
    called_ae_title=titles,
    calling_ae_title=titles,
    contexts=st.lists(accepted | refused, max_size=4).map(tuple),
    user=users,
)
octets = st.integers(0, 255)
pdus: st.SearchStrategy[Pdu] = (
    requests
    | accepts
    | st.builds(AssociateReject, result=octets, source=octets, reason=octets)
    | st.just(ReleaseRequest())
    | st.just(ReleaseResponse())
    | st.builds(Abort, source=octets, reason=octets)
)

REQUEST = AssociateRequest(
    called_ae_title="MEDBUS",
    calling_ae_title="MODALITY",
    contexts=(
        ProposedContext(
            context_id=1,
            abstract_syntax="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntaxes=("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"),
        ),
    ),
    user=UserInformation(
        maximum_length=16382,
        implementation_class_uid="1.2.3",
        implementation_version_name="MEDBUS",
        window=(4, 5),
        roles=(RoleSelection(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", scu=True, scp=True),),
    ),
)


def body(pdu: Pdu) -> bytes:
    return encode(pdu)[6:]


@given(pdus)
def test_what_is_encoded_is_decoded_again(pdu: Pdu) -> None:
    data = encode(pdu)
    kind, length = struct.unpack_from(">BxI", data)
    assert length == len(data) - 6
    assert decode(kind, memoryview(data)[6:]) == pdu


@settings(max_examples=60)
@given(pdus)
def test_pynetdicom_reads_what_we_encode_and_encodes_the_same(pdu: Pdu) -> None:
    classes: dict[int, Any] = {
        A_ASSOCIATE_RQ: theirs.A_ASSOCIATE_RQ,
        A_ASSOCIATE_AC: theirs.A_ASSOCIATE_AC,
        A_ASSOCIATE_RJ: theirs.A_ASSOCIATE_RJ,
        A_RELEASE_RQ: theirs.A_RELEASE_RQ,
        A_RELEASE_RP: theirs.A_RELEASE_RP,
        A_ABORT: theirs.A_ABORT_RQ,
    }
    data = encode(pdu)
    if isinstance(pdu, AssociateRequest | AssociateAccept) and (
        pdu.user.others
        or "" in (pdu.called_ae_title, pdu.calling_ae_title, pdu.user.implementation_version_name)
    ):
        return  # it reads the others' contents too, and takes no empty names
    if isinstance(pdu, AssociateReject | Abort) and not (0 < pdu.source < 3 and pdu.reason in (1, 2)):
        return
    other = classes[data[0]]()
    other.decode(data)
    assert decode(data[0], other.encode()[6:]) == pdu


def test_an_association_request_byte_for_byte() -> None:
    data = encode(REQUEST)
    assert data[:10] == b"\x01\x00" + struct.pack(">I", len(data) - 6) + b"\x00\x01\x00\x00"
    assert data[10:42] == b"MEDBUS          MODALITY        "
    assert data[74:99] == b"\x10\x00\x00\x151.2.840.10008.3.1.1.1"


@pytest.mark.parametrize("kind", [A_ASSOCIATE_RQ, A_ASSOCIATE_AC])
@given(data=st.binary(max_size=300))
def test_garbage_is_malformed_or_an_association(kind: int, data: bytes) -> None:
    with suppress(MalformedPdu):
        decode(kind, data)


@given(pdus, st.data())
def test_a_damaged_pdu_is_malformed_or_another(pdu: Pdu, data: st.DataObject) -> None:
    encoded = bytearray(encode(pdu))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(6, len(encoded) - 1))] = data.draw(octets)
    cut = data.draw(st.integers(6, len(encoded)))
    with suppress(MalformedPdu):
        decode(encoded[0], encoded[6:cut])


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (0, b"", 1),
        (9, b"\0\0\0\0", 1),
        (A_ABORT, b"\0\0\0", 6),
        (A_RELEASE_RQ, b"\0\0\0\0\0", 6),
        (A_ASSOCIATE_RQ, bytes(67), 6),
        (A_ASSOCIATE_RQ, bytes(68) + b"\x20\0\0\x09" + b"\1\0\0\0", 6),
        (A_ASSOCIATE_RQ, bytes(68) + b"\x20\0\0\x04" + b"\2\0\0\0", 6),
        (A_ASSOCIATE_RQ, bytes(68) + 2 * (b"\x20\0\0\x04" + b"\1\0\0\0"), 6),
        (A_ASSOCIATE_RQ, bytes(68) + b"\x20\0\0\0", 6),
        (A_ASSOCIATE_RQ, bytes(68) + b"\x10\0\0\x41" + b"1" * 65, 6),
        (A_ASSOCIATE_RQ, bytes(68) + b"\x50\0\0\x06" + b"\x51\0\0\x02\0\0", 6),
        (A_ASSOCIATE_RQ, bytes(68) + b"\x50\0\0\x08" + b"\x54\0\0\x04\0\x09\0\0", 6),
        (A_ASSOCIATE_RQ, bytes(68) + 2 * b"\x50\0\0\0", 5),
    ],
)
def test_malformed(kind: int, data: bytes, reason: int) -> None:
    with pytest.raises(MalformedPdu) as raised:
        decode(kind, data)
    assert raised.value.reason == reason


def test_items_of_later_editions_are_passed_over() -> None:
    data = body(REQUEST) + b"\x99\0\0\x02??"
    assert decode(A_ASSOCIATE_RQ, data) == REQUEST


def test_what_has_no_place_in_a_field_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        encode(
            AssociateRequest(
                called_ae_title="X" * 17, calling_ae_title="", contexts=(), user=UserInformation()
            )
        )
    with pytest.raises(ValueError, match="can't be encoded"):
        encode(Abort(source=256, reason=0))
