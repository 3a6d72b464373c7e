"""Getting a study back: a C-GET client that counts and forgets, and C-MOVE to a storescp that forgets."""

import os
import subprocess
import time
from typing import NamedTuple

from bench import pdu
from bench.association import Association, PeerFailed
from bench.blast import RUN_SECONDS
from bench.pdu import Context
from bench.process import NODELAY, dcmtk
from bench.slice import CT_IMAGE_STORAGE

CALLING = "FETCH"


class Retrieved(NamedTuple):
    """What came: images, bytes with their commands, and seconds from the request to the final response."""

    images: int
    size: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds


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
        images = size = 0
        command, storing = b"", dict[int, bytes]()
        start = time.monotonic()
        association.send(request)
        while True:
            kind, body = association.receive()
            if kind != pdu.P_DATA_TF:
                raise PeerFailed(f"{called} answered a C-GET with PDU {kind}.")
            size += len(body)
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
                return Retrieved(images, size, time.monotonic() - start)


def c_move(port: int, called: str, study_instance_uid: str, destination: str) -> float:
    """Have a study sent to a destination; returns the seconds that it took, the start of movescu included.

    Raises:
        PeerFailed: it was not sent as a whole.
    """
    program = dcmtk("movescu") or "movescu"
    start = time.monotonic()
    done = subprocess.run(
        [
            *(program, "-S", "-aet", CALLING, "-aec", called, "-aem", destination),
            *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_instance_uid}"),
            *("127.0.0.1", str(port)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **NODELAY},
        timeout=RUN_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise PeerFailed(f"movescu failed: {done.stderr.decode(errors='replace')[-300:]}")
    return time.monotonic() - start
