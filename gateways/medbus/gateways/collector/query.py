"""What a source has, by C-FIND at the levels of study, series and image (PS3.4 C.4.1, hierarchical)."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from medbus.gateways.collector.archive import Group, Offered
from medbus.gateways.collector.errors import SourceFailed
from medbus.gateways.collector.thread import in_thread
from medbus.gateways.dicom.client.finder import STUDY_ROOT_FIND, ask
from medbus.gateways.dicom.client.peer import Peer, PeerRefused
from medbus.gateways.dicom.outgoing import Unreachable
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.values import is_uid
from medbus.projections.images.query import Level

log = logging.getLogger(__name__)


class Query:
    """Asks under one association.

    Args:
        peer: the source.
        requester: the association.
        study_days: only studies of so many days back; None for all.
    """

    def __init__(self, peer: Peer, requester: Requester, study_days: int | None) -> None:
        self._peer = peer
        self._requester = requester
        self._study_days = study_days

    async def studies(self) -> Sequence[Group]:
        keys = {
            "StudyDate": since(self._study_days),
            "StudyInstanceUID": "",
            "NumberOfStudyRelatedInstances": "",
        }
        answers = await self._find(Level.STUDY, keys)
        return _groups(answers, "StudyInstanceUID", "NumberOfStudyRelatedInstances")

    async def series(self, study: Group) -> Sequence[Group]:
        keys = {
            "StudyInstanceUID": study.uid,
            "SeriesInstanceUID": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        answers = await self._find(Level.SERIES, keys)
        return _groups(answers, "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")

    async def images(self, study: Group, series: Group) -> Sequence[Offered]:
        keys = {
            "StudyInstanceUID": study.uid,
            "SeriesInstanceUID": series.uid,
            "SOPInstanceUID": "",
            "SOPClassUID": "",
            "AvailableTransferSyntaxUID": "",
        }
        answers = await self._find(Level.IMAGE, keys)
        return [
            Offered(
                study.uid,
                series.uid,
                each.get("SOPInstanceUID", ""),
                each.get("SOPClassUID", ""),
                tuple(filter(is_uid, each.get("AvailableTransferSyntaxUID", "").split("\\"))),
            )
            for each in answers
        ]

    async def _find(self, level: Level, keys: Mapping[str, str]) -> list[dict[str, str]]:
        try:
            return await in_thread(partial(ask, self._requester, STUDY_ROOT_FIND, level, keys))
        except PeerRefused as error:
            said = error.message.removeprefix("The peer answered ")
            raise SourceFailed(
                f"{self._peer.ae_title} answered a C-FIND at the {level.value} level with {said}",
                "The source must answer at the levels STUDY, SERIES and IMAGE of the Study Root. "
                "If it can't, collect by DICOMweb or from a folder, or let it send by C-STORE.",
            ) from error
        except Unreachable as error:
            raise SourceFailed(
                f"{self._peer.ae_title} at {self._peer.host}:{self._peer.port} {error} "
                f"when it was asked at the {level.value} level.",
                "Look into its log.",
            ) from error
        except Exception as error:  # pydicom raises whatever it meets in what the source answers
            raise SourceFailed(
                f"An answer of {self._peer.ae_title} to a C-FIND can't be read: {error}."
            ) from error


def since(days: int | None) -> str:
    """A date range for a query (PS3.4 C.2.2.2.5); empty for all."""
    return "" if days is None else f"{datetime.now(UTC) - timedelta(days=days):%Y%m%d}-"


def _groups(answers: Sequence[Mapping[str, str]], uid: str, count: str) -> list[Group]:
    found = [Group(each.get(uid, ""), number(each.get(count, ""))) for each in answers]
    usable = [each for each in found if is_uid(each.uid)]
    if len(usable) < len(found):
        log.warning("%d answers with an invalid %s are passed over", len(found) - len(usable), uid)
    return usable


def number(text: str) -> int | None:
    """A count, where a source says it."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None
