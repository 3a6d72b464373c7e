"""An application entity by pynetdicom, as others use it."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from tests.interoperability.files import Encoded
from tests.interoperability.serving import AE_TITLE, CALLING

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
"""At the Study Root."""

LITTLE = "1.2.840.10008.1.2.1"
SECONDS = 20.0
PENDING = (0xFF00, 0xFF01)


def store(
    port: int, files: Sequence[Path], length: int, tls: ssl.SSLContext | None = None
) -> list[int | None]:
    """Send files; the status of each answer.

    Args:
        port: of loopback.
        files: what to send.
        length: of the longest PDU that is taken; 0 for any.
        tls: for an encrypted association.
    """
    ae = entity(CALLING)
    images = [pydicom.dcmread(file) for file in files]
    for sop_class, syntax in sorted(
        {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in images}
    ):
        ae.add_requested_context(sop_class, syntax)
    with association(ae, port, length, tls=tls) as open_:
        return [open_.send_c_store(image).get("Status") for image in images]


def get(
    port: int, study: str, syntax: str, length: int, tls: ssl.SSLContext | None = None
) -> tuple[Any, dict[str, Encoded]]:
    """Get a study of CT or MR images; the final response, and what came.

    Args:
        port: of loopback.
        study: its UID.
        syntax: the only transfer syntax that is proposed.
        length: of the longest PDU that is taken; 0 for any.
        tls: for an encrypted association.
    """
    ae = entity(CALLING)
    ae.add_requested_context(GET, LITTLE)
    kinds = (CTImageStorage, MRImageStorage)
    for kind in kinds:
        ae.add_requested_context(kind, syntax)
    taken: dict[str, Encoded] = {}
    options: dict[str, Any] = {
        "ext_neg": [build_role(kind, scp_role=True) for kind in kinds],
        "evt_handlers": [(evt.EVT_C_STORE, _take, [taken])],
    }
    with association(ae, port, length, tls=tls, **options) as open_:
        responses = list(open_.send_c_get(of_study(study), GET))
    return responses[-1][0], taken


def move(port: int, study: str, destination: str) -> list[Any]:
    """Have a study sent elsewhere; all responses."""
    ae = entity(CALLING)
    ae.add_requested_context(MOVE, LITTLE)
    with association(ae, port) as open_:
        responses = open_.send_c_move(of_study(study), destination, MOVE)
        return [status for status, _ in responses]


def find(port: int, query: Dataset) -> list[Any]:
    """The answers to a query, which has to end with success."""
    ae = entity(CALLING)
    ae.add_requested_context(FIND, LITTLE)
    with association(ae, port) as open_:
        responses = list(open_.send_c_find(query, FIND))
    assert responses[-1][0].Status == 0
    return [answer for status, answer in responses if status.Status in PENDING]


@contextmanager
def destination(title: str, port: int, length: int) -> Iterator[dict[str, Encoded]]:
    """An entity that takes CT images; what it got.

    Args:
        title: its AE title.
        port: where it listens, on loopback.
        length: of the longest PDU that it takes; 0 for any.
    """
    ae = entity(title)
    ae.maximum_pdu_size = length
    ae.add_supported_context(CTImageStorage, LITTLE)
    taken: dict[str, Encoded] = {}
    handlers: list[Any] = [(evt.EVT_C_STORE, _take, [taken])]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield taken
    finally:
        server.shutdown()


@contextmanager
def association(
    ae: AE, port: int, length: int = 16384, *, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Association]:
    """An association with the service."""
    secured = None if tls is None else (tls, "127.0.0.1")
    open_ = ae.associate("127.0.0.1", port, ae_title=AE_TITLE, max_pdu=length, tls_args=secured, **options)
    assert open_.is_established, "the service does not accept"
    try:
        yield open_
    finally:
        open_.release()


def entity(title: str) -> AE:
    """An entity that gives up waiting after a while."""
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    return ae


def of_study(uid: str) -> Dataset:
    """The identifier that asks for a study."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = uid
    return identifier


def _take(event: Event, taken: dict[str, Encoded]) -> int:
    # A setting that holds for the whole process puts what comes into files.
    contents = event.dataset_path.read_bytes()
    meta = 132 + 12 + int.from_bytes(contents[140:144], "little")
    request: Any = event.request
    taken[str(request.AffectedSOPInstanceUID)] = (contents[meta:], str(event.context.transfer_syntax))
    return 0
