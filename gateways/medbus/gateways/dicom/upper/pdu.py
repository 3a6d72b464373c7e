"""Protocol data units (PS3.8 9.3, Annex D; PS3.7 Annex D.3.3): bytes to values and back. Pure.

P-DATA-TF, which carries everything else, is not here: `stream` hands out its contents as they arrive.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from medbus.gateways.dicom.upper.errors import (
    INVALID_PARAMETER_VALUE,
    UNEXPECTED_PARAMETER,
    UNRECOGNIZED_PDU,
    MalformedPdu,
)
from medbus.schemas.events import Value

__all__ = [
    "A_ABORT",
    "A_ASSOCIATE_AC",
    "A_ASSOCIATE_RJ",
    "A_ASSOCIATE_RQ",
    "A_RELEASE_RP",
    "A_RELEASE_RQ",
    "P_DATA_TF",
    "Abort",
    "AssociateAccept",
    "AssociateReject",
    "AssociateRequest",
    "MalformedPdu",
    "Pdu",
    "ProposedContext",
    "ReleaseRequest",
    "ReleaseResponse",
    "ResultContext",
    "RoleSelection",
    "UserInformation",
    "decode",
    "encode",
]

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = range(1, 8)
"""PDU types (PS3.8 9.3.1)."""

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
PROTOCOL_VERSION: Final = 1
LONGEST_UID: Final = 64
_ANY_SYNTAX: Final = "1.2.840.10008.1.2"

_APPLICATION_CONTEXT, _PROPOSED, _RESULT, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAXIMUM_LENGTH, _IMPLEMENTATION_UID, _WINDOW, _ROLE, _IMPLEMENTATION_VERSION = 0x51, 0x52, 0x53, 0x54, 0x55

_HEADER: Final = struct.Struct(">BxI")
_ITEM: Final = struct.Struct(">BxH")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_FIXED: Final = 68
"""Bytes of an A-ASSOCIATE before its items."""


class ProposedContext(Value):
    """A presentation context that is proposed (PS3.8 9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class ResultContext(Value):
    """The answer to one (PS3.8 9.3.3.2); the result is one of Table 9-18."""

    context_id: int
    result: int
    transfer_syntax: str


class RoleSelection(Value):
    """The roles that the requestor of an association may have (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu: bool
    scp: bool


class UserInformation(Value):
    """What a side says of itself (PS3.8 Annex D, PS3.7 D.3.3).

    Attributes:
        maximum_length: of a P-DATA-TF's variable field that it takes, in bytes; 0: any.
        window: operations that may be under way at once, invoked and performed, 0 for any; None: not said.
        roles: in the order of the items.
        others: items that are not looked into: type and content.
    """

    maximum_length: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    window: tuple[int, int] | None = None
    roles: tuple[RoleSelection, ...] = ()
    others: tuple[tuple[int, bytes], ...] = ()


class AssociateRequest(Value):
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles are without padding."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = PROTOCOL_VERSION


class AssociateAccept(Value):
    """A-ASSOCIATE-AC (PS3.8 9.3.3). AE titles are those of the request."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ResultContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = PROTOCOL_VERSION


class AssociateReject(Value):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4, Table 9-21)."""

    result: int
    source: int
    reason: int


class ReleaseRequest(Value):
    """A-RELEASE-RQ (PS3.8 9.3.6)."""


class ReleaseResponse(Value):
    """A-RELEASE-RP (PS3.8 9.3.7)."""


class Abort(Value):
    """A-ABORT (PS3.8 9.3.8, Table 9-26)."""

    source: int
    reason: int


Pdu = AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseResponse | Abort


def encode(pdu: Pdu) -> bytes:
    """A PDU with its header.

    Raises:
        ValueError: a value of it has no place in its field.
    """
    try:
        kind, body = _body(pdu)
        return _HEADER.pack(kind, len(body)) + body
    except struct.error as error:
        raise ValueError(f"{pdu!r} can't be encoded: {error}") from error


def decode(kind: int, body: bytes | bytearray | memoryview) -> Pdu:
    """The PDU of a type in what follows its header.

    Raises:
        MalformedPdu: there is none, or none of this type.
    """
    data = bytes(body)
    if kind in (A_ASSOCIATE_RQ, A_ASSOCIATE_AC):
        return _associate(kind, data)
    if kind not in (A_ASSOCIATE_RJ, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT):
        raise MalformedPdu(f"There is no PDU of type {kind:02X}H.", UNRECOGNIZED_PDU)
    if len(data) != 4:
        raise MalformedPdu(f"A PDU of type {kind:02X}H has {len(data)} bytes, not 4.")
    if kind == A_ASSOCIATE_RJ:
        return AssociateReject(result=data[1], source=data[2], reason=data[3])
    if kind == A_ABORT:
        return Abort(source=data[2], reason=data[3])
    return ReleaseRequest() if kind == A_RELEASE_RQ else ReleaseResponse()


def _body(pdu: Pdu) -> tuple[int, bytes]:
    match pdu:
        case AssociateRequest():
            items = b"".join(_proposed(each) for each in pdu.contexts)
            return A_ASSOCIATE_RQ, _associate_body(pdu, items)
        case AssociateAccept():
            items = b"".join(_result(each) for each in pdu.contexts)
            return A_ASSOCIATE_AC, _associate_body(pdu, items)
        case AssociateReject():
            return A_ASSOCIATE_RJ, struct.pack(">xBBB", pdu.result, pdu.source, pdu.reason)
        case ReleaseRequest():
            return A_RELEASE_RQ, bytes(4)
        case ReleaseResponse():
            return A_RELEASE_RP, bytes(4)
        case Abort():
            return A_ABORT, struct.pack(">xxBB", pdu.source, pdu.reason)


def _associate_body(pdu: AssociateRequest | AssociateAccept, contexts: bytes) -> bytes:
    return b"".join(
        (
            struct.pack(">Hxx", pdu.protocol_version),
            _ae_title(pdu.called_ae_title),
            _ae_title(pdu.calling_ae_title),
            bytes(32),
            _text_item(_APPLICATION_CONTEXT, pdu.application_context),
            contexts,
            _item(_USER, _user_items(pdu.user)),
        )
    )


def _proposed(context: ProposedContext) -> bytes:
    syntaxes = b"".join(_text_item(_TRANSFER, each) for each in context.transfer_syntaxes)
    abstract = _text_item(_ABSTRACT, context.abstract_syntax)
    return _item(_PROPOSED, struct.pack(">Bxxx", context.context_id) + abstract + syntaxes)


def _result(context: ResultContext) -> bytes:
    head = struct.pack(">BxBx", context.context_id, context.result)
    # The item has to be there. With any other result than acceptance it says nothing (PS3.8 9.3.3.2), but
    # peers may stumble over an empty UID.
    syntax = context.transfer_syntax or (_ANY_SYNTAX if context.result else "")
    return _item(_RESULT, head + _text_item(_TRANSFER, syntax))


def _user_items(user: UserInformation) -> bytes:
    items = [_item(_MAXIMUM_LENGTH, _U32.pack(user.maximum_length))]
    if user.implementation_class_uid:
        items.append(_text_item(_IMPLEMENTATION_UID, user.implementation_class_uid))
    if user.window is not None:
        items.append(_item(_WINDOW, struct.pack(">HH", *user.window)))
    for role in user.roles:
        uid = role.sop_class_uid.encode("ascii")
        items.append(_item(_ROLE, _U16.pack(len(uid)) + uid + bytes((role.scu, role.scp))))
    if user.implementation_version_name:
        items.append(_text_item(_IMPLEMENTATION_VERSION, user.implementation_version_name))
    items.extend(_item(kind, content) for kind, content in user.others)
    return b"".join(items)


def _item(kind: int, content: bytes) -> bytes:
    return _ITEM.pack(kind, len(content)) + content


def _text_item(kind: int, text: str) -> bytes:
    return _item(kind, text.encode("ascii"))


def _ae_title(title: str) -> bytes:
    encoded = title.encode("ascii")
    if len(encoded) > 16:
        raise ValueError(f"The AE title {title!r} is longer than 16 characters")
    return encoded.ljust(16)


def _associate(kind: int, data: bytes) -> AssociateRequest | AssociateAccept:
    if len(data) < _FIXED:
        raise MalformedPdu("An A-ASSOCIATE ends before its items.")
    application_context, user = "", None
    proposed: list[ProposedContext] = []
    results: list[ResultContext] = []
    for item, content in _items(data, _FIXED):
        if item == _APPLICATION_CONTEXT:
            application_context = _uid(content)
        elif item == _PROPOSED and kind == A_ASSOCIATE_RQ:
            proposed.append(_proposed_context(content))
        elif item == _RESULT and kind == A_ASSOCIATE_AC:
            results.append(_result_context(content))
        elif item == _USER:
            if user is not None:
                raise MalformedPdu("User information comes twice.", UNEXPECTED_PARAMETER)
            user = _user_information(content)
        # Items of other types are passed over (PS3.8 9.3.1).
    version = _U16.unpack_from(data)[0]
    called, calling = _title(data[4:20]), _title(data[20:36])
    user = user or UserInformation()
    if kind == A_ASSOCIATE_RQ:
        if len({each.context_id for each in proposed}) < len(proposed):
            raise MalformedPdu("Two presentation contexts have one id.")
        return AssociateRequest(
            called_ae_title=called,
            calling_ae_title=calling,
            contexts=tuple(proposed),
            user=user,
            application_context=application_context,
            protocol_version=version,
        )
    return AssociateAccept(
        called_ae_title=called,
        calling_ae_title=calling,
        contexts=tuple(results),
        user=user,
        application_context=application_context,
        protocol_version=version,
    )


def _proposed_context(content: bytes) -> ProposedContext:
    abstract, syntaxes = "", []
    for item, value in _items(content, 4):
        if item == _ABSTRACT:
            abstract = _uid(value)
        elif item == _TRANSFER:
            syntaxes.append(_uid(value))
    context_id = content[0]
    if context_id % 2 == 0:
        raise MalformedPdu(f"A presentation context has the even id {context_id}.")
    return ProposedContext(context_id=context_id, abstract_syntax=abstract, transfer_syntaxes=tuple(syntaxes))


def _result_context(content: bytes) -> ResultContext:
    syntax = ""
    result = content[2] if len(content) > 2 else 0
    for item, value in _items(content, 4):
        # With any other result than acceptance the transfer syntax says nothing (PS3.8 9.3.3.2).
        if item == _TRANSFER and result == 0:
            syntax = _uid(value)
    return ResultContext(context_id=content[0], result=result, transfer_syntax=syntax)


def _user_information(content: bytes) -> UserInformation:
    known: dict[str, object] = {}
    roles: list[RoleSelection] = []
    others: list[tuple[int, bytes]] = []
    for item, value in _items(content, 0):
        if item == _ROLE:
            roles.append(_role(value))
        elif item in _USER_ITEMS:
            name, read = _USER_ITEMS[item]
            known[name] = read(value)
        else:
            others.append((item, value))
    return UserInformation(roles=tuple(roles), others=tuple(others), **known)  # type: ignore[arg-type]


def _role(value: bytes) -> RoleSelection:
    length = _U16.unpack_from(value)[0] if len(value) >= 2 else 0
    if len(value) != length + 4:
        raise MalformedPdu("The lengths of a role selection do not add up.")
    return RoleSelection(sop_class_uid=_uid(value[2:-2]), scu=value[-2] == 1, scp=value[-1] == 1)


def _length(value: bytes) -> int:
    if len(value) != 4:
        raise MalformedPdu("A maximum length does not have 4 bytes.")
    return int(_U32.unpack(value)[0])


def _window(value: bytes) -> tuple[int, int]:
    if len(value) != 4:
        raise MalformedPdu("An asynchronous operations window does not have 4 bytes.")
    invoked, performed = struct.unpack(">HH", value)
    return invoked, performed


def _uid(value: bytes) -> str:
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    if len(text) > LONGEST_UID or not text.isascii() or not text.isprintable():
        raise MalformedPdu(f"{text[:80]!r} is no UID.")
    return text


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def _title(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


_USER_ITEMS: Final[Mapping[int, tuple[str, Callable[[bytes], object]]]] = {
    _MAXIMUM_LENGTH: ("maximum_length", _length),
    _IMPLEMENTATION_UID: ("implementation_class_uid", _uid),
    _IMPLEMENTATION_VERSION: ("implementation_version_name", _text),
    _WINDOW: ("window", _window),
}


def _items(data: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    if len(data) < position:
        raise MalformedPdu("An item ends before its own items.")
    while position < len(data):
        if position + _ITEM.size > len(data):
            raise MalformedPdu("An item ends within its header.", INVALID_PARAMETER_VALUE)
        kind, length = _ITEM.unpack_from(data, position)
        position += _ITEM.size
        if position + length > len(data):
            raise MalformedPdu(f"An item of type {kind:02X}H is longer than what holds it.")
        yield kind, data[position : position + length]
        position += length
