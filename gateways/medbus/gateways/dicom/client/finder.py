"""Searches with C-FIND."""

import asyncio
from collections.abc import Mapping
from io import BytesIO

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.client.peer import Peer, PeerRefused
from medbus.gateways.dicom.encoding import IMPLICIT_VR_LITTLE_ENDIAN
from medbus.gateways.dicom.outgoing import Unreachable
from medbus.gateways.dicom.presentation import QUERY_RETRIEVE, Operation, Root
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.status import Code, is_pending
from medbus.projections.images.query import Level
from medbus.schemas.errors import MedbusError

STUDY_ROOT_FIND = next(u for u, v in QUERY_RETRIEVE.items() if v == (Root.STUDY, Operation.FIND))
PATIENT_ROOT_FIND = next(u for u, v in QUERY_RETRIEVE.items() if v == (Root.PATIENT, Operation.FIND))
SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN,)


async def find(peer: Peer, level: Level, keys: Mapping[str, str]) -> list[dict[str, str]]:
    """Search.

    Args:
        peer: where.
        level: what the answers are about.
        keys: values to match by DICOM keyword, as DICOM writes them (`DOE*`, `20240101-`); an empty one is
            only to be answered.

    Returns:
        Values by keyword; several values are separated by a backslash.

    Raises:
        PeerUnreachable: there is no association with the peer.
        PeerRefused: it answered with a failure.
        MedbusError: a keyword is unknown.
    """
    sop_class = PATIENT_ROOT_FIND if level is Level.PATIENT else STUDY_ROOT_FIND

    def work() -> list[dict[str, str]]:
        try:
            with peer.requester([(sop_class, SYNTAXES)]) as requester:
                return ask(requester, sop_class, level, keys)
        except Unreachable as error:
            raise peer.unreachable(error) from error

    return await asyncio.to_thread(work)


def ask(requester: Requester, sop_class: str, level: Level, keys: Mapping[str, str]) -> list[dict[str, str]]:
    """Search under an association that stands. Blocks.

    Raises:
        Unreachable: the peer is gone.
        PeerRefused, MedbusError: as `find`.
    """
    found: list[dict[str, str]] = []
    for outcome, data in requester.find(sop_class, keys_of(level, keys)):
        if is_pending(outcome.code):
            found.append(_texts(data))
        elif outcome.code != Code.SUCCESS:
            raise PeerRefused(outcome)
    return found


def keys_of(level: Level, keys: Mapping[str, str]) -> bytes:
    """An encoded identifier, Implicit VR Little Endian.

    Raises:
        MedbusError: a keyword is unknown.
    """
    dataset = Dataset()
    if not all(value.isascii() for value in keys.values()):
        dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.QueryRetrieveLevel = level.value
    for keyword, value in keys.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise MedbusError(f"{keyword} is no DICOM keyword.", "See PS3.6, for example PatientName.")
        vr = dictionary_VR(tag)
        dataset.add_new(tag, vr, (int(value) if value else None) if vr == "US" else value)
    return identifier.encode(dataset, IMPLICIT_VR_LITTLE_ENDIAN)


def _texts(data: bytes) -> dict[str, str]:
    dataset = read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True)
    return {keyword_for_tag(element.tag): _text(element.value) for element in dataset if element.VR != "SQ"}


def _text(value: object) -> str:
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)
