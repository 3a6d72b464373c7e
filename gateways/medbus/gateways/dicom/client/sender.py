"""Sends files with C-STORE, each in the transfer syntax that it is in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medbus.gateways.dicom.client.files import DicomFile
from medbus.gateways.dicom.client.peer import Peer, Work
from medbus.gateways.dicom.outgoing import CONTEXTS_PER_ASSOCIATION, Outgoing, Unreachable
from medbus.gateways.dicom.status import Code, Outcome, is_warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a file.

    Attributes:
        file: the file.
        outcome: the peer's answer; None if there was none.
        error: why there was none; empty if there was one.
    """

    file: DicomFile
    outcome: Outcome | None = None
    error: str = ""

    @property
    def stored(self) -> bool:
        """Whether the peer has it."""
        return self.outcome is not None and (
            self.outcome.code == Code.SUCCESS or is_warning(self.outcome.code)
        )


async def send(
    files: Sequence[DicomFile], peer: Peer, *, progress: Callable[[Sent], None] | None = None
) -> list[Sent]:
    """Send files, one after the other; one association for up to 128 kinds of them.

    Args:
        files: what to send.
        peer: where to.
        progress: called after each file.

    Returns:
        What became of each, in the order in which they were sent.

    Raises:
        PeerUnreachable: there is no association with the peer at all.
    """
    work = Work(progress)
    return await work.run(lambda: _send(files, peer, work))


def _send(files: Sequence[DicomFile], peer: Peer, work: Work[Sent]) -> list[Sent]:
    done: list[Sent] = []

    def note(sent: Sent) -> None:
        done.append(sent)
        work.tell(sent)

    for contexts, batch in _batches(files):
        position = 0
        try:
            with peer.requester([(uid, [syntax]) for uid, syntax in contexts]) as requester:
                for file in batch:
                    if work.stopped:
                        return done
                    note(Sent(file=file, outcome=requester.store(_outgoing(file))))
                    position += 1
        except Unreachable as error:
            if not done:
                raise peer.unreachable(error) from error
            for file in batch[position:]:
                note(Sent(file=file, error=str(error)))
    return done


def _outgoing(file: DicomFile) -> Outgoing:
    return Outgoing(
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        transfer_syntax_uid=file.transfer_syntax_uid,
        size=file.size,
        content=file.chunks,
    )


Kinds = dict[tuple[str, str], None]


def _batches(files: Sequence[DicomFile]) -> list[tuple[Kinds, list[DicomFile]]]:
    """Files that fit into one association each, with their SOP classes and transfer syntaxes."""
    found: list[tuple[Kinds, list[DicomFile]]] = []
    for file in files:
        kind = (file.sop_class_uid, file.transfer_syntax_uid)
        for kinds, batch in found:
            if kind in kinds or len(kinds) < CONTEXTS_PER_ASSOCIATION:
                kinds[kind] = None
                batch.append(file)
                break
        else:
            found.append(({kind: None}, [file]))
    return found
