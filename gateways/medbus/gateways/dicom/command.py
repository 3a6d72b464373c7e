"""The command set of a DIMSE message: Implicit VR Little Endian, group 0000 (PS3.7 6.3.1, E.1). Pure."""

import struct
from collections.abc import Iterator
from enum import IntEnum

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Value

NO_DATA_SET = 0x0101
_DATA_SET = 0x0001
RESPONSE = 0x8000
"""Set in the Command Field of responses."""

MEDIUM_PRIORITY = 0x0000


class MalformedCommand(MedbusError):
    """Bytes that are no command set."""


class Field(IntEnum):
    """Values of Command Field (0000,0100) (PS3.7 E.1)."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_ACTION = 0x0130
    C_CANCEL = 0x0FFF


class Command(Value):
    """The elements of a command set; None or empty where there is none.

    Attributes:
        field: Command Field without the bit that tells a response.
        response: whether it is a response.
        has_data: whether a data set follows.
    """

    field: int
    response: bool = False
    has_data: bool = False
    message_id: int | None = None
    responds_to: int | None = None
    affected_class: str = ""
    requested_class: str = ""
    affected_instance: str = ""
    requested_instance: str = ""
    priority: int | None = None
    status: int | None = None
    error_comment: str = ""
    move_destination: str = ""
    event_type: int | None = None
    action_type: int | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    originator: str = ""
    originator_message_id: int | None = None

    @property
    def name(self) -> str:
        """As the Standard names the message, for example C-STORE-RQ."""
        known = self.field in Field._value2member_map_
        name = Field(self.field).name.replace("_", "-") if known else f"{self.field:04X}H"
        return f"{name}-{'RSP' if self.response else 'RQ'}"


_US = {
    0x0110: "message_id",
    0x0120: "responds_to",
    0x0700: "priority",
    0x0900: "status",
    0x1002: "event_type",
    0x1008: "action_type",
    0x1020: "remaining",
    0x1021: "completed",
    0x1022: "failed",
    0x1023: "warning",
    0x1031: "originator_message_id",
}
_UI = {
    0x0002: "affected_class",
    0x0003: "requested_class",
    0x1000: "affected_instance",
    0x1001: "requested_instance",
}
_TEXT = {0x0600: "move_destination", 0x0902: "error_comment", 0x1030: "originator"}
_ORDER = sorted([*_US, *_UI, *_TEXT, 0x0100, 0x0800])
_COMMAND_FIELD = 0x0100
_DATA_SET_TYPE = 0x0800


def decode(data: bytes | bytearray) -> Command:
    """Read a command set. Elements that are not known here are passed over.

    Raises:
        MalformedCommand: it is cut short, or has no Command Field.
    """
    values: dict[str, object] = {}
    for element, value in _elements(data):
        if element in _US:
            values[_US[element]] = _number(value)
        elif element in _UI:
            values[_UI[element]] = _text(value).rstrip("\0 ")
        elif element in _TEXT:
            values[_TEXT[element]] = _text(value).strip(" \0")
        elif element == _COMMAND_FIELD:
            number = _number(value)
            values["field"] = number & ~RESPONSE
            values["response"] = bool(number & RESPONSE)
        elif element == _DATA_SET_TYPE:
            values["has_data"] = _number(value) != NO_DATA_SET
    if "field" not in values:
        raise MalformedCommand("There is no Command Field (0000,0100).")
    return Command(**values)  # type: ignore[arg-type]


def encode(command: Command) -> bytes:
    """A command set with its group length."""
    body = bytearray()
    for element in _ORDER:
        value = _encoded(command, element)
        if value is not None:
            body += struct.pack("<HHI", 0, element, len(value)) + value
    return struct.pack("<HHII", 0, 0, 4, len(body)) + bytes(body)


def _encoded(command: Command, element: int) -> bytes | None:
    if element == _COMMAND_FIELD:
        return struct.pack("<H", command.field | (RESPONSE if command.response else 0))
    if element == _DATA_SET_TYPE:
        return struct.pack("<H", _DATA_SET if command.has_data else NO_DATA_SET)
    if element in _US:
        number = getattr(command, _US[element])
        return None if number is None else struct.pack("<H", number)
    uid = element in _UI
    text: str = getattr(command, _UI[element] if uid else _TEXT[element])
    if not text:
        return None
    value = text.encode("ascii", "replace")
    return value + (b"\0" if uid else b" ") * (len(value) % 2)


def _elements(data: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise MalformedCommand("The command set ends within an element.")
        group, element, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if group != 0:
            raise MalformedCommand(f"Group {group:04X} does not belong into a command set.")
        if position + length > len(data):
            raise MalformedCommand(f"The command set ends within (0000,{element:04X}).")
        yield element, bytes(data[position : position + length])
        position += length


def _number(value: bytes) -> int:
    if len(value) < 2:
        raise MalformedCommand("A US has less than two bytes.")
    return int.from_bytes(value[:2], "little")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
