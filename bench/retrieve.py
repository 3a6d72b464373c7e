"""Getting a study back: a C-GET client that counts and forgets, and one for C-MOVE that only waits."""

import time
from typing import NamedTuple

from bench import pdu
from bench.association import Association
from bench.inflow import PeerFailed
from bench.pdu import Context
from bench.slice import CT_IMAGE_STORAGE

CALLING = "FETCH"


class Retrieved(NamedTuple):
    """What was sent: how many images, and seconds from the request to the final response."""

    images: int
    seconds: float


def c_get(port: int, called: str, study_instance_uid: str) -> Retrieved:
    """Get a study of CT images over the requester's own association.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        study_instance_uid: what to get.

    Raises:
        PeerFailed: the server does not answer, or not with success.
    """
    contexts = [Context(1, pdu.STUDY_ROOT_GET), Context(3, CT_IMAGE_STORAGE, provider=True)]
    with Association(port, called, CALLING, contexts) as association:
        request = pdu.message(
            1, pdu.get_request(1), pdu.study_identifier(study_instance_uid), association.limit
        )
        images = 0
        command, storing = b"", dict[int, bytes]()
        start = time.monotonic()
        association.send(request)
        while True:
            kind, body = association.receive()
            if kind != pdu.P_DATA_TF:
                raise PeerFailed(f"{called} answered a C-GET with PDU {kind}.")
            for fragment in pdu.fragments(body):
                if not fragment.command:
                    if fragment.last and storing:
                        images += 1
                        response = pdu.store_response(storing)
                        association.send(pdu.message(fragment.context, response, b"", association.limit))
                    continue
                command += fragment.data
                if not fragment.last:
                    continue
                elements, command = pdu.read_command(command), b""
                storing = elements if pdu.short(elements[pdu.COMMAND_FIELD]) == pdu.C_STORE_RQ else {}
                if storing or (status := pdu.short(elements[pdu.STATUS])) in pdu.PENDING:
                    continue
                if status != 0:
                    raise PeerFailed(
                        f"{called} ended a C-GET with status {status:04X}H after {images} images."
                    )
                return Retrieved(images, time.monotonic() - start)


def c_move(port: int, called: str, study_instance_uid: str, destination: str) -> Retrieved:
    """Have a study sent to a destination.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        study_instance_uid: what to send.
        destination: AE title that the server knows.

    Raises:
        PeerFailed: the server does not answer, or not with success.
    """
    with Association(port, called, CALLING, [Context(1, pdu.STUDY_ROOT_MOVE)]) as association:
        request = pdu.message(
            1,
            pdu.move_request(1, destination),
            pdu.study_identifier(study_instance_uid),
            association.limit,
        )
        start = time.monotonic()
        association.send(request)
        while True:
            elements = association.response()
            status = pdu.short(elements[pdu.STATUS])
            if status in pdu.PENDING:
                continue
            if status != 0:
                raise PeerFailed(f"{called} ended a C-MOVE with status {status:04X}H.")
            seconds = time.monotonic() - start
            return Retrieved(pdu.short(elements[pdu.COMPLETED_SUBOPERATIONS]), seconds)
