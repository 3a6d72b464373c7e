"""Just enough of the upper layer (PS3.8 section 9.3) and of DIMSE (PS3.7 section 9.3) for a client; pure."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS = b"2.25.92735182316450273610348572019364785120"
IMPLEMENTATION_VERSION = b"MEDBUS-BENCH"
IMPLICIT_VR = "1.2.840.10008.1.2"
EXPLICIT_VR = "1.2.840.10008.1.2.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, RESPONSE = 0x0001, 0x0010, 0x0020, 0x0021, 0x8000
COMMAND_FIELD, MESSAGE_ID, STATUS, AFFECTED_SOP_CLASS, AFFECTED_SOP_INSTANCE = (
    0x100,
    0x110,
    0x900,
    0x02,
    0x1000,
)
COMPLETED_SUBOPERATIONS = 0x1021
NO_DATA_SET = 0x0101
PENDING = (0xFF00, 0xFF01)


class Context(NamedTuple):
    """A presentation context that is proposed; `provider` asks for the SCP role as well (C-GET)."""

    number: int
    abstract_syntax: str
    transfer_syntax: str = EXPLICIT_VR
    provider: bool = False


class Fragment(NamedTuple):
    """A presentation data value."""

    context: int
    command: bool
    last: bool
    data: memoryview


def associate_request(called: str, calling: str, contexts: Sequence[Context], max_length: int) -> bytes:
    """A-ASSOCIATE-RQ.

    Args:
        called, calling: AE titles.
        contexts: what is proposed.
        max_length: of the P-DATA-TF PDUs that the requester takes.
    """
    proposed = b"".join(
        _item(
            0x20,
            struct.pack(">BBBB", context.number, 0, 0, 0)
            + _item(0x30, context.abstract_syntax.encode())
            + _item(0x40, context.transfer_syntax.encode()),
        )
        for context in contexts
    )
    roles = b"".join(
        _item(0x54, struct.pack(">H", len(uid)) + uid + b"\x01\x01")
        for context in contexts
        if context.provider and (uid := context.abstract_syntax.encode())
    )
    user = (
        _item(0x51, struct.pack(">I", max_length))
        + _item(0x52, IMPLEMENTATION_CLASS)
        + roles
        + _item(0x55, IMPLEMENTATION_VERSION)
    )
    body = (
        struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
        + _item(0x10, APPLICATION_CONTEXT.encode())
        + proposed
        + _item(0x50, user)
    )
    return pdu(ASSOCIATE_RQ, body)


def associate_accept(request: bytes, max_length: int) -> bytes:
    """A-ASSOCIATE-AC: every context is accepted, in Explicit VR Little Endian where it is offered.

    Args:
        request: body of the A-ASSOCIATE-RQ.
        max_length: of the P-DATA-TF PDUs that the acceptor takes.
    """
    results = b""
    for kind, item in _items(request[68:]):
        if kind == 0x20:
            offered = [content for inner, content in _items(item[4:]) if inner == 0x40]
            explicit = EXPLICIT_VR.encode()
            chosen = explicit if explicit in offered else offered[0]
            results += _item(0x21, struct.pack(">BBBB", item[0], 0, 0, 0) + _item(0x40, chosen))
    user = (
        _item(0x51, struct.pack(">I", max_length))
        + _item(0x52, IMPLEMENTATION_CLASS)
        + _item(0x55, IMPLEMENTATION_VERSION)
    )
    body = (
        struct.pack(">HH64s", 1, 0, request[4:68])
        + _item(0x10, APPLICATION_CONTEXT.encode())
        + results
        + _item(0x50, user)
    )
    return pdu(ASSOCIATE_AC, body)


def accepted(body: bytes) -> tuple[int, set[int]]:
    """What an A-ASSOCIATE-AC says: length of the longest P-DATA-TF (0: any), and the accepted contexts."""
    longest, contexts = 0, set[int]()
    for kind, item in _items(body[68:]):
        if kind == 0x21 and item[2] == 0:
            contexts.add(item[0])
        elif kind == 0x50:
            for inner, content in _items(item):
                if inner == 0x51:
                    longest = struct.unpack(">I", content)[0]
    return longest, contexts


def pdu(kind: int, body: bytes) -> bytes:
    """Any PDU."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def release_request() -> bytes:
    """A-RELEASE-RQ."""
    return pdu(RELEASE_RQ, bytes(4))


def message(context: int, command: bytes, data: bytes, limit: int) -> bytes:
    """A whole DIMSE message as P-DATA-TF PDUs.

    Args:
        context: presentation context.
        command: encoded command set.
        data: encoded data set; empty if there is none.
        limit: length of the longest PDU that the peer takes, 0 for any.
    """
    parts = [_p_data(context, command, control=0b11)]
    step = (limit or len(data) + 6) - 6
    parts += [
        _p_data(context, data[start : start + step], control=0b10 if start + step >= len(data) else 0)
        for start in range(0, len(data), step)
    ]
    return b"".join(parts)


