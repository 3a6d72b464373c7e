"""Fetches images with C-GET and writes them as files, exactly as they come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medbus.gateways.dicom import part10
from medbus.gateways.dicom.client.finder import STUDY_ROOT_FIND, SYNTAXES, ask, keys_of
from medbus.gateways.dicom.client.peer import Peer, Work
from medbus.gateways.dicom.command import Field
from medbus.gateways.dicom.dimse import outcome_of
from medbus.gateways.dicom.outgoing import CONTEXTS_PER_ASSOCIATION, Unreachable
from medbus.gateways.dicom.presentation import QUERY_RETRIEVE, UNCOMPRESSED, Operation, Root
from medbus.gateways.dicom.pynetdicom.inflow import CutShort
from medbus.gateways.dicom.pynetdicom.messages import Message
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, is_pending
from medbus.gateways.dicom.values import is_uid
from medbus.projections.images.query import Level
from medbus.schemas.errors import MedbusError

STUDY_ROOT_GET = next(u for u, v in QUERY_RETRIEVE.items() if v == (Root.STUDY, Operation.GET))

_UIDS_PER_REQUEST = 500
"""How many instances are asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image that the peer has."""

    study_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of an image.

    Attributes:
        sop_instance_uid: which.
        path: the file; None if it did not come.
        size: bytes of the data set.
        transfer_syntax_uid: the one that it came in.
        error: why it did not come.
        total: how many images there are in all.
    """

    sop_instance_uid: str
    path: Path | None = None
    size: int = 0
    transfer_syntax_uid: str = ""
    error: str = ""
    total: int = 0


async def fetch(
    peer: Peer,
    folder: Path,
    *,
    patient_id: str = "",
    study_instance_uid: str = "",
    series_instance_uid: str = "",
    sop_instance_uid: str = "",
    progress: Callable[[Fetched], None] | None = None,
) -> list[Fetched]:
    """Fetch the images of a patient, a study, a series, or one image, each in the transfer syntax it is in.

    The peer must answer queries at the image level whatever keys they have, as this service does.

    Args:
        peer: from whom.
        folder: where the files go, each named by its SOP Instance UID; made if need be.
        patient_id, study_instance_uid, series_instance_uid, sop_instance_uid: which; at least one.
        progress: called after each image.

    Returns:
        What became of each image that the peer has.

    Raises:
        PeerUnreachable: there is no association with the peer.
        PeerRefused: it answered a query with a failure.
        MedbusError: nothing says which images.
    """
    keys = {
        "PatientID": patient_id,
        "StudyInstanceUID": study_instance_uid,
        "SeriesInstanceUID": series_instance_uid,
        "SOPInstanceUID": sop_instance_uid,
    }
    if not any(keys.values()):
        raise MedbusError("Nothing says which images to fetch.", "Give a patient, study, series or image.")
    work = Work(progress)
    return await work.run(lambda: _fetch(peer, folder, keys, work))


def _fetch(peer: Peer, folder: Path, keys: dict[str, str], work: Work[Fetched]) -> list[Fetched]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with peer.requester([(STUDY_ROOT_FIND, SYNTAXES)]) as requester:
            asked = {**keys, "SOPClassUID": "", "AvailableTransferSyntaxUID": ""}
            wanted = [_wanted(each) for each in ask(requester, STUDY_ROOT_FIND, Level.IMAGE, asked)]
        fetching = _Fetching(peer, folder, len(wanted), work)
        for contexts, images in _batches(wanted):
            fetching.get(contexts, images)
    except Unreachable as error:
        raise peer.unreachable(error) from error
    return fetching.results(wanted)


def _wanted(answer: dict[str, str]) -> Wanted:
    syntaxes = tuple(each for each in answer.get("AvailableTransferSyntaxUID", "").split("\\") if each)
    return Wanted(
        study_instance_uid=answer["StudyInstanceUID"],
        sop_instance_uid=answer["SOPInstanceUID"],
        sop_class_uid=answer["SOPClassUID"],
        transfer_syntaxes=syntaxes or UNCOMPRESSED,
    )


