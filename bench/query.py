"""A C-FIND client that costs next to nothing: the request is encoded beforehand, its answers are counted."""

import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

from bench import pdu
from bench.association import Association
from bench.inflow import PeerFailed
from bench.pdu import Context, Key

CALLING = "FINDER"
_COMMAND, _LAST = 1, 2
_NO_DATA_SET = struct.pack("<HHIH", 0, 0x800, 2, pdu.NO_DATA_SET)
"""In a response, this says that it is the final one: every pending one has an identifier."""


class Found(NamedTuple):
    """What one query gave, and the seconds from its first byte to the final response."""

    answers: int
    seconds: float


def of_study(study_instance_uid: str) -> bytes:
    """The identifier that asks for a study and what a list of studies shows of it."""
    return pdu.identifier(
        "STUDY",
        Key(0x0008, 0x0020, "DA"),
        Key(0x0008, 0x0061, "CS"),
        Key(0x0010, 0x0010, "PN"),
        Key(0x0010, 0x0020, "LO"),
        Key(0x0020, 0x000D, "UI", study_instance_uid),
    )


def of_images(study_instance_uid: str, series_instance_uid: str) -> bytes:
    """The identifier that asks for all images of a series."""
    return pdu.identifier(
        "IMAGE",
        Key(0x0008, 0x0018, "UI"),
        Key(0x0020, 0x000D, "UI", study_instance_uid),
        Key(0x0020, 0x000E, "UI", series_instance_uid),
        Key(0x0020, 0x0013, "IS"),
    )


def c_find(port: int, called: str, identifier: bytes, times: int) -> Sequence[Found]:
    """Ask the same over and over, over one association, one query at a time.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        identifier: encoded, Explicit VR Little Endian.
        times: how often.

    Raises:
        PeerFailed: the server does not answer, or not with success.
    """
    with Association(port, called, CALLING, [Context(1, pdu.STUDY_ROOT_FIND)]) as association:
        request = pdu.message(1, pdu.find_request(1), identifier, association.limit)
        return [_ask(association, request) for _ in range(times)]


def _ask(association: Association, request: bytes) -> Found:
    answers = 0
    receive, control_of = association.receive, struct.Struct(">IxB").unpack_from
    start = time.monotonic()
    association.send(request)
    while True:
        kind, body = receive()
        if kind != pdu.P_DATA_TF:
            raise PeerFailed(f"A C-FIND was answered with PDU {kind}.")
        position = 0
        while position < len(body):
            length, control = control_of(body, position)
            end = position + 4 + length
            if control == _LAST:
                answers += 1
            elif control & _COMMAND and _NO_DATA_SET in (command := bytes(body[position + 6 : end])):
                seconds = time.monotonic() - start
                if status := pdu.short(pdu.read_command(command)[pdu.STATUS]):
                    raise PeerFailed(f"A C-FIND ended with status {status:04X}H after {answers} answers.")
                return Found(answers, seconds)
            position = end
