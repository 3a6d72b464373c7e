"""PDUs to bytes and back, beside pynetdicom's, and what is refused."""

import struct
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom import pdu as theirs
from pynetdicom import pdu_primitives as primitives

from medbus.gateways.dicom.upper.pdu import (
    A_ABORT,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    APPLICATION_CONTEXT,
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
from medbus.gateways.dicom.upper.stream import LONGEST_ASSOCIATE

uids = st.from_regex(r"[1-2]\.(0|[1-9][0-9]{0,9})(\.[1-9][0-9]{0,8}){0,4}", fullmatch=True)
titles = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=1, max_size=16
)
"""As VR AE has them: without a backslash (PS3.5 6.2)."""
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


def plain(pdu: AssociateRequest | AssociateAccept) -> Pdu:
    """Without the items whose contents others look into, and we do not."""
    return replace(pdu, user=replace(pdu.user, others=()))


valid: st.SearchStrategy[Pdu] = (
    requests.map(plain)
    | accepts.map(plain)
    | st.builds(AssociateReject, result=st.integers(1, 2), source=st.integers(1, 2), reason=st.integers(1, 2))
    | st.just(ReleaseRequest())
    | st.just(ReleaseResponse())
    | st.builds(Abort, source=st.sampled_from((0, 2)), reason=st.sampled_from((0, 1, 2, 4, 5, 6)))
)
"""What says something in the Standard's terms."""

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


CLASSES: dict[int, Any] = {
    A_ASSOCIATE_RQ: theirs.A_ASSOCIATE_RQ,
    A_ASSOCIATE_AC: theirs.A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ: theirs.A_ASSOCIATE_RJ,
    A_RELEASE_RQ: theirs.A_RELEASE_RQ,
    A_RELEASE_RP: theirs.A_RELEASE_RP,
    A_ABORT: theirs.A_ABORT_RQ,
}


@given(valid)
def test_pynetdicom_reads_what_we_encode_and_encodes_the_same_bytes(pdu: Pdu) -> None:
    data = encode(pdu)
    other = CLASSES[data[0]]()
    other.decode(data)
    assert other.encode() == data


def test_we_read_what_pynetdicom_proposes() -> None:
    """Also what is kept as it is: extended negotiation and user identity (PS3.7 D.3.3.5, D.3.3.7)."""
    context = build_context("1.2.840.10008.5.1.4.1.1.2", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    context.context_id = 1
    length = primitives.MaximumLengthNotification()
    length.maximum_length_received = 16382
    implementation = primitives.ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID("1.2.3")
    window = primitives.AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 4, 5
    role = primitives.SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = UID("1.2.840.10008.5.1.4.1.1.2"), True, True
    extended = primitives.SOPClassExtendedNegotiation()
    extended.sop_class_uid = UID("1.2.840.10008.5.1.4.1.2.2.1")
    extended.service_class_application_information = b"\x01\x01"
    identity = primitives.UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"jane"
    request = primitives.A_ASSOCIATE()
    request.application_context_name = UID(APPLICATION_CONTEXT)
    request.called_ae_title, request.calling_ae_title = "MEDBUS", "MODALITY"
    request.presentation_context_definition_list = [context]
    request.user_information = [length, implementation, window, role, extended, identity]
    other = theirs.A_ASSOCIATE_RQ()
    other.from_primitive(request)
    data = other.encode()
    read = decode(A_ASSOCIATE_RQ, data[6:])
    assert read == replace(
        REQUEST,
        user=replace(
            REQUEST.user,
            implementation_version_name="",
            others=(
                (0x56, b"\x00\x1b1.2.840.10008.5.1.4.1.2.2.1\x01\x01"),
                (0x58, b"\x01\x00\x00\x04jane\x00\x00"),
            ),
        ),
    )
    assert isinstance(read, AssociateRequest)
    assert len(encode(read)) == len(data)


def test_a_refused_context_still_has_a_transfer_syntax() -> None:
    refusal = ResultContext(context_id=1, result=3, transfer_syntax="")
    accept = AssociateAccept(
        called_ae_title="A", calling_ae_title="B", contexts=(refusal,), user=UserInformation()
    )
    assert b"\x21\0\0\x19\x01\0\x03\0\x40\0\0\x111.2.840.10008.1.2" in encode(accept)
    assert decode(A_ASSOCIATE_AC, body(accept)) == accept


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


def test_the_largest_request_that_means_something_is_read() -> None:
    """128 presentation contexts with 40 transfer syntaxes each."""
    syntaxes = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(50, 90))
    contexts = tuple(
        ProposedContext(
            context_id=2 * number + 1,
            abstract_syntax=f"1.2.840.10008.5.1.4.1.1.{number}",
            transfer_syntaxes=syntaxes,
        )
        for number in range(128)
    )
    request = replace(REQUEST, contexts=contexts)
    assert decode(A_ASSOCIATE_RQ, body(request)) == request
    assert len(body(request)) < LONGEST_ASSOCIATE


@pytest.mark.parametrize(
    "items",
    [
        b"\x99\0\0\0" * 65_000,
        b"\x50\0\xff\xfc" + b"\x56\0\0\0" * 16_383,
        b"\x20\0\xff\xfc" + b"\1\0\0\0" + b"\x40\0\0\0" * 16_382,
    ],
    ids=["unknown items", "user items", "transfer syntaxes"],
)
def test_very_many_items_take_no_more_than_their_share_of_time(items: bytes) -> None:
    started = time.process_time()
    decode(A_ASSOCIATE_RQ, bytes(68) + items)
    assert time.process_time() - started < 1