Kinds = dict[tuple[str, str], None]


def _batches(wanted: Sequence[Wanted]) -> list[tuple[Kinds, list[Wanted]]]:
    """Images that fit into one association each, with their SOP classes and transfer syntaxes."""
    found: list[tuple[Kinds, list[Wanted]]] = []
    for image in wanted:
        kinds = {(image.sop_class_uid, syntax): None for syntax in image.transfer_syntaxes}
        for known, batch in found:
            if len(known | kinds) < CONTEXTS_PER_ASSOCIATION:  # one is for the C-GET itself
                known.update(kinds)
                batch.append(image)
                break
        else:
            found.append((kinds, [image]))
    return found


class _Fetching:
    """One call of `fetch` under way."""

    def __init__(self, peer: Peer, folder: Path, total: int, work: Work[Fetched]) -> None:
        self._peer = peer
        self._folder = folder
        self._total = total
        self._work = work
        self._done: dict[str, Fetched] = {}
        self._said = "it did not come"

    def get(self, kinds: Kinds, images: Sequence[Wanted]) -> None:
        """Fetch images under one association. Raises Unreachable."""
        contexts = [(STUDY_ROOT_GET, SYNTAXES), *((uid, [syntax]) for uid, syntax in kinds)]
        studies: dict[str, list[str]] = {}
        for image in images:
            studies.setdefault(image.study_instance_uid, []).append(image.sop_instance_uid)
        receiving = sorted({uid for uid, _ in kinds})
        with self._peer.requester(contexts, receiving=receiving) as requester:
            for study, uids in studies.items():
                for start in range(0, len(uids), _UIDS_PER_REQUEST):
                    if self._work.stopped:
                        return
                    self._get(requester, study, uids[start : start + _UIDS_PER_REQUEST])

    def results(self, wanted: Sequence[Wanted]) -> list[Fetched]:
        """What became of each image."""
        return [
            self._done.get(image.sop_instance_uid)
            or Fetched(sop_instance_uid=image.sop_instance_uid, error=self._said, total=self._total)
            for image in wanted
        ]

    def _get(self, requester: Requester, study: str, uids: Sequence[str]) -> None:
        keys = {"StudyInstanceUID": study, "SOPInstanceUID": "\\".join(uids)}
        for message in requester.get(STUDY_ROOT_GET, keys_of(Level.IMAGE, keys)):
            if message.command.field == Field.C_STORE:
                requester.answer(message, self._take(requester, message))
            elif not is_pending(message.command.status) and message.command.status != Code.SUCCESS:
                outcome = outcome_of(message.command)
                self._said = f"the peer answered {outcome.code:04X}H {outcome.comment}".rstrip()

    def _take(self, requester: Requester, message: Message) -> Outcome:
        """Write an image to its file; one that is only half there never has the file's name."""
        uid = message.command.affected_instance
        if not is_uid(uid):
            return Outcome.refused(Code.CANNOT_UNDERSTAND, "SOP Instance UID is no UID")
        syntax = requester.transfer_syntax(message.context_id)
        path = self._folder / f"{uid}.dcm"
        draft = path.with_suffix(".part")
        try:
            with draft.open("wb") as file:
                head = part10.preamble(
                    sop_class_uid=message.command.affected_class,
                    sop_instance_uid=uid,
                    transfer_syntax_uid=syntax,
                )
                file.write(head)
                size = sum(file.write(chunk) for chunk in message.data)
            draft.replace(path)
        except CutShort as error:
            draft.unlink(missing_ok=True)
            raise Unreachable("left in the middle of an image") from error
        except OSError as error:
            draft.unlink(missing_ok=True)
            self._said = f"{path} can't be written: {error}"
            return Outcome.refused(Code.OUT_OF_RESOURCES, str(error))
        fetched = Fetched(
            sop_instance_uid=uid, path=path, size=size, transfer_syntax_uid=syntax, total=self._total
        )
        self._done[uid] = fetched
        self._work.tell(fetched)
        return SUCCESS