def fragments(body: memoryview) -> Iterator[Fragment]:
    """What is in a P-DATA-TF."""
    start = 0
    while start < len(body):
        length, context, control = struct.unpack_from(">IBB", body, start)
        yield Fragment(context, bool(control & 1), bool(control & 2), body[start + 6 : start + 4 + length])
        start += 4 + length


def command_set(elements: Mapping[int, str | int]) -> bytes:
    """A command set (PS3.7 section 6.3.1): element number of group 0000 to a UID or a 16-bit number."""
    body = b""
    for element, value in sorted(elements.items()):
        content = even(value.encode()) if isinstance(value, str) else struct.pack("<H", value)
        body += struct.pack("<HHI", 0, element, len(content)) + content
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def read_command(encoded: bytes | memoryview) -> dict[int, bytes]:
    """The values of a command set by element number."""
    found: dict[int, bytes] = {}
    start = 0
    while start < len(encoded):
        _, element, length = struct.unpack_from("<HHI", encoded, start)
        found[element] = bytes(encoded[start + 8 : start + 8 + length])
        start += 8 + length
    return found


def store_request(number: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 section 9.3.1.1)."""
    return command_set(
        {
            AFFECTED_SOP_CLASS: sop_class_uid,
            COMMAND_FIELD: C_STORE_RQ,
            MESSAGE_ID: number,
            0x700: 0,
            0x800: 1,
            AFFECTED_SOP_INSTANCE: sop_instance_uid,
        }
    )


def store_response(request: Mapping[int, bytes]) -> bytes:
    """The command set of a C-STORE-RSP with success (PS3.7 section 9.3.1.2)."""
    return command_set(
        {
            AFFECTED_SOP_CLASS: uid(request[AFFECTED_SOP_CLASS]),
            COMMAND_FIELD: C_STORE_RQ | RESPONSE,
            0x120: short(request[MESSAGE_ID]),
            0x800: NO_DATA_SET,
            STATUS: 0,
            AFFECTED_SOP_INSTANCE: uid(request[AFFECTED_SOP_INSTANCE]),
        }
    )


def get_request(number: int) -> bytes:
    """The command set of a C-GET-RQ at the Study Root (PS3.7 section 9.3.3.1)."""
    return command_set(_query(STUDY_ROOT_GET, C_GET_RQ, number))


def move_request(number: int, destination: str) -> bytes:
    """The command set of a C-MOVE-RQ at the Study Root to an AE title (PS3.7 section 9.3.4.1)."""
    title = destination + " " * (len(destination) % 2)
    return command_set({**_query(STUDY_ROOT_MOVE, C_MOVE_RQ, number), 0x600: title})


def find_request(number: int) -> bytes:
    """The command set of a C-FIND-RQ at the Study Root (PS3.7 section 9.3.2.1)."""
    return command_set(_query(STUDY_ROOT_FIND, C_FIND_RQ, number))


def _query(sop_class_uid: str, field: int, number: int) -> dict[int, str | int]:
    return {AFFECTED_SOP_CLASS: sop_class_uid, COMMAND_FIELD: field, MESSAGE_ID: number, 0x700: 0, 0x800: 1}


class Key(NamedTuple):
    """An element of an identifier (PS3.4 section C.2.2.2); an empty value asks for what there is."""

    group: int
    element: int
    vr: str
    value: str = ""


def identifier(level: str, *keys: Key) -> bytes:
    """An identifier at a query/retrieve level, Explicit VR Little Endian; its keys in ascending order."""
    encoded = b""
    for key in sorted([Key(0x0008, 0x0052, "CS", level), *keys]):
        value = key.value.encode()
        value += (b"\0" if key.vr == "UI" else b" ") * (len(value) % 2)
        encoded += struct.pack("<HH2sH", key.group, key.element, key.vr.encode(), len(value)) + value
    return encoded


def study_identifier(study_instance_uid: str) -> bytes:
    """The identifier that asks for a whole study (PS3.4 section C.6.2.1)."""
    return identifier("STUDY", Key(0x0020, 0x000D, "UI", study_instance_uid))


def short(value: bytes) -> int:
    """A 16-bit number of a command set."""
    return int(struct.unpack("<H", value)[0])


def uid(value: bytes) -> str:
    """A UID of a command set."""
    return value.rstrip(b"\0").decode()


def even(value: bytes) -> bytes:
    """A UID at even length (PS3.5 section 9.1)."""
    return value + b"\0" * (len(value) % 2)


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(content):
        kind, length = struct.unpack_from(">BxH", content, start)
        yield kind, content[start + 4 : start + 4 + length]
        start += 4 + length


def _p_data(context: int, fragment: bytes, control: int) -> bytes:
    length = len(fragment)
    return struct.pack(">BBIIBB", P_DATA_TF, 0, length + 6, length + 2, context, control) + fragment
